"""Rules about keeping order: who may send out, silence, keep out, invite, promote and delete, and whom.

Laws: an act is proposed together with its row in the audit log, and takes effect where it is applied; nobody acts on
somebody of their own standing or above.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

import orjson

from chatkit.backend.records import (
    Append,
    Ban,
    BanKind,
    Fact,
    Member,
    Put,
    PutMember,
    Redact,
    Remove,
    RemoveMember,
    Row,
    Together,
)
from chatkit.engine.audit import audited
from chatkit.engine.bans import against, in_force, network_of, strongest, within
from chatkit.engine.decisions import EVERYBODY, Decision, Effect, Inspect, Proposal, ReadAudit, Reply, Search, Tell
from chatkit.engine.people import Target, require_above, require_principal, target, writer
from chatkit.engine.permissions import Standing, above
from chatkit.engine.refusal import No
from chatkit.engine.state import ADMIN, Moment, Room, SessionState
from chatkit.engine.talking import MESSAGE
from chatkit.engine.world import World, bans_on, known
from chatkit.errors import ProtocolError
from chatkit.protocol import messages as m
from chatkit.protocol import moderation as mod
from chatkit.protocol.codes import ErrorCode

TWIN = "+"
"""In the id of a ban on a guest's token, between that of the ban on the name, with which it is lifted, and its own."""


def _room_for(world: World, state: SessionState, name: str, act: str, now: Moment) -> Room:
    room = world.visible(state, name)
    world.require(state, room, act, now.time)
    return room


def _require_admin(state: SessionState) -> None:
    if state.role != ADMIN:
        raise No(ErrorCode.FORBIDDEN, "only an admin of the server may do that")


def _where_it_bites(room: Room | None) -> tuple[str, ...]:
    return (EVERYBODY,) if room is None else (room.id,)


def _not_an_admin(whom: Target) -> None:
    if whom.role == ADMIN:
        raise No(ErrorCode.FORBIDDEN, f"{whom.name} has as much to say on this server as you")


# ── roles and invitations ────────────────────────────────────────────────────────────────────────────────────────────


def set_role(world: World, state: SessionState, request: mod.SetRole, now: Moment) -> Decision:
    """Give somebody another role in a room. Whoever has one may also step down by themselves."""
    room, whom = world.visible(state, request.room), target(world, request.user)
    principal = require_principal(whom)
    wanted = {"owner": Standing.OWNER, "moderator": Standing.MODERATOR, "member": Standing.MEMBER}[request.role]
    own = principal == known(state.user).principal
    if not (own and wanted < world.standing_of(state, room, now.time)):
        world.require(state, room, "set role", now.time)
        require_above(world, state, room, whom, now.time)
        if above(wanted, world.standing_of(state, room, now.time)):
            raise No(ErrorCode.FORBIDDEN, "nobody gives away more than they have")
    change = PutMember(member=Member(room_id=room.id, principal=principal, role=request.role))
    details = {"role": request.role, "was": room.members.get(principal)}
    act = audited(world, state, now, "set_role", room, change, whom=whom.name, principal=principal, details=details)
    return Proposal(act, fence=(room.id,))


def invite(world: World, state: SessionState, request: mod.Invite, now: Moment) -> Decision:
    """Let somebody into a private room."""
    room, whom = _room_for(world, state, request.room, "invite", now), target(world, request.user)
    principal = require_principal(whom)
    if principal in room.members:
        return Reply(m.Nothing())
    if any(not one.mute for one in bans_on(room, principal, whom.key, now.time)):
        raise No(ErrorCode.BANNED, f"{whom.name} is banned from {room.name!r}: /unban first")
    change = PutMember(member=Member(room_id=room.id, principal=principal))
    return Proposal(audited(world, state, now, "invite", room, change, whom=whom.name, principal=principal))


def withdraw(world: World, state: SessionState, request: mod.Withdraw, now: Moment) -> Decision:
    """End somebody's membership of a room."""
    room, whom = _room_for(world, state, request.room, "invite", now), target(world, request.user)
    principal = require_principal(whom)
    require_above(world, state, room, whom, now.time)
    if principal not in room.members:
        raise No(ErrorCode.NO_SUCH_USER, f"{whom.name} is no member of {room.name!r}")
    change = RemoveMember(room_id=room.id, principal=principal)
    act = audited(world, state, now, "withdraw", room, change, whom=whom.name, principal=principal)
    return Proposal(act, fence=(room.id,))


