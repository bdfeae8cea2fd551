"""Reading a room as a cursor, and following everything that happens.

Laws: a cursor over a room gives every durable event once, in order, however slow its reader: what the client no
longer holds is fetched from the log. Following everything costs bounded memory: ephemeral events are dropped when the
reader is far behind, durable ones are fetched.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio
from attrs import frozen

from chatkit.client.message import Message
from chatkit.client.window import seq_of
from chatkit.protocol import messages as m

if TYPE_CHECKING:
    from chatkit.client.room import Room

MOST_WAITING = 10_000
FETCH = 200


class EntryStream:
    """An iterator over a room's durable events behind a seq, then those to come.

    Iterating raises `Disconnected` when the link is gone for good and ends when one leaves the room or it is deleted.
    Cancelling loses nothing: the next call gives the same event.
    """

    def __init__(self, room: Room, after: int) -> None:
        self._room = room
        self.seq = after
        self._fetched: deque[m.Entry] = deque()

    def __aiter__(self) -> EntryStream:
        return self

    async def __anext__(self) -> m.Entry:
        await trio.lowlevel.checkpoint_if_cancelled()
        entry = await self._next()
        self.seq = seq_of(entry)
        return entry

    async def _next(self) -> m.Entry:
        room = self._room
        while True:
            if self._fetched:
                return self._fetched.popleft()
            window = room.state.window
            entry = window.after(self.seq)
            if entry is not None:
                return entry
            if self.seq < window.first - 1:
                await self._fetch()
                continue
            if not room.state.joined:
                raise StopAsyncIteration
            await room.wait_change()

    async def _fetch(self) -> None:
        page = await self._room.history(after=self.seq, limit=FETCH)
        self._fetched.extend(entry for entry in page.events if seq_of(entry) > self.seq)
        if not self._fetched:
            self.seq = self._room.state.window.first - 1


class MessageStream:
    """An iterator over a room's messages; see `EntryStream` for how it ends and what cancelling does."""

    def __init__(self, room: Room, entries: EntryStream) -> None:
        self._room = room
        self._entries = entries

    def __aiter__(self) -> MessageStream:
        return self

    async def __anext__(self) -> Message:
        while True:
            entry = await self._entries.__anext__()
            message = Message.of(entry, self._room.state.summary.epoch)
            if message is not None:
                return message


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
        self._lost: dict[str, int] = {}
        self._arrived = trio.Event()

    def put(self, event: m.Event, timestamp: int) -> None:
        """Add what just happened."""
        seq = seq_of(m.Entry(event=event, timestamp=timestamp))
        name = getattr(event, "room", None)
        if seq and name in self._lost:
            return
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append(Happening(event, timestamp))
        elif seq and isinstance(name, str):
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
                return self._waiting.popleft()
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
        self._waiting.extend(Happening(entry.event, entry.timestamp) for entry in page.events)
        self._lost[name] = seq_of(page.events[-1]) + 1 if page.events else room.state.position.seq + 1
        if self._lost[name] > room.state.position.seq:
            del self._lost[name]
