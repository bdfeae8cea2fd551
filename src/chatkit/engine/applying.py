"""What a committed change does: to what the rules know, and to those who are connected.

Laws: durable state changes here and nowhere else; whoever lost a right by a change is out before the next is taken in.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from attrs import evolve

from chatkit.backend.records import (
    Account,
    Ban,
    CreateRoom,
    DeleteRoom,
    Fact,
    Invitation,
    Member,
    Put,
    PutMember,
    Record,
    Redact,
    Remove,
    RemoveMember,
    RoomRecord,
    Row,
    TokenRecord,
    Trim,
    UpdateRoom,
)
from chatkit.engine.audit import facts_of
from chatkit.engine.banning import muted
from chatkit.engine.bans import against
from chatkit.engine.decisions import Changed, CloseSession, Detach, Effect, Tell, TellEveryone, TellRoom
from chatkit.engine.login import RUN_OUT, is_over, role_by, visible_role
from chatkit.engine.people import name_of
from chatkit.engine.permissions import allowed
from chatkit.engine.state import ADMIN, MEMBER, Moment, Room, SessionState, User
from chatkit.engine.world import AUDIT, World, bans_on
from chatkit.protocol import messages as m
from chatkit.protocol import moderation as mod
from chatkit.protocol.times import to_wire

OUT = 4403
"""Close code of a link that may not come back by itself."""


def apply(world: World, item: Row | Fact, now: Moment) -> list[Effect]:
    """Take in one committed item of the feed."""
    match item:
        case Row():
            return _row(world, item, now)
        case CreateRoom(room=record, owner=owner):
            return _created(world, record, owner)
        case DeleteRoom(room_id=room_id):
            return _deleted(world, room_id)
        case UpdateRoom(room=record):
            return _updated(world, record, now)
        case PutMember(member=member):
            return _member(world, member)
        case RemoveMember(room_id=room_id, principal=principal):
            return _no_member(world, room_id, principal, now)
        case Trim(room_id=room_id, first=first):
            room = world.rooms.get(room_id)
            if room is not None:
                room.record = evolve(room.record, first=first)
                room.head = max(room.head, first - 1)
            return []
        case Put(record=record):
            return _put(world, record, now)
        case Remove(record=record):
            return _removed(world, record, now)
        case Redact(room_id=room_id):
            if room_id in world.rooms:
                world.rooms[room_id].removals += 1
            return []
    assert_never(item)


def _row(world: World, row: Row, now: Moment) -> list[Effect]:
    room = world.rooms.get(row.room_id)
    if room is not None:
        room.head = row.seq
    elif world.audit is not None and row.room_id == world.audit.room_id:
        return _act(world, row, now)
    return []


def _act(world: World, row: Row, now: Moment) -> list[Effect]:
    """A kick is nothing but its row in the audit log; every other act has taken effect by its changes."""
    said = facts_of(row)
    if said.get("act") != "kick":
        return []
    here = world.here(str(said.get("principal", "")))
    reason = str(said.get("reason", ""))
    if said.get("room_id") is None:
        why = "kicked" + (f": {reason}" if reason else "")
        return [CloseSession(session, OUT, why) for user in here for session in sorted(user.sessions)]
    room = world.rooms.get(str(said["room_id"]))
    if room is None:
        return []
    return [effect for user in here for effect in world.send_out(room, user, now.clock, by=row.name, reason=reason)]


# ── rooms ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _created(world: World, record: RoomRecord, owner: Member | None) -> list[Effect]:
    if record.key == AUDIT:
        world.audit = world.audit or record
        return []
    if record.room_id in world.rooms:
        return []
    room = world.add_room(record)
    if owner is not None:
        room.members[owner.principal] = owner.role
    return [] if record.private else [TellEveryone(m.RoomCreated(**room.glance()))]


def _deleted(world: World, room_id: str) -> list[Effect]:
    room = world.drop_room(room_id)
    if room is None:
        return []
    gone = m.RoomDeleted(room=room.name)
    inside = [session for sessions in room.present.values() for session in sorted(sessions)]
    for session in inside:
        world.sessions[session].rooms.discard(room_id)
    if room.record.private:
        tell: list[Effect] = [Tell(session, gone) for session in sorted({*inside, *_who_know(world, room)})]
    else:
        tell = [TellEveryone(gone)]
    return tell + [Detach(session, room_id) for session in inside]


def _who_know(world: World, room: Room) -> Iterable[int]:
    """Sessions of people who may know of a private room, in it or not."""
    return (state.id for state in world.sessions.values() if state.user is not None and world.knows(state, room))


def _updated(world: World, record: RoomRecord, now: Moment) -> list[Effect]:
    room = world.rooms.get(record.room_id)
    if room is None:
        return []
    was = room.record
    world.update_room(room, evolve(record, head=was.head, first=was.first))
    effects: list[Effect] = []
    if record.name != was.name:
        effects += _to_who_know(world, room, mod.RoomRenamed(room=record.name, was=was.name))
    effects += _out_of_changed(world, room, now)
    if record.private and not was.private:
        effects += [
            Tell(state.id, m.RoomDeleted(room=room.name))
            for state in world.sessions.values()
            if state.user is not None and room.id not in state.rooms and not world.knows(state, room)
        ]
    elif was.private and not record.private:
        effects.append(TellEveryone(m.RoomCreated(**room.glance())))
    return [*effects, Changed(room.id)]


def _to_who_know(world: World, room: Room, event: m.Event) -> list[Effect]:
    if not room.record.private:
        return [TellEveryone(event)]
    return [Tell(session, event) for session in _who_know(world, room)]


def _out_of_changed(world: World, room: Room, now: Moment) -> list[Effect]:
    """Send out whom the room's new state has no place for."""
    reason = "the room is closed" if room.record.closed else "the room is private now"
    effects: list[Effect] = []
    for user in list(room.present):
        if not any(world.may(world.sessions[session], room, "read", now.time) for session in room.present[user]):
            effects += world.send_out(room, user, now.clock, by="", reason=reason)
    return effects