# ── sending out, keeping out, silencing ──────────────────────────────────────────────────────────────────────────────


def kick(world: World, state: SessionState, request: mod.Kick, now: Moment) -> Decision:
    """Send somebody out of a room, or off the server."""
    whom = target(world, request.user)
    if request.room is None:
        _require_admin(state)
        _not_an_admin(whom)
        room, here = None, whom.principal is not None and bool(world.here(whom.principal))
    else:
        room = _room_for(world, state, request.room, "kick", now)
        require_above(world, state, room, whom, now.time)
        here = any(user.principal == whom.principal for user in room.present)
    if not here:
        raise No(ErrorCode.NO_SUCH_USER, f"{whom.name} is not here")
    act = audited(
        world, state, now, "kick", room, whom=whom.name, principal=require_principal(whom), reason=request.reason
    )
    return Proposal(act, fence=_where_it_bites(room))


def ban(world: World, state: SessionState, request: mod.BanUser, now: Moment) -> Decision:
    """Keep somebody, or an address, out."""
    if (request.user is None) == (request.address is None):
        raise No(ErrorCode.BAD_REQUEST, "data: give either 'user' or 'address'")
    if request.address is not None:
        return _ban_address(world, state, request, network_of(request.address), now)
    whom, room = target(world, request.user or ""), None
    if request.room is None:
        _require_admin(state)
        _not_an_admin(whom)
    else:
        room = _room_for(world, state, request.room, "ban", now)
        require_above(world, state, room, whom, now.time)
    bans, changes = _bans_on(world, state, room, whom, request.seconds, request.reason, now, mute=False)
    if room is not None and whom.principal in room.members:
        changes.append(RemoveMember(room_id=room.id, principal=whom.principal or ""))
    act = _audited_ban(world, state, now, "ban", room, changes, whom, request.seconds, request.reason)
    return Proposal(act, fence=_where_it_bites(room), note=ban_info(world, bans[0]))


def _ban_address(world: World, state: SessionState, request: mod.BanUser, network: str, now: Moment) -> Decision:
    if request.room is not None:
        raise No(ErrorCode.BAD_REQUEST, "data.address: an address is banned from the server, not from a room")
    _require_admin(state)
    if state.address is not None and within(state.address, network):
        raise No(ErrorCode.BAD_REQUEST, "data.address: you come from there yourself")
    made, change = _one_ban(world, state, None, "address", network, request.seconds, request.reason, now, mute=False)
    whom = Target(name=network, key=network, principal=None, role="", author="")
    act = _audited_ban(world, state, now, "ban", None, [change], whom, request.seconds, request.reason)
    return Proposal(act, fence=(EVERYBODY,), note=ban_info(world, made))


def mute(world: World, state: SessionState, request: mod.Mute, now: Moment) -> Decision:
    """Let somebody read but not speak in a room."""
    room, whom = _room_for(world, state, request.room, "mute", now), target(world, request.user)
    require_above(world, state, room, whom, now.time)
    _, changes = _bans_on(world, state, room, whom, request.seconds, request.reason, now, mute=True)
    act = _audited_ban(world, state, now, "mute", room, changes, whom, request.seconds, request.reason)
    return Proposal(act, fence=(room.id,))


def told_of_mute(world: World, state: SessionState, room: Room, now: int) -> list[Effect]:
    """Return what tells a session that is in a room from now on that it may not speak there; ``now`` in
    milliseconds."""
    user = known(state.user)
    mutes = [one for one in bans_on(room, user.principal, user.key, now) if one.mute]
    one = strongest(mutes)  # a guest is silenced by name and by token
    return [] if one is None or state.role == ADMIN else [Tell(state.id, muted(world, room, one))]


def muted(world: World, room: Room, one: Ban) -> mod.Muted:
    """Return what a mute is to the person."""
    return mod.Muted(room=room.name, by=name_of(world, one.by), reason=one.reason, until=one.until)


def _audited_ban(
    world: World,
    state: SessionState,
    now: Moment,
    act: str,
    room: Room | None,
    changes: Sequence[Fact],
    whom: Target,
    seconds: int | None,
    reason: str | None,
) -> Together:
    details = {} if seconds is None else {"seconds": seconds}
    principal = whom.principal or ""
    return audited(
        world, state, now, act, room, *changes, whom=whom.name, principal=principal, reason=reason, details=details
    )


