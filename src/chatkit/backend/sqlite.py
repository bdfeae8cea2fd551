"""The default backend: one SQLite file, durable.

One connection writes, in a worker thread of its own, one commit at a time; two others read. What another process
writes into the same file (administration beside a server) reaches the feeds within `POLL` seconds. The bus is that of
one process.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

import trio

from chatkit.backend.bus import LocalBus
from chatkit.backend.feed import Feed, Feeds, Stretch
from chatkit.backend.interface import Backend, Directory, Log
from chatkit.backend.paging import bounds
from chatkit.backend.records import Change, Outcome, Page, Snapshot
from chatkit.backend.sqlite_reader import read_page, read_since, read_snapshot
from chatkit.backend.sqlite_schema import open_reader, reason_of
from chatkit.backend.sqlite_writer import SqliteWriter
from chatkit.backend.worker import Worker
from chatkit.errors import StorageUnavailable, UsageError

READERS = 2
"""Connections that read: history for one room does not wait for another's, and two are what SQLite makes use of."""
POLL = 0.5
"""Seconds after which an idle feed looks for what another process wrote."""

T = TypeVar("T")


async def open_sqlite(url: str) -> Backend:
    """Open, or create, the database that a URL names: ``sqlite:///relative/path.db`` (relative to the working
    directory) or ``sqlite:////absolute/path.db``. Characters such as ``?`` and ``%`` are percent-encoded.

    Raises `UsageError` if the URL has another form, and `StorageUnreadable` if the path is a directory, lies in none,
    or may not be written; if the file is damaged, is another program's, or comes from a newer version of chatkit; or if
    another program keeps it locked. Cancellation does not interrupt an opening; it takes effect after it.
    """
    path = path_of(url)
    threads = trio.CapacityLimiter(1)
    return await trio.to_thread.run_sync(lambda: SqliteBackend(path, threads), limiter=threads)


def path_of(url: str) -> Path:
    """Return the path in a ``sqlite:`` URL. Raises `UsageError` if it has none, or says more."""
    parts = urlsplit(url)
    path = unquote(parts.path[1:])
    if parts.scheme != "sqlite" or parts.netloc or not path or path.endswith("/") or parts.query or parts.fragment:
        raise UsageError(f"store {url!r}: expected sqlite:///relative/path.db or sqlite:////absolute/path.db")
    if path == ":memory:":
        raise UsageError(f"store {url!r}: a store in memory is memory://")
    return Path(path)


class SqliteBackend(Backend):
    """An open database. Opening blocks; `open_sqlite` does it in a thread.

    A `commit` that has begun ends before its cancellation takes effect. One that fails (the disk is full, an I/O
    error, the file is locked) leaves nothing behind that the next would stumble over.
    """

    durable = True

    def __init__(self, path: Path, threads: trio.CapacityLimiter) -> None:
        self._threads = threads
        self._reading = trio.CapacityLimiter(READERS)
        self._turn = trio.Lock()
        self._worker = Worker("chatkit commits")
        self._closing = False  # no new commits; those that wait for their turn still get it
        self._closed = False
        self._writer = SqliteWriter(path)
        self._readers: deque[sqlite3.Connection] = deque()
        try:
            for _ in range(READERS):
                self._readers.append(open_reader(path))
        except BaseException:
            self._release()
            raise
        self.feeds = Feeds()
        self.bus: LocalBus = LocalBus()
        self.log = SqliteLog(self)
        self.directory = SqliteDirectory(self)

    async def commit(self, changes: Sequence[Change]) -> list[Outcome]:
        if self._closing:
            raise StorageUnavailable("the store is closed")
        try:
            self._turn.acquire_nowait()  # the server commits in one task: nobody else has the turn
        except trio.WouldBlock:
            await self._turn.acquire()
        try:
            outcomes, batch = await self._worker.run(self._writer.commit, changes)
            if batch is not None:
                self.feeds.publish(batch)
            return outcomes
        finally:
            self._turn.release()

    async def read(self, task: Callable[[sqlite3.Connection], T]) -> T:
        """Run a task on a connection that reads. Raises `StorageUnavailable` if it cannot be done now."""
        if self._closed:
            raise StorageUnavailable("the store is closed")
        return await trio.to_thread.run_sync(self._read, task, limiter=self._reading)

    def _read(self, task: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._readers.popleft()
        try:
            return task(connection)
        except sqlite3.Error as error:
            raise StorageUnavailable(f"the store cannot be read: {reason_of(error)}") from error
        finally:
            self._readers.append(connection)

    async def aclose(self) -> None:
        if self._closing:
            await trio.lowlevel.cancel_shielded_checkpoint()
            return
        self._closing = True
        with trio.CancelScope(shield=True):
            async with self._turn:
                self._closed = True
                self.feeds.close()
                self.bus.close()
                for _ in range(READERS):
                    await self._reading.acquire_on_behalf_of(object())
                self._worker.close()
                await trio.to_thread.run_sync(self._release, limiter=self._threads)

    def _release(self) -> None:
        for reader in self._readers:
            reader.close()
        self._writer.close()


class SqliteLog(Log):
    """The logs of a `SqliteBackend`."""

    def __init__(self, backend: SqliteBackend) -> None:
        self._backend = backend

    async def read(
        self,
        room_id: str,
        *,
        after: int | None = None,
        before: int | None = None,
        limit: int = 50,
        max_bytes: int = 262_144,
    ) -> Page:
        start, forward, limit = bounds(after, before, limit)
        return await self._backend.read(
            lambda connection: read_page(connection, room_id, start, forward, limit, max_bytes)
        )

    def tail(self, after: int) -> Feed:
        return Feed(self._backend.feeds, after, self._since, poll=POLL)

    async def _since(self, after: int) -> Stretch:
        return await self._backend.read(partial(read_since, after=after))


class SqliteDirectory(Directory):
    """The directory of a `SqliteBackend`."""

    def __init__(self, backend: SqliteBackend) -> None:
        self._backend = backend

    async def snapshot(self) -> Snapshot:
        return await self._backend.read(read_snapshot)
