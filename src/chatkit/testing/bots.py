"""Bots in tests: a server in memory, people with a script, a clock that jumps, crashes on demand.

::

    async def test_roll(chat):                   # a fixture that chatkit brings along
        await chat.run(bot)
        ann = await chat.person("ann")
        await ann.says("!roll 1")
        await ann.hears("1", by="dice")
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any

import trio
from attrs import evolve
from trio.testing import MockClock

from chatkit.backend.interface import Backend
from chatkit.bot import Bot, Memory, RamMemory
from chatkit.bot.progress import Progress
from chatkit.private import private_nursery
from chatkit.server import Extension, ServerConfig
from chatkit.testing.people import Person
from chatkit.testing.server import TestServer, open_test_server

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
"""What the clocks of a `Chat` show when it begins."""
QUIET = 0.005
"""Seconds of real time in which nothing may have moved before a clock that jumps does so, when there are sockets. Both
ends of each are in this process, and the system hands over what one end sends before the other may sleep so long."""


class Chat:
    """A server, people and bots, with one time for all of them. Made by `open_chat`."""

    def __init__(self, server: TestServer, nursery: trio.Nursery, clock: ChatClock, over: str | None = None) -> None:
        self.server = server
        """The server and the people at it."""
        self.clock = clock
        self.over = over
        """The scheme of the address by which everybody comes who is not told otherwise; None is in memory."""
        self._nursery = nursery
        self._memories: dict[str, Memory] = {}
        self._runs: list[BotRun] = []
        self._still = _StandsStill()

    def now(self) -> datetime:
        """Return the time of day here, for the server and for bots: it goes by Trio's clock, from 2030-01-01 12:00."""
        return self.clock.now()

    async def person(self, name: str, *, over: str | None = None, **options: Any) -> Person:
        """Let somebody come; see `TestServer.person`. Without ``over`` they come as everybody does here."""
        return await self.server.person(name, over=over or self.over, **options)

    async def people(self, *names: str, over: str | None = None, **options: Any) -> list[Person]:
        """Let several come; see `TestServer.people`."""
        return await self.server.people(*names, over=over or self.over, **options)

    async def run(self, bot: Bot, *, over: str | None = None, memory: Memory | None = None, **options: Any) -> BotRun:
        """Run a bot until the block ends; return once it is in its rooms.

        ``over`` is the scheme of one of the server's addresses; without it the bot comes as everybody does here. It
        remembers, in memory, what an earlier run here of a bot of this name did; ``memory`` replaces that. Its time is
        that of this `Chat`. Raises what `Bot.serve` raises.
        """
        over = over or self.over
        kept = memory or self._memories.setdefault(bot.name, RamMemory())
        run = BotRun(bot, _MortalMemory(kept, self._still))
        where = self.server.server.connect if over is None else self.server.address(over)
        await self._nursery.start(run.live, where, self.clock, options)
        self._runs.append(run)
        return run

    def stop_bots(self) -> None:
        """Begin the graceful end of every bot."""
        for run in self._runs:
            run.bot.stop()


