"""A backend in memory that takes its time and fails as a disk does, by chance: for simulations.

Law: a commit fails before it took effect or after it did, and whoever asked cannot tell which. Commits follow one
another; one that has begun is finished, whoever is cancelled meanwhile.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random

import trio
from attrs import frozen

from chatkit.backend.interface import Backend, Follower, Log
from chatkit.backend.records import Batch, Change, Outcome, Page
from chatkit.errors import StorageUnavailable


@frozen(kw_only=True)
class StoreWeather:
    """How a `FaultyBackend` behaves. Times in seconds, chances from 0 to 1."""

    slowest: float = 0.01
    """A commit takes up to this long."""
    fails_before: float = 0.0
    fails_after: float = 0.0
    """The commit takes effect, but fails all the same."""
    read_fails: float = 0.0
    at_hand: float = 0.5
    """What was committed is published in the same step; else a moment later."""


class FaultyBackend(Backend):
    """Another backend, with faults drawn from ``random``. Closing it leaves the other one open."""

    durable = False

    def __init__(self, inner: Backend, random: Random, weather: StoreWeather) -> None:
        self.inner = inner
        self.weather = weather
        self.random = random
        self.directory = inner.directory
        self.bus = inner.bus
        self.log = _FaultyLog(self)
        self._turn = trio.Lock()

    async def commit(self, changes: Sequence[Change]) -> list[Outcome]:
        random, weather = self.random, self.weather
        takes, fate = random.uniform(0, weather.slowest), random.random()
        async with self._turn:
            await trio.sleep(takes / 2)
            with trio.CancelScope(shield=True):
                await trio.sleep(takes / 2)
                if fate < weather.fails_before:
                    raise StorageUnavailable("the disk is full")
                outcomes = await self.inner.commit(changes)
                if fate < weather.fails_before + weather.fails_after:
                    raise StorageUnavailable("the disk does not answer")
        return outcomes

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


class _FaultyLog(Log):
    def __init__(self, backend: FaultyBackend) -> None:
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
        backend = self._backend
        takes, fate = backend.random.uniform(0, backend.weather.slowest), backend.random.random()
        await trio.sleep(takes)
        if fate < backend.weather.read_fails:
            raise StorageUnavailable("the disk does not answer")
        return await backend.inner.log.read(room_id, after=after, before=before, limit=limit, max_bytes=max_bytes)

    @asynccontextmanager
    async def tail(self, after: int) -> AsyncIterator[Follower]:
        async with self._backend.inner.log.tail(after) as feed:
            yield _HesitantFollower(feed, self._backend)


class _HesitantFollower(Follower):
    """Has at hand what was committed, or only has it come later, by chance."""

    def __init__(self, feed: Follower, backend: FaultyBackend) -> None:
        self._feed = feed
        self._backend = backend

    async def __anext__(self) -> Batch:
        return await self._feed.__anext__()

    def at_hand(self) -> Batch | None:
        backend = self._backend
        return self._feed.at_hand() if backend.random.random() < backend.weather.at_hand else None