def _bans_on(
    world: World,
    state: SessionState,
    room: Room | None,
    whom: Target,
    seconds: int | None,
    reason: str | None,
    now: Moment,
    *,
    mute: bool,
) -> tuple[list[Ban], list[Fact]]:
    """Return the bans on a person: on their account; for a guest, on the name they use and on the token they have."""
    if whom.principal is not None and whom.principal in world.accounts:
        made = [_one_ban(world, state, room, "account", whom.principal, seconds, reason, now, mute=mute)]
    else:
        made = [_one_ban(world, state, room, "name", whom.key, seconds, reason, now, mute=mute)]
        if whom.principal is not None:
            id = f"{made[0][0].id}{TWIN}{world.new_id()}"
            made.append(_one_ban(world, state, room, "account", whom.principal, seconds, reason, now, mute=mute, id=id))
    return [one for one, _ in made], [change for _, change in made]


def _one_ban(
    world: World,
    state: SessionState,
    room: Room | None,
    kind: BanKind,
    value: str,
    seconds: int | None,
    reason: str | None,
    now: Moment,
    *,
    mute: bool,
    id: str | None = None,
) -> tuple[Ban, Fact]:
    known_bans = _bans_in(world, room)
    was = next((one for one in known_bans if (one.kind, one.value, one.mute) == (kind, value, mute)), None)
    if was is None and len(known_bans) >= world.limits.bans_per_room:
        raise No(ErrorCode.TOO_MANY, f"there are {world.limits.bans_per_room} bans, and that is the most")
    made = Ban(
        id=was.id if was else id or world.new_id(),
        room_id=room.id if room else None,
        kind=kind,
        value=value,
        by=known(state.user).principal,
        reason=reason or "",
        at=now.time,
        until=None if seconds is None else now.time + seconds * 1000,
        mute=mute,
    )
    return made, Put(record=made, was=was)


def unban(world: World, state: SessionState, request: mod.Unban, now: Moment) -> Decision:
    """Lift a ban."""
    return _lift(world, state, request.room, request.user, request.ban, now, mute=False)


def unmute(world: World, state: SessionState, request: mod.Unmute, now: Moment) -> Decision:
    """Let somebody speak again."""
    return _lift(world, state, request.room, request.user, None, now, mute=True)


def _lift(
    world: World, state: SessionState, name: str | None, user: str | None, id: str | None, now: Moment, *, mute: bool
) -> Decision:
    if (user is None) == (id is None):
        raise No(ErrorCode.BAD_REQUEST, "data: give either 'user' or 'ban'")
    room = _where(world, state, name, "mute" if mute else "ban", now)
    matches = (lambda one: one.id == id) if user is None else _named(world, user)
    known_bans = [one for one in _bans_in(world, room) if one.mute is mute]
    named = {one.id.partition(TWIN)[0] for one in known_bans if matches(one)}
    lifted = [one for one in known_bans if one.id.partition(TWIN)[0] in named]
    if not lifted:
        what = "muted" if mute else "banned"
        raise No(ErrorCode.NO_SUCH_USER, f"nobody of that name is {what} there")
    changes = [Remove(record=one) for one in lifted]
    principal = next((one.value for one in lifted if one.kind == "account"), "")
    whom = user or _shown(world, lifted[0])
    act = "unmute" if mute else "unban"
    return Proposal(audited(world, state, now, act, room, *changes, whom=whom, principal=principal))


def _named(world: World, text: str) -> Callable[[Ban], bool]:
    """Match bans on whoever is called this, or on this address."""
    network = None
    with suppress(No):
        network = network_of(text)
    try:
        whom = target(world, text)
    except ProtocolError:
        if network is None:
            raise
        return lambda one: one.kind == "address" and one.value == network
    # What looks like an address can be somebody's name as well.
    return lambda one: (
        one.value == network if one.kind == "address" else against(one, whom.principal or "", whom.key, None)
    )


def _where(world: World, state: SessionState, name: str | None, act: str, now: Moment) -> Room | None:
    if name is not None:
        return _room_for(world, state, name, act, now)
    _require_admin(state)
    return None


def _bans_in(world: World, room: Room | None) -> list[Ban]:
    return list((world.bans if room is None else room.bans).values())


def list_bans(world: World, state: SessionState, request: mod.ListBans, now: Moment) -> Decision:
    """List who is kept out or silenced."""
    room = _where(world, state, request.room, "see bans", now)
    found = sorted((one for one in _bans_in(world, room) if in_force(one, now.time)), key=lambda one: -one.at)
    most = world.limits.page
    return Reply(mod.Bans(bans=tuple(ban_info(world, one) for one in found[:most]), more=len(found) > most))


