"""Reading a room as a cursor, and following everything that happens.

Laws: a cursor over a room gives every durable event once, in order, however slow its reader: what the client no
longer holds is fetched from the log. Following everything costs bounded memory: ephemeral events are dropped when the
reader is far behind, durable ones are fetched.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import trio
from attrs import evolve, frozen

from chatkit.client.cursor import Cursor
from chatkit.client.message import Message
from chatkit.client.window import growing, room_of, seq_of, size_of
from chatkit.errors import PositionLost
from chatkit.protocol import messages as m
from chatkit.protocol.moderation import RoomRenamed
from chatkit.protocol.positions import Position

if TYPE_CHECKING:
    from chatkit.client.room import Room

MOST_WAITING = 10_000
WAITING_BYTES = 16_777_216
"""What waits for a reader holds about this many bytes at most."""
FETCH = 200


class EntryStream:
    """An iterator over a room's durable events behind a position, then those to come.

    Iterating ends when one leaves the room, is sent out of it (`Room.removed` says why), or it is deleted. It raises
    `Disconnected` when the link is gone for good, and `PositionLost`, once, when what follows is no longer kept; the
    next call then goes on from the oldest entry that is. With a `Cursor` an entry is committed when the next one is
    asked for, or by `commit`. Cancelling loses nothing: the next call gives the same entry.
    """

    def __init__(self, room: Room, position: Position, cursor: Cursor | None = None) -> None:
        self._room = room
        self._position = position
        self._cursor = cursor
        self._stored = cursor is None
        self._committed = position
        self._fetched: deque[m.Entry] = deque()
        self._gap_told = False

    @property
    def position(self) -> Position:
        """Where the reader is: everything up to here has been given."""
        return self._position

    def __aiter__(self) -> EntryStream:
        return self

    async def __anext__(self) -> m.Entry:
        await trio.lowlevel.checkpoint_if_cancelled()
        await self._remember()
        entry = await self._next()
        self._gap_told = False
        self._position = Position(self._position.epoch, seq_of(entry))
        if getattr(entry.event, "room", self._room.name) != self._room.name:
            named: Any = evolve(entry.event, room=self._room.name)  # type: ignore[misc]
            return evolve(entry, event=named)
        return entry

    def move(self, position: Position) -> None:
        """Go on from another position."""
        self._position = self._committed = position
        self._fetched.clear()

    async def commit(self) -> None:
        """Remember in the cursor that everything given has been dealt with. Raises `StorageUnavailable`."""
        if self._cursor is not None and self._position != self._committed:
            position = self._position
            await self._cursor.commit(self._room.name, position)
            self._committed = position

    async def _remember(self) -> None:
        if self._cursor is None:
            return
        if self._stored:
            await self.commit()
            return
        stored = await self._cursor.position(self._room.name, self._room.state.summary.epoch)
        self._stored = True
        if stored is not None:
            self.move(stored)

    async def _next(self) -> m.Entry:
        room = self._room
        while True:
            window = room.state.window
            if self._position.epoch != window.track.epoch:
                self._lose(0)
            if self._fetched:
                return self._fetched.popleft()
            entry = window.after(self._position.seq)
            if entry is not None:
                return entry
            if self._position.seq < window.first - 1:
                await self._fetch()
            elif not room.state.joined:
                raise StopAsyncIteration
            elif self._position.seq > (reached := window.track.seq) and not await self._is_ahead():
                self._lose(0)
            elif room.state.joined and room.state.window.track.seq == reached:
                await room.wait_change()

    async def _is_ahead(self) -> bool:
        """Whether the log reaches to the position, though what leads there is still on its way to this client."""
        page = await self._room.history(around=self._position.seq, limit=1)
        return page.epoch == self._position.epoch and any(seq_of(one) == self._position.seq for one in page.events)

    async def _fetch(self) -> None:
        seq = self._position.seq
        page = await self._room.history(after=seq, limit=FETCH)
        if page.epoch != self._position.epoch:
            self._lose(0, page.epoch)
        fetched = growing(page.events, seq)
        oldest = seq_of(fetched[0]) if fetched else self._room.state.window.first
        if oldest > seq + 1 and not self._gap_told:
            self._lose(oldest - 1)
        self._fetched.extend(fetched)
        if not fetched:
            self._position = Position(page.epoch, oldest - 1)

    def _lose(self, seq: int, epoch: str | None = None) -> NoReturn:
        lost = self._position
        self.move(Position(epoch or self._room.state.window.track.epoch, seq))
        # Behind a new beginning the oldest entry kept may have any seq: that is no second loss.
        self._gap_told = True
        raise PositionLost(self._room.name, lost.epoch, lost.seq)


class MessageStream:
    """An iterator over a room's messages; see `EntryStream` for how it ends and what cancelling does.

    A message that was removed before the reader came to it is given in its place, ``deleted`` and with the empty text.
    That one given earlier is removed later is a `chatkit.protocol.moderation.MessageDeleted` among the room's entries.
    """

    def __init__(self, room: Room, entries: EntryStream) -> None:
        self._room = room
        self._entries = entries

    @property
    def position(self) -> Position:
        """Where the reader is: everything up to here has been given."""
        return self._entries.position

    def __aiter__(self) -> MessageStream:
        return self

    async def __anext__(self) -> Message:
        while True:
            entry = await self._entries.__anext__()
            message = Message.of(entry, self._entries.position.epoch, self._room.name)
            if message is not None:
                return message

    async def commit(self) -> None:
        """Remember in the cursor that everything given has been dealt with. Raises `StorageUnavailable`."""
        await self._entries.commit()


@frozen
class Happening:
    """Something that happened, as a frontend shows it: an event and the server's time in milliseconds since 1970."""

    event: m.Event
    timestamp: int


