"""A backend in memory: nothing survives the process. For tests, simulations, demonstrations and embedding.

Everything happens in the event loop, at the moment of the call and without threads, so a run is repeatable.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

import trio

from chatkit.backend.feed import Feed, Feeds, Stretch
from chatkit.backend.interface import Backend, Directory, Log
from chatkit.backend.memory_store import MemoryStore
from chatkit.backend.paging import bounds, fill
from chatkit.backend.records import Change, Outcome, Page, Snapshot
from chatkit.errors import StorageUnavailable, UsageError

_named: dict[str, MemoryStore] = {}


async def open_memory(url: str) -> Backend:
    """Open a store in memory.

    ``memory://`` is a new store that nobody else sees. ``memory://NAME`` is the one store of that name in this
    process, empty at first: all who open it share its rooms, its feed and its bus, and it stays when they have closed
    it, so that a server can be stopped and started on it, until `drop_memory` or the end of the process. A store
    belongs to one event loop at a time. Raises `UsageError` if the URL says more than a name.
    """
    await trio.lowlevel.checkpoint()
    parts = urlsplit(url)
    if parts.scheme != "memory" or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise UsageError(f"store {url!r}: expected memory:// or memory://NAME")
    name = unquote(parts.netloc)
    return MemoryBackend(_named.setdefault(name, MemoryStore()) if name else MemoryStore())


def drop_memory(name: str) -> None:
    """Forget the store ``memory://NAME``: whoever opens that name next gets an empty one. Those who have it open keep
    what they have. Dropping a name that nobody opened does nothing."""
    _named.pop(name, None)


class MemoryBackend(Backend):
    """One opening of a `MemoryStore`.

    `commit` takes effect at the call, without waiting: cancelled on entry nothing is kept, later it is complete.
    """

    durable = False

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._closed = False
        self.feeds = Feeds()
        self.bus = store.bus
        self.log = MemoryLog(self)
        self.directory = MemoryDirectory(self)
        store.openings[self.feeds] = None

    @property
    def store(self) -> MemoryStore:
        """The store, as long as this opening is not closed; then `StorageUnavailable`."""
        if self._closed:
            raise StorageUnavailable("the store is closed")
        return self._store

    async def commit(self, changes: Sequence[Change]) -> list[Outcome]:
        await trio.lowlevel.checkpoint_if_cancelled()
        outcomes = self.store.commit(changes)
        await trio.lowlevel.cancel_shielded_checkpoint()
        return outcomes

    async def aclose(self) -> None:
        self._closed = True
        self._store.openings.pop(self.feeds, None)
        self.feeds.close()
        await trio.lowlevel.cancel_shielded_checkpoint()


class MemoryLog(Log):
    """The logs of a `MemoryBackend`."""

    def __init__(self, backend: MemoryBackend) -> None:
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
        await trio.lowlevel.checkpoint()
        near, first, head = self._backend.store.rows(room_id, start, forward, limit)
        rows = fill(near, max_bytes)
        return Page(rows=tuple(rows if forward else reversed(rows)), first=first, head=head)

    def tail(self, after: int) -> Feed:
        return Feed(self._backend.feeds, after, self._since)

    async def _since(self, after: int) -> Stretch:
        await trio.lowlevel.checkpoint()
        return self._backend.store.since(after)


class MemoryDirectory(Directory):
    """The directory of a `MemoryBackend`."""

    def __init__(self, backend: MemoryBackend) -> None:
        self._backend = backend

    async def snapshot(self) -> Snapshot:
        await trio.lowlevel.checkpoint()
        return self._backend.store.snapshot()