def ban_info(world: World, one: Ban) -> mod.BanInfo:
    """Return a ban as moderators see it: with names where they are known."""
    room = world.rooms.get(one.room_id or "")
    return mod.BanInfo(
        id=one.id,
        room=room.name if room else None,
        kind=one.kind,
        value=_shown(world, one),
        by=name_of(world, one.by),
        reason=one.reason,
        at=one.at,
        until=one.until,
        mute=one.mute,
    )


def _shown(world: World, one: Ban) -> str:
    return name_of(world, one.value) if one.kind == "account" else one.value


def name_of(world: World, principal: str) -> str:
    """Return what somebody is called, as far as that is known."""
    account = world.accounts.get(principal)
    here = world.here(principal)
    return account.name if account else here[0].name if here else "a guest"


# ── removing what was said ───────────────────────────────────────────────────────────────────────────────────────────


def delete_message(world: World, state: SessionState, request: mod.DeleteMessage, now: Moment) -> Decision:
    """Remove what a message says: one's own, or as a moderator."""
    room = world.visible(state, request.room)
    world.require(state, room, "delete own messages", now.time)
    return Inspect(room.id, request.seq)


def inspected(world: World, state: SessionState, request: mod.DeleteMessage, row: Row | None, now: Moment) -> Decision:
    """Decide `delete_message`, now that it is known whose message it is."""
    room = world.visible(state, request.room)
    if row is None or row.room_id != room.id or row.kind != MESSAGE:
        raise No(ErrorCode.NO_SUCH_MESSAGE, f"there is no message {request.seq} in {room.name!r}")
    user = known(state.user)
    own = row.author == user.author
    world.require(state, room, "delete own messages" if own else "delete messages", now.time)
    whom = writer(world, row.author, row.name)
    if not own:
        require_above(world, state, room, whom, now.time)
    if row.body is None:
        return Reply(m.Nothing())
    changes = _deletion(room, user.author, user.name, row.seq, now)
    if own:
        return Proposal(Together(tuple(changes)))
    act = audited(
        world,
        state,
        now,
        "delete_message",
        room,
        *changes,
        whom=whom.name,
        principal=whom.principal or "",
        reason=request.reason,
        details={"seq": row.seq},
    )
    return Proposal(act, needs="delete messages")


def _deletion(room: Room, author: str, name: str, seq: int, now: Moment) -> list[Append | Fact]:
    body = orjson.dumps({"user": name, "about": seq}).decode()
    told = Append(
        room_id=room.id,
        kind=mod.MessageDeleted.action,
        author=author,
        name=name,
        time=now.time,
        body=body,
        about=seq,
    )
    return [Redact(room_id=room.id, seq=seq), told]


def delete_messages_of(world: World, state: SessionState, request: mod.DeleteMessagesOf, now: Moment) -> Decision:
    """Remove what somebody said in a room."""
    room, whom = world.visible(state, request.room), target(world, request.user)
    own = whom.author == known(state.user).author
    world.require(state, room, "delete own messages" if own else "delete messages", now.time)
    if not own:
        require_above(world, state, room, whom, now.time)
    return Search(room.id, whom.author)


def found(
    world: World,
    state: SessionState,
    request: mod.DeleteMessagesOf,
    seqs: Iterable[int],
    more: bool,
    now: Moment,
) -> Decision:
    """Decide `delete_messages_of`, now that it is known which messages those are."""
    again = delete_messages_of(world, state, request, now)
    if not isinstance(again, Search):
        return again
    room, user, whom = world.rooms[again.room_id], known(state.user), target(world, request.user)
    changes = [change for seq in seqs for change in _deletion(room, user.author, user.name, seq, now)]
    deleted = mod.Deleted(count=len(changes) // 2, more=more)
    if not changes:
        return Reply(deleted)
    act = audited(
        world,
        state,
        now,
        "delete_messages_of",
        room,
        *changes,
        whom=whom.name,
        principal=whom.principal or "",
        reason=request.reason,
        details={"count": deleted.count},
    )
    return Proposal(act, note=deleted)


# ── what was done ────────────────────────────────────────────────────────────────────────────────────────────────────


def audit(world: World, state: SessionState, request: mod.Audit, now: Moment) -> Decision:
    """Read what was done to keep order."""
    room = _where(world, state, request.room, "see audit", now)
    return ReadAudit(room_id=room.id if room else None, before=request.before, limit=request.limit or 50)
