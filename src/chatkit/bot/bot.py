"""`Bot`: what a program declares, and the three ways to run it."""

from __future__ import annotations

import logging
import signal
import sys
import types
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import trio

from chatkit.bot.command import Command, Tree
from chatkit.bot.context import Context
from chatkit.bot.converting import Converters
from chatkit.bot.guard import Guard
from chatkit.bot.help import make_help
from chatkit.bot.job import Job, utc_now
from chatkit.bot.memory import FileMemory, Memory, RamMemory, Shelf
from chatkit.bot.plugin import Plugin, plugin_of
from chatkit.bot.running import Running
from chatkit.bot.schedule import Seconds, seconds_of
from chatkit.bot.scope import Scope
from chatkit.client import Client, connect
from chatkit.errors import ChatError, UsageError

log = logging.getLogger("chatkit.bot")
T = TypeVar("T")
DEFAULT_URL = "ws://127.0.0.1:8765"
Connect: TypeAlias = Callable[..., AbstractAsyncContextManager[Client]]


class Bot(Scope):
    """A chat bot: its commands, listeners, jobs and plugins.

    ::

        bot = Bot("dice", prefix="!")

        @bot.command
        async def roll(ctx: Context, sides: int = 6) -> None:
            \"\"\"Roll a die.\"\"\"
            await ctx.reply(f"{random.randint(1, sides)}")

        bot.run("ws://127.0.0.1:8765")

    Raises `UsageError` for arguments out of bounds.
    """

    def __init__(
        self,
        name: str,
        *,
        # what it heeds
        prefix: str = "!",
        rooms: Iterable[str] = ("general",),
        heeds_bots: bool = False,
        max_age: Seconds | None = None,
        # who may do what
        owner: str | Iterable[str] = (),
        guards: Iterable[Guard] = (),
        # bounds
        deadline: float = 60.0,
        at_once: int = 1000,
        stop_timeout: float = 10.0,
        # what it keeps, and the time
        memory: str | Path | Memory | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """Declare a bot.

        ``name`` is what it logs in as. ``rooms`` are joined at the start, or when they are created. With
        ``heeds_bots`` it hears other bots as it hears people, its own messages never. Messages older than ``max_age``
        (seconds or a `timedelta`) are passed over when the bot comes back; without it none is.

        ``owner`` is the name, or the names, of whom `is_owner` admits. ``guards`` stand before every handler.

        A handler has ``deadline`` seconds unless it has its own. ``at_once`` messages of a room may be unfinished;
        beyond that the room is not read on. A graceful stop gives handlers ``stop_timeout`` seconds.

        ``memory`` is a file, or a `Memory`; without it the file ``NAME.bot.db`` beside the module that makes the bot.
        ``now`` is the time of day, for tests.
        """
        super().__init__(name, guards=guards)
        if not prefix or prefix != prefix.strip() or deadline <= 0 or at_once < 1 or stop_timeout < 0:
            raise UsageError("a bot needs a prefix without spaces, and bounds of more than 0")
        self.prefix = prefix
        self.rooms = tuple(rooms)
        self.heeds_bots = heeds_bots
        self.max_age = None if max_age is None else seconds_of(max_age)
        self.owners = frozenset(one.casefold() for one in ([owner] if isinstance(owner, str) else owner))
        self.deadline = deadline
        self.at_once = at_once
        self.stop_timeout = stop_timeout
        self.memory = _memory(memory, name, sys._getframe(1).f_globals.get("__file__"))
        """What is kept; replace it before the bot runs."""
        self.now = now
        self.converters = Converters()
        self.plugins: dict[str, Plugin] = {}
        """What is or will be loaded, by name."""
        self._helpers = make_help(self)
        self._running: Running | None = None
        self._stop = trio.Event()

    def __repr__(self) -> str:
        return f"<Bot {self.name!r}>"

    # ── declaring ────────────────────────────────────────────────────────────────────────────────────────────────────

    def converter(
        self, kind: type[T], expected: str
    ) -> Callable[
        [Callable[[str], T] | Callable[[Context, str], Awaitable[T]]],
        Callable[[str], T] | Callable[[Context, str], Awaitable[T]],
    ]:
        """Let a function make arguments of a type of one's own.

        It is ``convert(word)``, or ``async convert(ctx, word)`` when it needs to look something up, and raises
        ValueError for a word that will not do; ``expected`` completes "expected …".
        """

        def add(hook: Any) -> Any:
            self.converters.add(kind, hook, expected)
            return hook

        return add

    def add(self, plugin: Plugin | types.ModuleType) -> Plugin:
        """Have a plugin, or a module's marked functions, loaded when the bot starts. Raises `UsageError` if one of its
        name is there, or a command of its is."""
        made = plugin_of(plugin)
        if made.name in self.plugins:
            raise UsageError(f"there is a plugin {made.name!r} already")
        taken = {name for scope in (self, *self.plugins.values()) for name in scope.tree.names}
        if both := taken.intersection(made.tree.names):
            raise UsageError(f"the plugin {made.name!r} has a command that there is already: {', '.join(sorted(both))}")
        self.plugins[made.name] = made
        return made

    @property
    def scopes(self) -> list[Scope]:
        """Everything with commands, in the order they are looked for."""
        return [self, *self.plugins.values(), self._helpers]

    @property
    def group_help(self) -> Command:
        """The command that lists a group's commands."""
        entry = self._helpers.tree.names["help"]
        assert isinstance(entry, Command)
        return entry

    def find(self, line: str) -> Command | Tree | None:
        """Return the command or group that a line without prefix names."""
        for scope in self.scopes:
            found = scope.tree.find(line)
            if found is not None:
                return found[0]
        return None

    def is_owner(self, user: str) -> bool:
        """Whether this is an owner's name."""
        return user.casefold() in self.owners

    def is_stale(self, time: datetime) -> bool:
        """Whether a message of this time is too old to be dealt with."""
        return self.max_age is not None and (self.now() - time).total_seconds() > self.max_age

    # ── running ──────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def is_running(self) -> bool:
        """Whether it has logged in and not yet left."""
        return self._running is not None

    @property
    def running(self) -> Running:
        """The present run. Raises `UsageError` when there is none."""
        if self._running is None:
            raise UsageError(f"the bot {self.name} is not running")
        return self._running

    @property
    def client(self) -> Client:
        """The session at the server. Raises `UsageError` when the bot is not running."""
        return self.running.client

    @property
    def shelf(self) -> Shelf:
        """What the bot keeps for itself, as ``ctx.bot_memory``. Raises `UsageError` when it is not running."""
        return self.running.shelf("bot")

    @property
    def jobs_running(self) -> list[Job]:
        """The jobs of everything that is loaded, and how they fare."""
        return [job for loaded in (self._running.loaded.values() if self._running else ()) for job in loaded.jobs]

    async def load(self, plugin: Plugin | types.ModuleType) -> Plugin:
        """Load a plugin into a running bot; return when its life span has begun and its jobs run.

        Raises what its life span raises, and `UsageError` as `add`. If it is cancelled the plugin is not loaded.
        """
        made = self.add(plugin)
        try:
            await self.running.load(made)
        except BaseException:
            del self.plugins[made.name]
            raise
        return made

    async def unload(self, name: str) -> None:
        """Unload a plugin: cancel its handlers, conversations and jobs, wait for them, and end its life span.

        Raises `UsageError` if there is none of this name.
        """
        if name not in self.plugins:
            raise UsageError(f"no plugin {name!r} is loaded")
        await self.running.unload(self.plugins.pop(name))

    def stop(self) -> None:
        """Begin the graceful end: take no more, let handlers end, note what is done, leave. `serve` returns then."""
        self._stop.set()

    async def serve(
        self,
        where: str | Connect = DEFAULT_URL,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
        **options: Any,
    ) -> None:
        """Run the bot until `stop`; started once it is in its rooms.

        ``where`` is a server's URL, or something called like `chatkit.connect` without one: ``server.connect`` of a
        server in the same program needs no socket. ``options`` are those of `chatkit.connect`. A lost link is made
        anew; what was said meanwhile is dealt with then.

        Raises `ConnectFailed` and `RequestFailed` if it cannot begin, `Disconnected` when the link is gone for good,
        `StorageUnreadable`. Cancelling cancels every handler; what was under way is dealt with by the next run.
        """
        if self._running is not None:
            raise UsageError(f"the bot {self.name} is running already")
        self._stop = trio.Event()
        try:
            await self._serve(where, options, task_status)
        except BaseExceptionGroup as group:
            ours, others = group.split(ChatError)
            if ours is None or others is not None:
                raise
            raise _first_of(ours) from group
        finally:
            self._running = None
            await self.memory.aclose()

    async def _serve(self, where: str | Connect, options: dict[str, Any], task_status: trio.TaskStatus[None]) -> None:
        for scope in self.scopes:
            scope.check(self.converters)
        token = await Shelf(self.memory, self.name, "self", trio.Lock()).get("token")
        options = {"token": token} | options
        link = connect(where, user=self.name, **options) if isinstance(where, str) else where(user=self.name, **options)
        async with link as client:
            log.info("%s is at %s", self.name, where if isinstance(where, str) else client)
            self._running = Running(self, client, self.memory)
            await self._running.run(self._stop, task_status=task_status)

    def run(self, where: str | Connect = DEFAULT_URL, **options: Any) -> None:
        """Run the bot by itself until SIGTERM or SIGINT (Ctrl-C), which stop it gracefully; a second one at once.

        Takes and raises what `serve` does.
        """
        trio.run(self.serve_until_signalled, where, options)

    async def serve_until_signalled(self, where: str | Connect, options: dict[str, Any]) -> None:
        """As `serve`, until SIGTERM or SIGINT."""
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._stop_on, signals, nursery.cancel_scope)
                try:
                    await self.serve(where, **options)
                except ChatError as error:
                    failure: ChatError | None = error
                else:
                    failure = None
                nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _stop_on(self, signals: Any, everything: trio.CancelScope) -> None:
        await anext(signals)
        if self._running is None:
            everything.cancel()
        self.stop()
        await anext(signals)
        everything.cancel()


def _memory(memory: str | Path | Memory | None, name: str, module: str | None) -> Memory:
    if isinstance(memory, Memory):
        return memory
    if memory is not None:
        return FileMemory(memory)
    return FileMemory(Path(module).resolve().parent / f"{name}.bot.db") if module else RamMemory()


def _first_of(group: BaseExceptionGroup[Any]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
