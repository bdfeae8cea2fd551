"""Rules about talking: what may be said, by whom, and what may be read of it."""

from __future__ import annotations

from chatkit.backend.records import Append
from chatkit.engine.decisions import Decision, Proposal, Reading
from chatkit.engine.permissions import allowed
from chatkit.engine.refusal import No
from chatkit.engine.state import GUEST, Moment, Room, SessionState
from chatkit.engine.world import World, known
from chatkit.protocol import messages as m
from chatkit.protocol.codes import ErrorCode
from chatkit.protocol.times import from_wire

MESSAGE = "message"
"""The kind of a log row that is something said."""


def send_message(world: World, state: SessionState, request: m.SendMessage, now: Moment) -> Decision:
    """Say something in a room."""
    if request.to is not None:
        raise No(ErrorCode.BAD_REQUEST, "data.to: this server has no direct messages")
    if request.room is None:
        raise No(ErrorCode.BAD_REQUEST, "data.room: is missing")
    room = world.present_in(state, request.room)
    user = known(state.user)
    if request.reply_to is not None and request.reply_to > room.head:
        raise No(ErrorCode.BAD_REQUEST, "data.reply_to: there is no such message yet")
    body = _body_of(request)
    if not (room.plain and (world.guests_speak or state.role != GUEST)):
        check_may_speak(world, state, room, now)
        _wait_turn(world, state, room, now)
    return Proposal(
        Append(
            room_id=room.id,
            kind=MESSAGE,
            author=user.author,
            name=user.name,
            time=now.time,
            body=body,
            op=request.op,
            about=request.reply_to,
        )
    )


def check_may_speak(world: World, state: SessionState, room: Room, now: Moment) -> None:
    """Raise `No` if the session may not speak in a room it is in."""
    world.require(state, room, "speak", now.time)


def _wait_turn(world: World, state: SessionState, room: Room, now: Moment) -> None:
    slow, principal = room.record.slow, known(state.user).principal
    if not slow or allowed("speak without waiting", world.standing_of(state, room, now.time), room.mode):
        return
    last = room.spoke.get(principal)
    wait = 0.0 if last is None else last + slow - now.clock
    if wait > 0:
        message = f"one message every {slow:g} seconds in {room.name!r}"
        raise No(ErrorCode.RATE_LIMITED, message, retry_after=wait, scope="room")
    if len(room.spoke) > len(room.present) + 1000:
        room.spoke = {who: at for who, at in room.spoke.items() if at + slow > now.clock}
    room.spoke[principal] = now.clock


def history(world: World, state: SessionState, request: m.History, now: Moment) -> Decision:
    """Read a room's log."""
    room = world.present_in(state, request.room)
    bounds = (request.before, request.after, request.around, request.at)
    if sum(bound is not None for bound in bounds) > 1:
        raise No(ErrorCode.BAD_REQUEST, "data: give one of 'before', 'after', 'around' and 'at'")
    return Reading(
        room_id=room.id,
        before=request.before,
        after=request.after,
        around=request.around,
        at=_time_of(request.at),
        limit=request.limit or 50,
    )


def _time_of(text: str | None) -> int | None:
    try:
        return None if text is None else from_wire(text)
    except ValueError as error:
        raise No(ErrorCode.BAD_REQUEST, f"data.at: {error}") from None


def _body_of(request: m.SendMessage) -> str | bytes:
    if (request.text is None) == (request.binary is None):
        raise No(ErrorCode.BAD_REQUEST, "data: give either 'text' or 'binary'")
    if request.binary is not None:
        if not request.binary:
            raise No(ErrorCode.EMPTY_MESSAGE, "the message is empty")
        return request.binary
    text = request.text or ""
    if not text.strip():
        raise No(ErrorCode.EMPTY_MESSAGE, "the message is empty")
    return text
