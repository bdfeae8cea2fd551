"""What a session is given to read: of a room it joins, of a room's history, of what moderators did."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from chatkit.backend.interface import Log
from chatkit.backend.records import Page
from chatkit.engine import Effect, Joining, ReadAudit, Reading, Refusal
from chatkit.engine.state import Room
from chatkit.errors import ProtocolError, RequestFailed
from chatkit.protocol import messages as m
from chatkit.protocol.codes import ErrorCode
from chatkit.protocol.moderation import AuditPage
from chatkit.server.core import Core
from chatkit.server.history import END, read_anew, read_history
from chatkit.server.searching import audit_page
from chatkit.server.session import Session


@frozen(kw_only=True)
class Entrance:
    """A session's way into a room: what it is told, and from where on it is served afterwards."""

    reply: m.Joined
    effects: Sequence[Effect]
    after: int | None
    """The seq that the reply reaches; None stands for the head."""
    more_after: bool
    is_new: bool
    """It is to be served from there: it was not in the room, or asks to be taken up again."""


async def read_entrance(core: Core, session: Session, joining: Joining) -> Entrance:
    """Let a session into a room, having read what it asked for; it is yet to be told and attached, with no await
    between. Raises `RequestFailed`, `ProtocolError` if it may not enter, or the room is gone; `StorageUnavailable`."""
    engine = core.engine
    room = engine.rooms[joining.room_id]
    was_inside = _is_inside(core, session, room)
    page, reset = await read_anew(room, lambda: _page_for(core, joining))
    inside = _is_inside(core, session, room)
    if was_inside and not inside:
        raise ProtocolError("you were sent out of the room meanwhile", code=ErrorCode.NOT_IN_ROOM)
    effects = engine.join(session.id, joining.room_id, core.moment())
    if isinstance(effects, Refusal):
        raise RequestFailed(effects.code, effects.message)
    # What is kept but not yet published will come live, in its turn.
    rows = [row for row in page.rows if row.seq <= room.head] if page else []
    after = None if page is None else rows[-1].seq if rows else min(page.head, room.head)
    more_after = after is not None and after < room.head
    most = engine.limits.joined_members
    reply = m.Joined(
        **room.glance(),
        members=room.some_present(most),
        members_more=len(room.present) > most,
        events=tuple(core.renderer.entry(row, room.name) for row in rows),
        more_after=more_after,
        reset=reset,
    )
    is_new = not inside or joining.after is not None
    return Entrance(reply=reply, effects=effects, after=after, more_after=more_after, is_new=is_new)


def _is_inside(core: Core, session: Session, room: Room) -> bool:
    state = core.engine.sessions.get(session.id)
    return state is not None and room.id in state.rooms


async def _page_for(core: Core, joining: Joining) -> tuple[Page | None, bool]:
    try:
        return await _page_of(core.backend.log, joining, core.config.page_bytes)
    except KeyError:
        raise ProtocolError("the room has been deleted meanwhile", code=ErrorCode.NO_SUCH_ROOM) from None


async def _page_of(log: Log, joining: Joining, most: int) -> tuple[Page | None, bool]:
    """Return the page a joining session asked for, and whether its position is not in the log: then the page begins
    with the oldest row that is kept."""
    room_id, after = joining.room_id, joining.after
    if after is not None:
        page = await log.read(room_id, after=after, limit=500, max_bytes=most)
        if page.first - 1 <= after <= page.head:
            return page, False
        return await log.read(room_id, after=0, limit=500, max_bytes=most), True
    if joining.last:
        return await log.read(room_id, before=END, limit=joining.last, max_bytes=most), False
    return None, False


async def read_page(core: Core, session: Session, reading: Reading) -> m.HistoryPage:
    """Return a page of history. Raises `ProtocolError` if the room is gone, or the session from it;
    `StorageUnavailable`."""
    room = core.engine.rooms[reading.room_id]
    try:
        found = await read_anew(room, lambda: read_history(core.backend.log, reading, core.config.page_bytes))
    except KeyError:
        raise ProtocolError("the room has been deleted meanwhile", code=ErrorCode.NO_SUCH_ROOM) from None
    if not core.engine.may_read(session.id, room.id, core.moment()):
        raise ProtocolError("you are not in the room any more", code=ErrorCode.NOT_IN_ROOM)
    return m.HistoryPage(
        epoch=room.record.epoch,
        events=tuple(core.renderer.entry(row, room.name) for row in found.rows),
        more_before=found.more_before,
        more_after=found.more_after,
    )


async def read_audit(core: Core, session: Session, reading: ReadAudit) -> AuditPage:
    """Return a page of what moderators did. Raises `ProtocolError` if the session may not see that any more,
    `StorageUnavailable`."""
    audit_log = core.engine.audit_log
    assert audit_log is not None
    page = await audit_page(core.backend.log, audit_log, reading.room_id, reading.before, reading.limit)
    if not core.engine.may_see_audit(session.id, reading.room_id, core.moment()):
        raise ProtocolError("you may not see that any more", code=ErrorCode.FORBIDDEN)
    return page