class BotRun:
    """A bot's run, from login to its end. Made by `Chat.run`."""

    def __init__(self, bot: Bot, memory: _MortalMemory) -> None:
        self.bot = bot
        self._memory = memory
        self._scope = trio.CancelScope()
        self._ended = trio.Event()

    async def stop(self) -> None:
        """Stop the bot gracefully, as SIGTERM does; return when it has left."""
        self.bot.stop()
        await self._ended.wait()

    async def crash(self) -> None:
        """End the bot as ``kill -9`` does: from now on nothing is noted, said or answered. Return when it is gone."""
        self._memory.alive = False
        self._scope.cancel()
        await self._ended.wait()

    async def live(
        self,
        where: Any,
        clock: ChatClock,
        options: Mapping[str, Any],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve the bot with a memory and a time of its own, then give it back as it was; `Chat.run` runs this."""
        bot = self.bot
        before = bot.memory, bot.now
        bot.memory, bot.now = self._memory, clock.now
        try:
            with self._scope:
                await bot.serve(where, task_status=task_status, **options)
        finally:
            bot.memory, bot.now = before
            self._ended.set()


class ChatClock:
    """The time of day, going by Trio's clock."""

    def __init__(self, begin: datetime = NOON) -> None:
        self._begin = begin
        self._started = trio.current_time()

    def now(self) -> datetime:
        """Return the time of day, in UTC."""
        return self._begin + timedelta(seconds=trio.current_time() - self._started)

    def now_ms(self) -> int:
        """Return it in milliseconds since 1970."""
        return int(self.now().timestamp() * 1000)


class _MortalMemory(Memory):
    """A memory that takes nothing more from a bot that has crashed. While a file is read or written no clock jumps."""

    def __init__(self, memory: Memory, still: _StandsStill) -> None:
        self._memory = memory
        self.alive = True
        self._still = still

    async def progress(self, bot: str) -> dict[str, Progress]:
        with self._still:
            return await self._memory.progress(bot)

    async def save_progress(self, bot: str, progress: Mapping[str, Progress]) -> None:
        if self.alive:
            with self._still:
                await self._memory.save_progress(bot, progress)

    async def read(self, bot: str, shelf: str, key: str) -> str | None:
        with self._still:
            return await self._memory.read(bot, shelf, key)

    async def write(self, bot: str, shelf: str, key: str, value: str | None) -> None:
        if self.alive:
            with self._still:
                await self._memory.write(bot, shelf, key, value)

    async def items(self, bot: str, shelf: str) -> dict[str, str]:
        with self._still:
            return await self._memory.items(bot, shelf)

    async def aclose(self) -> None:
        with self._still:
            await self._memory.aclose()


class _StandsStill:
    """Keeps a clock that jumps from doing so while a thread works: blocks of it may overlap."""

    def __init__(self) -> None:
        self._blocks = 0
        self._threshold = 0.0

    def __enter__(self) -> None:
        clock = trio.lowlevel.current_clock()
        self._blocks += 1
        if isinstance(clock, MockClock) and self._blocks == 1:
            self._threshold, clock.autojump_threshold = clock.autojump_threshold, inf

    def __exit__(self, *_: object) -> None:
        clock = trio.lowlevel.current_clock()
        self._blocks -= 1
        if isinstance(clock, MockClock) and not self._blocks:
            clock.autojump_threshold = self._threshold


@asynccontextmanager
async def open_chat(
    store: str | Backend = "memory://",
    *,
    over: str | None = None,
    listen: Iterable[str] = (),
    extensions: Iterable[Extension] = (),
    config: ServerConfig | None = None,
) -> AsyncIterator[Chat]:
    """Run a server for bots and people, for as long as the block lasts.

    Everybody comes in memory; with ``over="ws"``, or ``"tcp"``, through a real socket of this machine. Otherwise it
    takes and raises what `open_test_server` does; the server's time of day goes by Trio's clock, so that under an
    autojump clock a day passes in microseconds. When the server listens anywhere such a clock jumps no sooner than
    `QUIET` seconds after the last byte has moved. At the end every bot is stopped gracefully, then everybody goes. A
    bot's failure comes out of the block.
    """
    clock = ChatClock()
    config = evolve(config or ServerConfig(), now_ms=clock.now_ms)
    addresses = list(listen)
    if over is not None and not any(url.startswith(f"{over}://") for url in addresses):
        addresses.append(f"{over}://127.0.0.1:0")
    with _jumping_when_it_is_quiet(bool(addresses)):
        async with open_test_server(store, listen=addresses, extensions=extensions, config=config) as server:
            chats: list[Chat] = []
            async with private_nursery(lambda _: chats[0].stop_bots()) as nursery:
                chats.append(Chat(server, nursery, clock, over))
                yield chats[0]


@contextmanager
def _jumping_when_it_is_quiet(sockets: bool) -> Iterator[None]:
    """Keep a clock that jumps from jumping over what is between the two ends of a socket."""
    clock = trio.lowlevel.current_clock()
    if not sockets or not isinstance(clock, MockClock) or clock.autojump_threshold >= QUIET:
        yield
        return
    before, clock.autojump_threshold = clock.autojump_threshold, QUIET
    try:
        yield
    finally:
        clock.autojump_threshold = before
