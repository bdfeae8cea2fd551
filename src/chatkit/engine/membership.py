"""Rules about who belongs to a room, and as what.

Law: nobody acts on somebody of their own standing or above, or gives away more than they have.
"""

from __future__ import annotations

from chatkit.backend.records import Member, PutMember, RemoveMember
from chatkit.engine.audit import audited
from chatkit.engine.decisions import Decision, Proposal, Reply
from chatkit.engine.people import require_above, require_principal, target
from chatkit.engine.permissions import Standing, above
from chatkit.engine.places import room_for
from chatkit.engine.refusal import No
from chatkit.engine.state import Moment, SessionState
from chatkit.engine.world import World, bans_on, known
from chatkit.protocol import messages as m
from chatkit.protocol import moderation as mod
from chatkit.protocol.codes import ErrorCode


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
    room, whom = room_for(world, state, request.room, "invite", now), target(world, request.user)
    principal = require_principal(whom)
    if principal in room.members:
        return Reply(m.Nothing())
    if any(not one.mute for one in bans_on(room, principal, whom.key, now.time)):
        raise No(ErrorCode.BANNED, f"{whom.name} is banned from {room.name!r}: /unban first")
    change = PutMember(member=Member(room_id=room.id, principal=principal))
    return Proposal(audited(world, state, now, "invite", room, change, whom=whom.name, principal=principal))


def withdraw(world: World, state: SessionState, request: mod.Withdraw, now: Moment) -> Decision:
    """End somebody's membership of a room."""
    room, whom = room_for(world, state, request.room, "invite", now), target(world, request.user)
    principal = require_principal(whom)
    require_above(world, state, room, whom, now.time)
    if principal not in room.members:
        raise No(ErrorCode.NO_SUCH_USER, f"{whom.name} is no member of {room.name!r}")
    change = RemoveMember(room_id=room.id, principal=principal)
    act = audited(world, state, now, "withdraw", room, change, whom=whom.name, principal=principal)
    return Proposal(act, fence=(room.id,))
