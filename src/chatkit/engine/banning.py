"""Rules about sending out, keeping out and silencing.

Laws: an act is proposed together with its row in the audit log, and takes effect where it is applied; nobody acts on
somebody of their own standing or above.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from chatkit.backend.records import Ban, BanKind, Fact, Put, Remove, RemoveMember, Together
from chatkit.engine.audit import audited
from chatkit.engine.bans import against, in_force, network_of, strongest, within
from chatkit.engine.decisions import EVERYBODY, Decision, Effect, Proposal, Reply, Tell
from chatkit.engine.people import Target, name_of, require_above, require_principal, target
from chatkit.engine.places import bites_in, place, require_admin, room_for
from chatkit.engine.refusal import No
from chatkit.engine.state import ADMIN, Moment, Room, SessionState
from chatkit.engine.world import World, bans_on, known
from chatkit.errors import ProtocolError
from chatkit.protocol import moderation as mod
from chatkit.protocol.codes import ErrorCode

TWIN = "+"
"""In the id of a ban on a guest's token, between that of the ban on the name, with which it is lifted, and its own."""


def kick(world: World, state: SessionState, request: mod.Kick, now: Moment) -> Decision:
    """Send somebody out of a room, or off the server."""
    whom = target(world, request.user)
    if request.room is None:
        require_admin(state)
        _not_an_admin(whom)
        room, here = None, whom.principal is not None and bool(world.here(whom.principal))
    else:
        room = room_for(world, state, request.room, "kick", now)
        require_above(world, state, room, whom, now.time)
        here = any(user.principal == whom.principal for user in room.present)
    if not here:
        raise No(ErrorCode.NO_SUCH_USER, f"{whom.name} is not here")
    act = audited(
        world, state, now, "kick", room, whom=whom.name, principal=require_principal(whom), reason=request.reason
    )
    return Proposal(act, fence=bites_in(room))


def _not_an_admin(whom: Target) -> None:
    if whom.role == ADMIN:
        raise No(ErrorCode.FORBIDDEN, f"{whom.name} has as much to say on this server as you")


def ban(world: World, state: SessionState, request: mod.BanUser, now: Moment) -> Decision:
    """Keep somebody, or an address, out."""
    if (request.user is None) == (request.address is None):
        raise No(ErrorCode.BAD_REQUEST, "data: give either 'user' or 'address'")
    if request.address is not None:
        return _ban_address(world, state, request, network_of(request.address), now)
    whom, room = target(world, request.user or ""), None
    if request.room is None:
        require_admin(state)
        _not_an_admin(whom)
    else:
        room = room_for(world, state, request.room, "ban", now)
        require_above(world, state, room, whom, now.time)
    bans, changes = _bans_on(world, state, room, whom, request.seconds, request.reason, now, mute=False)
    if room is not None and whom.principal in room.members:
        changes.append(RemoveMember(room_id=room.id, principal=whom.principal or ""))
    act = _audited_ban(world, state, now, "ban", room, changes, whom, request.seconds, request.reason)
    return Proposal(act, fence=bites_in(room), note=ban_info(world, bans[0]))


def _ban_address(world: World, state: SessionState, request: mod.BanUser, network: str, now: Moment) -> Decision:
    if request.room is not None:
        raise No(ErrorCode.BAD_REQUEST, "data.address: an address is banned from the server, not from a room")
    require_admin(state)
    if state.address is not None and within(state.address, network):
        raise No(ErrorCode.BAD_REQUEST, "data.address: you come from there yourself")
    made, change = _one_ban(world, state, None, "address", network, request.seconds, request.reason, now, mute=False)
    whom = Target(name=network, key=network, principal=None, role="", author="")
    act = _audited_ban(world, state, now, "ban", None, [change], whom, request.seconds, request.reason)
    return Proposal(act, fence=(EVERYBODY,), note=ban_info(world, made))


def mute(world: World, state: SessionState, request: mod.Mute, now: Moment) -> Decision:
    """Let somebody read but not speak in a room."""
    room, whom = room_for(world, state, request.room, "mute", now), target(world, request.user)
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
    room = place(world, state, name, "mute" if mute else "ban", now)
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


def _bans_in(world: World, room: Room | None) -> list[Ban]:
    return list((world.bans if room is None else room.bans).values())


def list_bans(world: World, state: SessionState, request: mod.ListBans, now: Moment) -> Decision:
    """List who is kept out or silenced."""
    room = place(world, state, request.room, "see bans", now)
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