class EventStream:
    """An iterator over everything that happens on a link, from now on, in order."""

    def __init__(self, room_of: Callable[[str], Room | None], failed: Callable[[], Exception | None]) -> None:
        self._room_of = room_of
        self._failed = failed
        self._waiting: deque[Happening] = deque()
        self._waiting_bytes = 0
        self._lost: dict[str, int] = {}
        self._arrived = trio.Event()

    def put(self, event: m.Event, timestamp: int) -> None:
        """Add what just happened."""
        if isinstance(event, RoomRenamed) and event.was in self._lost:
            self._lost[event.room] = self._lost.pop(event.was)
        seq, name = seq_of(m.Entry(event=event, timestamp=timestamp)), room_of(event) or ""
        if seq and name in self._lost:
            return
        size = size_of(event)
        if len(self._waiting) < MOST_WAITING and self._waiting_bytes + size <= WAITING_BYTES:
            self._waiting.append(Happening(event, timestamp))
            self._waiting_bytes += size
        elif seq and self._room_of(name) is not None:
            self._lost[name] = seq
        self.wake()

    def wake(self) -> None:
        """Let the reader look again."""
        self._arrived.set()

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Happening:
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            if self._waiting:
                happening = self._waiting.popleft()
                self._waiting_bytes -= size_of(happening.event)
                return happening
            if self._lost:
                await self._fetch_lost()
                continue
            error = self._failed()
            if error is not None:
                raise error
            self._arrived = trio.Event()
            await self._arrived.wait()

    async def _fetch_lost(self) -> None:
        name, seq = next(iter(self._lost.items()))
        room = self._room_of(name)
        if room is None:
            del self._lost[name]
            return
        page = await room.history(after=seq - 1, limit=FETCH)
        fresh = [entry for entry in growing(page.events, seq - 1) if seq_of(entry) <= room.state.position.seq]
        for entry in fresh:
            self._waiting.append(Happening(entry.event, entry.timestamp))
            self._waiting_bytes += size_of(entry.event)
        self._lost[name] = seq_of(fresh[-1]) + 1 if fresh else room.state.position.seq + 1
        if self._lost[name] > room.state.position.seq:
            del self._lost[name]
