"""Pages of a room's log: what a request for history is answered with.

Laws: the rows of a page are consecutive; ``limit`` counts rows of the log; ``more_before`` and ``more_after`` say
exactly whether the log holds others on that side, also where its beginning was trimmed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from attrs import frozen

from chatkit.backend.interface import Log
from chatkit.backend.records import Page, Row
from chatkit.engine.decisions import Reading
from chatkit.engine.state import Room

T = TypeVar("T")


@frozen(kw_only=True)
class Stretch:
    """A page of rows, and whether there are others on either side."""

    rows: Sequence[Row]
    more_before: bool
    more_after: bool


async def read_history(log: Log, reading: Reading, max_bytes: int) -> Stretch:
    """Return the page a request asks for. Raises KeyError if the room is gone, `StorageUnavailable`."""
    room_id, limit = reading.room_id, reading.limit
    if reading.after is not None:
        page = await log.read(room_id, after=reading.after, limit=limit, max_bytes=max_bytes)
        return _stretch(page, more_before=True, more_after=False)
    if reading.before is not None:
        page = await log.read(room_id, before=reading.before, limit=limit, max_bytes=max_bytes)
        return _stretch(page, more_before=False, more_after=True)
    if reading.around is None and reading.at is None:
        page = await log.read(room_id, before=END, limit=limit, max_bytes=max_bytes)
        return _stretch(page, more_before=False, more_after=False)
    around = reading.around if reading.at is None else await seq_at(log, room_id, reading.at)
    return await _around(log, room_id, around or 0, limit, max_bytes)


END = 2**53
"""A seq behind every other."""


def _stretch(page: Page, *, more_before: bool, more_after: bool) -> Stretch:
    """Return a page with what lies beside it; for an empty one, on which sides it lies if there is anything."""
    rows = page.rows
    if not rows:
        anything = page.head >= page.first
        return Stretch(rows=rows, more_before=more_before and anything, more_after=more_after and anything)
    return Stretch(rows=rows, more_before=rows[0].seq > page.first, more_after=rows[-1].seq < page.head)


async def _around(log: Log, room_id: str, seq: int, limit: int, max_bytes: int) -> Stretch:
    earlier = await log.read(room_id, before=seq + 1, limit=limit, max_bytes=max_bytes)
    # From where the first page ends, not from the seq: rows may have been added in between.
    reached = earlier.rows[-1].seq if earlier.rows else seq
    later = await log.read(room_id, after=reached, limit=limit, max_bytes=max_bytes)
    rows = nearest(earlier.rows, later.rows, limit, max_bytes)
    return _stretch(Page(rows=tuple(rows), first=later.first, head=later.head), more_before=False, more_after=False)


def nearest(earlier: Sequence[Row], later: Sequence[Row], limit: int, max_bytes: int) -> Sequence[Row]:
    """Take rows from both sides of a place in turn, beginning with the last of ``earlier``, until ``limit`` rows are
    taken or the next would go over ``max_bytes``. What one side lacks the other gives."""
    start, end, size = len(earlier), 0, 0
    while start > 0 or end < len(later):
        backwards = start > 0 and (len(earlier) - start <= end or end == len(later))
        row = earlier[start - 1] if backwards else later[end]
        size += row.size
        taken = len(earlier) - start + end
        if taken == limit or (taken and size > max_bytes):
            break
        start, end = (start - 1, end) if backwards else (start, end + 1)
    return (*earlier[start:], *later[:end])


async def seq_at(log: Log, room_id: str, time: int) -> int:
    """Return the seq of the first row at or after a time, in milliseconds since 1970; the head if there is none.
    See `first_from`."""
    seq, head = await first_from(log, room_id, time)
    return min(seq, head)


async def first_from(log: Log, room_id: str, time: int) -> tuple[int, int]:
    """Return the seq of the first row at or after a time, in milliseconds since 1970, one past the head if there is
    none; and the head.

    Exact as long as the rows' times grow; where the clock was set back it is one place where the time is crossed.
    Raises as `read_history`.
    """
    page = await log.read(room_id, after=0, limit=1)
    low, high = page.first, page.head + 1
    while low < high:
        middle = (low + high) // 2
        page = await log.read(room_id, after=middle - 1, limit=1)
        if page.rows and page.rows[0].time < time:
            low = page.rows[0].seq + 1
        else:
            high = middle
    return low, page.head


async def read_anew(room: Room, read: Callable[[], Awaitable[T]]) -> T:
    """Read from a room's log, and once more if something was removed from it meanwhile: whoever has been told so is not
    to see it come after that."""
    while True:
        removals = room.removals
        found = await read()
        if room.removals == removals:
            return found
