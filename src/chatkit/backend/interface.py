"""What the server needs of a place where things are kept: four small interfaces.

A backend is opened by URL (:func:`chatkit.backend.open_backend`). It must hold to these laws, which
:func:`chatkit.testing.check_backend` tests:

1. When `commit` returns, what it says is kept is kept: on disk for a durable backend, whatever happens to the process.
2. Within a room, seq is dense: 1, 2, 3 … in the order of commits and, inside a commit, of its changes. None is used
   again after a `Trim`.
3. A refused change or a duplicate harms no other change of the same commit. Changes in a `Together` are kept all or
   none.
4. Everything committed, by anybody, passes through every feed exactly once, in commit order; batches are never split
   or reordered. Only rows deleted or trimmed meanwhile are left out for a feed that is behind, and bodies redacted
   meanwhile are empty.
5. A cancelled `commit` is either kept whole or not at all, and the next one works.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager

from chatkit.backend.records import Batch, Change, Outcome, Page, Snapshot


class Follower(AsyncIterator[Batch]):
    """Goes through what is committed, batch by batch, for one task at a time."""

    def at_hand(self) -> Batch | None:
        """Return the next batch if the task that iterates waits for it and it is here already; None otherwise. It is
        then not iterated over. Never having one is lawful: everything comes by iterating, a moment later."""
        return None


class Log(ABC):
    """Rows by room and seq."""

    @abstractmethod
    async def read(
        self,
        room_id: str,
        *,
        after: int | None = None,
        before: int | None = None,
        limit: int = 50,
        max_bytes: int = 262_144,
    ) -> Page:
        """Return consecutive rows of a room, oldest first.

        ``after`` gives the rows that follow this seq, ``before`` those that end just below it; exactly one is given.
        A page ends after ``limit`` rows or before the row that would take it over ``max_bytes`` (by `Row.size`), but
        holds at least one row if there is any in that direction. With ``after`` it is the rows nearest to ``after``,
        with ``before`` the rows nearest to ``before``. Rows that were trimmed are passed over: `Page.first` tells.

        Raises KeyError if there is no such room, `StorageUnavailable` when the store cannot be read now.
        """

    @abstractmethod
    def tail(self, after: int) -> AbstractAsyncContextManager[Follower]:
        """Follow everything committed after feed position ``after`` (from `Directory.snapshot`), also by others.

        Use: ``async with log.tail(position) as feed: async for batch in feed: …``. A reader that falls behind costs
        bounded memory and misses nothing. The iterator ends when the backend is closed.
        """


class Directory(ABC):
    """Rooms, members, and records: accounts, tokens, bans, invitations."""

    @abstractmethod
    async def snapshot(self) -> Snapshot:
        """Return everything in the directory, consistent with one position of the feed."""


class Bus(ABC):
    """Ephemeral signals between the nodes of one deployment: at most once, latest matters, nothing kept."""

    @abstractmethod
    async def publish(self, topic: str, data: bytes) -> None:
        """Send to every current subscriber of every node, the sender's included. Never waits for a slow subscriber;
        one that is 1,000 signals behind loses its oldest."""

    @abstractmethod
    def subscribe(self) -> AbstractAsyncContextManager[AsyncIterator[tuple[str, bytes]]]:
        """Receive ``(topic, data)`` of everything published from now on."""


class Backend(ABC):
    """One place that keeps everything: a log, a directory, a bus, and the commit that changes the first two."""

    log: Log
    directory: Directory
    bus: Bus
    durable: bool
    """Whether what is committed survives the end of the process."""

    @abstractmethod
    async def commit(self, changes: Sequence[Change]) -> list[Outcome]:
        """Commit changes as one transaction and return the outcome of each, in order.

        Commits are made one after another, in the order of the calls. When this returns, the batch has been handed
        to the feeds of this process. Raises `StorageUnavailable` when the transaction failed: its outcome is unknown
        for every change in it. Cancellation waits for a transaction that has begun.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Finish what is under way, end the feeds, release everything. Never fails; a second call does nothing."""
