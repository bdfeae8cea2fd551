"""The feed: everything committed, in order, to each who follows.

Live batches are handed over synchronously and wait in a bounded queue. A feed that is behind (at its start, after its
queue overflowed, or because another process wrote) re-reads the store from its position instead; meanwhile the queue
collects again, and what was seen both ways is recognised by its position. Positions count items, so a batch that does
not begin where the last one ended shows that something lies between.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType

import trio
from attrs import frozen

from chatkit.backend.interface import Follower
from chatkit.backend.records import Batch, Row
from chatkit.errors import StorageError, StorageUnavailable, UsageError

MAX_BATCHES = 1_000
"""Batches waiting in one feed: some seconds of a busy server."""
MAX_BYTES = 4 * 2**20
"""Bytes waiting in one feed behind its first batch, by `Row.size`."""
FACTS_KEPT = 10_000
"""Directory changes a store keeps for feeds that are behind, at least. Rows are kept as long as their room."""
FACT_SIZE = 200
"""What a directory change counts for, in bytes."""


@frozen
class Stretch:
    """Batches read from the store: all there are up to ``position``, or some with ``more`` to come."""

    batches: tuple[Batch, ...]
    position: int
    more: bool


def check_position(after: int, oldest: int, newest: int) -> None:
    """Raise `StorageError` if a store that keeps positions from ``oldest`` to ``newest`` cannot be followed from
    ``after``."""
    if after < oldest:
        raise StorageError(f"feed position {after} is no longer kept (the oldest is {oldest}): take a new snapshot")
    if after > newest:
        raise StorageError(f"feed position {after} is not of this store (the newest is {newest})")


def size_of(batch: Batch) -> int:
    """Return roughly the bytes a batch takes in memory."""
    return sum(item.size if type(item) is Row else FACT_SIZE for item in batch.items)


class Feeds:
    """The feeds opened from one backend."""

    def __init__(self) -> None:
        self._open: dict[Feed, None] = {}
        self._closed = False

    def publish(self, batch: Batch) -> None:
        """Hand a committed batch to every feed."""
        for feed in self._open:
            feed.offer(batch)

    def close(self) -> None:
        """End every feed, once it has delivered what it holds."""
        self._closed = True
        for feed in list(self._open):
            self.remove(feed)

    def add(self, feed: Feed) -> None:
        """Take a feed in; one that comes after `close` ends at once."""
        if self._closed:
            feed.end()
        else:
            self._open[feed] = None

    def remove(self, feed: Feed) -> None:
        """Let a feed go and end it."""
        self._open.pop(feed, None)
        feed.end()


class Feed(Follower):
    """One follower of a store, from position ``after``; for one task at a time. What `Log.tail` returns.

    ``reread(after)`` reads the store. ``poll`` is after how many idle seconds to look there for what other processes
    wrote; infinite if nobody else can.

    Entering raises `StorageError` if the store no longer keeps what followed ``after`` (more than `FACTS_KEPT`
    directory changes ago), or never had this position: then take a new snapshot. Iterating raises the same if the
    reader fell that far behind, and `StorageUnavailable` if the store cannot be read now; iterating on afterwards
    continues where it was. Cancellation loses nothing either.
    """

    def __init__(
        self, feeds: Feeds, after: int, reread: Callable[[int], Awaitable[Stretch]], *, poll: float = math.inf
    ) -> None:
        self._feeds = feeds
        self._position = after
        self._reread = reread
        self._poll = poll
        self._page: deque[Batch] = deque()
        self._queue: deque[tuple[Batch, int]] = deque()
        self._bytes = 0
        self._behind = True
        self._ended = False
        self._busy = False
        self._waiting = False
        """The task that iterates has taken all there was."""
        self._news = trio.lowlevel.ParkingLot()

    def offer(self, batch: Batch) -> None:
        """Put a batch in that was just committed."""
        if self._behind:
            return
        size = size_of(batch) if self._queue else 0  # what is taken at once need not be measured
        if self._queue and (len(self._queue) >= MAX_BATCHES or self._bytes + size > MAX_BYTES):
            self._fall_behind()
        else:
            self._queue.append((batch, size))
            self._bytes += size
        self._news.unpark()

    def end(self) -> None:
        """Nothing more comes."""
        self._ended = True
        self._news.unpark_all()

    async def __aenter__(self) -> Feed:
        self._feeds.add(self)
        try:
            if self._ended:
                await trio.lowlevel.checkpoint()
            else:
                await self._catch_up()
        except BaseException:
            self._feeds.remove(self)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._feeds.remove(self)
        self._page.clear()
        self._queue.clear()

    async def __anext__(self) -> Batch:
        if self._busy:
            raise UsageError("another task is waiting for this feed; open one for each")
        self._busy = True
        try:
            if self._page or self._queue:
                await trio.lowlevel.checkpoint()
            while (batch := self._take()) is None:
                if self._ended:
                    raise StopAsyncIteration
                await (self._catch_up() if self._behind else self._wait())
            return batch
        finally:
            self._busy = False

    def at_hand(self) -> Batch | None:
        return self._take() if self._waiting else None

    def _take(self) -> Batch | None:
        """Take the next batch if it is here; notice if it is not in the queue but in the store."""
        if self._page:
            batch = self._page.popleft()
            self._position = batch.position
            return batch
        while self._queue and not self._behind:
            batch, size = self._queue[0]
            if batch.position - len(batch.items) > self._position:
                self._fall_behind()
                break
            self._queue.popleft()
            self._bytes -= size
            if batch.position > self._position:
                self._position = batch.position
                return batch
        return None

    def _fall_behind(self) -> None:
        self._behind = True
        self._queue.clear()
        self._bytes = 0

    async def _catch_up(self) -> None:
        self._behind = False  # the queue collects again before the store is read, so nothing falls between
        try:
            stretch = await self._reread(self._position)
        except BaseException:
            self._fall_behind()
            raise
        if stretch.more:
            self._fall_behind()
        self._page.extend(stretch.batches)
        if not stretch.batches:
            self._position = max(self._position, stretch.position)

    async def _wait(self) -> None:
        self._waiting = True
        try:
            with trio.move_on_after(self._poll) as scope:
                await self._news.park()
                while not (self._queue or self._behind or self._ended):  # somebody took it
                    scope.deadline = trio.current_time() + self._poll
                    await self._news.park()
        finally:
            self._waiting = False
        if scope.cancelled_caught and not self._ended:
            try:
                await self._catch_up()
            except StorageUnavailable:
                # Nobody is known to have written; the next look will tell. Whatever was offered meanwhile is found
                # then too, or sooner by the gap it leaves.
                self._behind = False