def _member(world: World, member: Member) -> list[Effect]:
    room = world.rooms.get(member.room_id)
    if room is None:
        return []
    was = room.members.get(member.principal)
    room.members[member.principal] = member.role
    effects: list[Effect] = []
    for user in world.here(member.principal):
        if user in room.present and (was or MEMBER) != member.role:
            changed = mod.RoleChanged(room=room.name, user=user.name, role=room.info(user).role)
            effects.append(TellRoom(room.id, changed))
        elif user not in room.present and was is None and room.record.private:
            effects += [Tell(session, mod.Invited(**room.glance())) for session in sorted(user.sessions)]
    return effects


def _no_member(world: World, room_id: str, principal: str, now: Moment) -> list[Effect]:
    room = world.rooms.get(room_id)
    was = room.members.pop(principal, None) if room is not None else None
    if room is None or was is None:
        return []
    effects: list[Effect] = []
    for user in world.here(principal):
        if room.record.private and not any(world.sessions[session].role == ADMIN for session in user.sessions):
            elsewhere = sorted(user.sessions - room.present.get(user, set()))
            effects += world.send_out(room, user, now.clock, by="", reason="you are no longer a member of the room")
            effects += [Tell(session, m.RoomDeleted(room=room.name)) for session in elsewhere]
        elif user in room.present and was != MEMBER:
            changed = mod.RoleChanged(room=room.name, user=user.name, role=room.info(user).role)
            effects.append(TellRoom(room.id, changed))
    return effects


# ── records ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _put(world: World, record: Record, now: Moment) -> list[Effect]:
    match record:
        case Account():
            return _account(world, record, now)
        case Ban():
            world.put(record)
            return _banned(world, record, now)
        case TokenRecord() | Invitation():
            world.put(record)
            return []
    assert_never(record)


def _account(world: World, account: Account, now: Moment) -> list[Effect]:
    effects: list[Effect] = []
    for guest in _guests_like(world, account):
        effects += _close(guest.sessions, f"the name {account.name!r} belongs to an account now")
    world.put(account)
    for user in world.here(account.id):
        if account.disabled:
            effects += _close(user.sessions, "this account is disabled")
            continue
        if user.name != account.name:
            was = user.name
            world.call_user(user, account.name, account.key)
            effects.append(TellEveryone(m.UserRenamed(user=account.name, was=was)))
            effects += _out_of_where_not_allowed(world, user, now)
        effects += _role_changed(world, account, user, now)
    return effects


