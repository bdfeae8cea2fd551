"""Where an act of keeping order is to take effect: in one room, or on the whole server."""

from __future__ import annotations

from chatkit.engine.decisions import EVERYBODY
from chatkit.engine.refusal import No
from chatkit.engine.state import ADMIN, Moment, Room, SessionState
from chatkit.engine.world import World
from chatkit.protocol.codes import ErrorCode


def room_for(world: World, state: SessionState, name: str, act: str, now: Moment) -> Room:
    """Return the room of a name. Raises `No` if the one who asks does not see it, or may not do ``act`` there."""
    room = world.visible(state, name)
    world.require(state, room, act, now.time)
    return room


def place(world: World, state: SessionState, name: str | None, act: str, now: Moment) -> Room | None:
    """Return the room of a name as `room_for` does; None, which stands for the whole server, without a name. Raises
    `No` if that is not for them to act on."""
    if name is not None:
        return room_for(world, state, name, act, now)
    require_admin(state)
    return None


def require_admin(state: SessionState) -> None:
    """Raise `No` (``forbidden``) unless an admin asks."""
    if state.role != ADMIN:
        raise No(ErrorCode.FORBIDDEN, "only an admin of the server may do that")


def bites_in(room: Room | None) -> tuple[str, ...]:
    """Return the fence of an act: where rights are taken away."""
    return (EVERYBODY,) if room is None else (room.id,)
