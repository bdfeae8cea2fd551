"""A server with people on it, and a store that can be slowed down: what tests of who may do what stand on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import trio
from attrs import define, evolve, field, frozen
from wires import Site, Wire, site

from chatkit.backend import open_backend
from chatkit.backend.interface import Backend, Follower, Log
from chatkit.backend.records import Account, Change, Outcome, Page, Put, Record, Row
from chatkit.engine.limits import EngineLimits
from chatkit.protocol.messages import Event, Nothing, Request
from chatkit.protocol.rates import Rate
from chatkit.server import Extension, RequestContext, ServerConfig
from chatkit.server.passwords import Passwords
from chatkit.server.throttle import LoginRates, Throttle
from chatkit.server.tries import Tries

PASSWORD = "correct horse battery"
PLENTY = Rate(burst=10_000, per_second=10_000)


class Slow(Backend, Log):
    """A store whose reads and commits can be held up."""

    durable = False

    def __init__(self, inner: Backend) -> None:
        self.inner = inner
        self.log: Log = self
        self.directory = inner.directory
        self.bus = inner.bus
        self.before_answer: Callable[[Page], Awaitable[None]] | None = None
        """Called with a page that was read, before it is handed over."""
        self.before_commit: Callable[[Sequence[Change]], Awaitable[None]] | None = None
        self.committed: list[Change] = []

    async def read(self, room_id: str, **bounds: Any) -> Page:
        page = await self.inner.log.read(room_id, **bounds)
        if self.before_answer is not None:
            await self.before_answer(page)
        return page

    def tail(self, after: int) -> AbstractAsyncContextManager[Follower]:
        return self.inner.log.tail(after)

    async def commit(self, changes: Sequence[Change]) -> list[Outcome]:
        if self.before_commit is not None:
            await self.before_commit(changes)
        self.committed += changes
        return await self.inner.commit(changes)

    async def aclose(self) -> None:
        await self.inner.aclose()


@define(eq=False)
class Place:
    """A server, its store, and whoever comes."""

    site: Site
    store: Slow
    tokens: dict[str, str] = field(factory=dict)

    async def account(self, name: str, kind: str = "tcp", *, role: str = "member", **more: Any) -> Wire:
        """Somebody who registers, and is an admin or whatever then."""
        wire = await self.site.wire(kind)
        reply = await wire.data("register", user=name, password=PASSWORD, **more)
        self.tokens[name] = wire.token = reply["token"]
        if role != "member":
            await self.put(evolve(self.record(name), role=role), self.record(name))
        wire.events.clear()
        return wire

    async def device(self, name: str, kind: str = "tcp", **login: Any) -> Wire:
        """Another device of somebody who has registered."""
        wire = await self.site.wire(kind)
        reply = await wire.data("login", user=name, password=PASSWORD, **login)
        wire.token = reply["token"]
        wire.events.clear()
        return wire

    def record(self, name: str) -> Account:
        return self.site.server._core.engine.world.accounts_by_key[name]

    async def put(self, record: Record, was: Record | None = None) -> None:
        """Write into the store, beside the server, and return when it has taken it in."""
        core = self.site.server._core
        (outcome,) = await self.store.commit([Put(record=record, was=was)])
        with trio.fail_after(5):
            await core.reached(getattr(outcome, "position"))  # noqa: B009  # a refusal has none: the test fails here

    async def rows(self, room: str) -> list[Row]:
        """What a room's log holds."""
        record = next(one for one in (await self.store.directory.snapshot()).rooms if one.name == room)
        rows: list[Row] = []
        while True:
            page = await self.store.inner.log.read(record.room_id, after=len(rows), limit=500)
            if not page.rows:
                return rows
            rows += page.rows

    def head(self, room: str) -> int:
        found = self.site.server._core.engine.room_named(room)
        assert found is not None
        return found.head


@asynccontextmanager
async def place(
    store: str = "memory://", *, limits: EngineLimits | None = None, config: ServerConfig | None = None, **more: Any
) -> AsyncIterator[Place]:
    """Run a server on which passwords cost little and may be tried often."""
    backend = Slow(await open_backend(store))
    settings = evolve(config or ServerConfig(rate_limits=False), engine=limits or EngineLimits())
    try:
        async with site(backend, config=settings, **more) as here:
            core = here.server._core
            core.passwords = Passwords(memory_kib=8, passes=1)
            core.tries = Tries(Throttle(LoginRates(address=PLENTY, account=PLENTY, known=PLENTY)))
            yield Place(here, backend)
    finally:
        await backend.aclose()


# ── a program's own actions ──────────────────────────────────────────────────────────────────────────────────────────


@frozen(kw_only=True)
class Moved(Event):
    action = "game.moved"
    room: str
    seq: int = 0
    to: str


@frozen(kw_only=True)
class Move(Request[Nothing]):
    action = "game.move"
    room: str
    to: str


def game() -> Extension:
    extension = Extension()
    extension.event(Moved)

    @extension.action(Move)
    async def move(context: RequestContext, request: Move) -> Nothing:
        await trio.lowlevel.checkpoint()
        await context.publish(Moved(room=request.room, to=request.to))
        return Nothing()

    return extension