def _guests_like(world: World, account: Account) -> list[User]:
    """Return the guests who use an account's name, or one that looks like it."""
    holders = sorted(world.people_like.holders(account.name) | {account.key})
    users = (world.users[key] for key in holders if key in world.users)
    return [user for user in users if user.principal not in world.accounts and user.principal != account.id]


def _out_of_where_not_allowed(world: World, user: User, now: Moment) -> list[Effect]:
    """Send somebody out of the rooms that have no place for them, as they are now."""
    effects: list[Effect] = []
    for room in [room for room in world.rooms.values() if user in room.present]:
        if not allowed("read", world.standing(room, user.principal, user.key, user.role, now.time), room.mode):
            effects += world.send_out(room, user, now.clock, by="", reason="you may be in this room no longer")
    return effects


def _role_changed(world: World, account: Account, user: User, now: Moment) -> list[Effect]:
    for session in user.sessions:
        state = world.sessions[session]
        token = world.tokens.get(state.device)
        state.role = account.role if token is None else role_by(account, token)
    before, user.role = user.role, visible_role(world, user)
    if before == user.role:
        return []
    effects = _out_of_where_not_allowed(world, user, now)
    for room in [room for room in world.rooms.values() if user in room.present]:
        changed = mod.RoleChanged(room=room.name, user=user.name, role=room.info(user).role)
        effects.append(TellRoom(room.id, changed))
    return effects


def _close(sessions: Iterable[int], reason: str) -> list[Effect]:
    return [CloseSession(session, OUT, reason) for session in sorted(sessions)]


def _banned(world: World, ban: Ban, now: Moment) -> list[Effect]:
    if ban.until is not None and ban.until <= now.time:
        return []
    if ban.room_id is None:
        until = "" if ban.until is None else f" until {to_wire(ban.until)}"
        why = f"banned{until}" + (f": {ban.reason}" if ban.reason else "")
        hit = [state.id for state in world.sessions.values() if _hits(ban, state)]
        return _close(hit, why)
    room = world.rooms.get(ban.room_id)
    if room is None:
        return []
    by = name_of(world, ban.by)
    effects: list[Effect] = []
    for user in [user for user in room.present if against(ban, user.principal, user.key, None)]:
        if any(world.sessions[session].role == ADMIN for session in user.sessions):
            continue
        if ban.mute:
            telling = muted(world, room, ban)
            others = [one for one in _mutes(room, user, now) if one.id != ban.id and one.at == ban.at]
            if any(muted(world, room, one) == telling for one in others):
                continue  # a guest is silenced by name and by token, and told once
            effects += [Tell(session, telling) for session in sorted(room.present[user])]
        else:
            effects += world.send_out(room, user, now.clock, by=by, reason=ban.reason, banned=True)
    return effects


def _mutes(room: Room, user: User, now: Moment) -> list[Ban]:
    return [ban for ban in bans_on(room, user.principal, user.key, now.time) if ban.mute]


def _hits(ban: Ban, state: SessionState) -> bool:
    user = state.user
    return user is not None and state.role != ADMIN and against(ban, user.principal, user.key, state.address)


def _removed(world: World, record: Record, now: Moment) -> list[Effect]:
    world.remove(record)
    match record:
        case Account():
            return [effect for user in world.here(record.id) for effect in _close(user.sessions, "the account is gone")]
        case TokenRecord():
            gone = [state.id for state in world.sessions.values() if state.device == record.id]
            return _close(gone, RUN_OUT if is_over(record, now.time) else "logged out")
        case Ban(room_id=room_id, mute=True):
            room = world.rooms.get(room_id or "")
            if room is None:
                return []
            meant = [user for user in room.present if against(record, user.principal, user.key, None)]
            free = [user for user in meant if not _mutes(room, user, now)]
            told = [session for user in free for session in sorted(room.present[user])]
            return [Tell(session, mod.Unmuted(room=room.name)) for session in told]
        case Ban() | Invitation():
            return []
    assert_never(record)
