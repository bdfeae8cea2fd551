"""What a bot or a plugin declares: commands, listeners, jobs, hooks, a life span. Nothing runs here."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import time, tzinfo
from typing import Any, TypeAlias, TypeVar, overload

from attrs import frozen

from chatkit.bot.command import Command, ErrorHook, Function, Handler, Tree, make_command, name_of
from chatkit.bot.converting import Converters
from chatkit.bot.filter import Filter, everything
from chatkit.bot.guard import Guard
from chatkit.bot.job import JobDeclared, OnFailure
from chatkit.bot.later import Later
from chatkit.bot.schedule import Every, Once, Schedule, Seconds, daily, seconds_of
from chatkit.errors import UsageError
from chatkit.protocol.messages import Event, ReceiveMessage

F = TypeVar("F", bound=Callable[..., Awaitable[Any]])
Around: TypeAlias = Callable[[Any, Callable[[], Awaitable[None]]], Awaitable[None]]
LifeSpan: TypeAlias = Callable[[Any], AbstractAsyncContextManager[Any]]


@frozen(kw_only=True, eq=False)
class Listener(Handler):
    """A handler for events of some classes that pass a filter; after a ``last`` one no further listener is tried."""

    events: tuple[type[Event], ...]
    filter: Filter
    last: bool = False


class Commands:
    """Something commands can be added to: a bot, a plugin, a group."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree

    @overload
    def command(self, function: F, /) -> F: ...

    @overload
    def command(
        self,
        /,
        *,
        name: str | None = None,
        aliases: Iterable[str] = (),
        guards: Iterable[Guard] = (),
        deadline: float | None = None,
        on_error: ErrorHook | None = None,
        hidden: bool = False,
    ) -> Callable[[F], F]: ...

    def command(
        self,
        function: Any = None,
        /,
        *,
        name: str | None = None,
        aliases: Iterable[str] = (),
        guards: Iterable[Guard] = (),
        deadline: float | None = None,
        on_error: ErrorHook | None = None,
        hidden: bool = False,
    ) -> Any:
        """Make an async function a command: its name, usage and help come from the function's.

        ``guards`` are asked in order. ``deadline``, in seconds, replaces the bot's. ``on_error(ctx, error)`` is told
        of what the handler raises; raising the error again passes it on. A ``hidden`` command is not in the help.
        Raises `UsageError` for a signature that words cannot fill.
        """

        def declare(function: F) -> F:
            if isinstance(aliases, str):
                raise UsageError(f"aliases are a list of names: [{aliases!r}]")
            command = make_command(
                function,
                name=name,
                path=self.tree.path,
                aliases=tuple(aliases),
                guards=tuple(guards),
                deadline=deadline,
                on_error=on_error,
                hidden=hidden,
            )
            self.tree.add(command, command.name, *command.aliases)
            return function

        return declare if function is None else declare(function)

    def group(self, name: str, *, aliases: Iterable[str] = (), help: str = "") -> Group:
        """Make a group of commands: ``poll = bot.group("poll")``, then ``@poll.command``."""
        tree = Tree(path=(*self.tree.path, name), description=help)
        self.tree.add(tree, name, *aliases)
        return Group(tree)


class Group(Commands):
    """A group of commands. Made by `Commands.group`."""

    def default(self, function: F) -> F:
        """Let a function answer when the group is named without a subcommand."""
        self.tree.fallback = make_command(
            function,
            name=self.tree.path[-1],
            path=self.tree.path[:-1],
            aliases=(),
            guards=(),
            deadline=None,
            on_error=None,
            hidden=False,
        )
        return function


class Scope(Commands):
    """Everything a bot or a plugin declares. ``guards`` stand before every handler's own."""

    def __init__(self, name: str, *, guards: Iterable[Guard] = ()) -> None:
        super().__init__(Tree())
        self.name = name
        self.guards = tuple(guards)
        self.listeners: list[Listener] = []
        self.jobs: list[JobDeclared] = []
        self.laters: list[Later] = []
        self.error_hook: ErrorHook | None = None
        self.around_hook: Around | None = None
        self.life: LifeSpan | None = None

    # ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def listen(
        self,
        *conditions: Filter | type[Event],
        last: bool = False,
        guards: Iterable[Guard] = (),
        deadline: float | None = None,
        on_error: ErrorHook | None = None,
    ) -> Callable[[F], F]:
        """Make an async function of a context a listener.

        ``conditions`` are event classes (without any: messages) and filters, all of which must fit. Every listener
        that fits is run, one after the other in the order they were declared, until one that is ``last``. A message
        that is a command goes to no listener.
        """

        def declare(function: F) -> F:
            listener = Listener(
                name=name_of(function),
                function=_async(function),
                events=tuple(one for one in conditions if isinstance(one, type)) or (ReceiveMessage,),
                filter=_all_of([one for one in conditions if isinstance(one, Filter)]),
                last=last,
                guards=tuple(guards),
                deadline=deadline,
                on_error=on_error,
            )
            self.listeners.append(listener)
            return function

        return declare

    # ── the clock ────────────────────────────────────────────────────────────────────────────────────────────────────

    def every(
        self, interval: Seconds, *, at_once: bool = False, on_failure: OnFailure = "retry", name: str | None = None
    ) -> Callable[[F], F]:
        """Run an async function of a job's context again and again, ``interval`` after the end of the run before.

        After a failure it is retried after a wait that grows from 1 second to 5 minutes, or disabled.
        """
        return self._job(Every(seconds_of(interval), at_once), on_failure, name)

    def daily(
        self, at: str | time, *, zone: str | tzinfo = "UTC", on_failure: OnFailure = "retry", name: str | None = None
    ) -> Callable[[F], F]:
        """Run an async function each day at a time such as ``"09:00"``, in a time zone."""
        return self._job(daily(at, zone), on_failure, name)

    def once(self, after: Seconds = 0, *, on_failure: OnFailure = "retry", name: str | None = None) -> Callable[[F], F]:
        """Run an async function a single time, so long after the bot has started."""
        return self._job(Once(seconds_of(after)), on_failure, name)

    def _job(self, schedule: Schedule, on_failure: OnFailure, name: str | None) -> Callable[[F], F]:
        def declare(function: F) -> F:
            self.jobs.append(
                JobDeclared(
                    name=name or name_of(function), function=_async(function), schedule=schedule, on_failure=on_failure
                )
            )
            return function

        return declare

    def later(self, function: Function) -> Later:
        """Make an async function one whose calls can be put off, over a restart: see `Later`."""
        later = Later(name_of(function), function)
        if any(one.name == later.name for one in self.laters):
            raise UsageError(f"there is a {later.name!r} already")
        self.laters.append(later)
        return later

    # ── hooks ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def on_error(self, function: F) -> F:
        """Let ``function(ctx, error)`` deal with what handlers here raise; raising it again passes it on."""
        self.error_hook = _async(function)
        return function

    def around(self, function: F) -> F:
        """Let ``function(ctx, call)`` run round every handler here: it does its work and awaits ``call()``."""
        hook: Any = _async(function)
        self.around_hook = hook
        return function

    def lifespan(self, function: Callable[[Any], AsyncIterator[Any]]) -> Callable[[Any], AsyncIterator[Any]]:
        """Let an async generator of the bot open what is needed, ``yield`` once, and close it: as long as this runs."""
        if not inspect.isasyncgenfunction(function):
            raise UsageError(f"{name_of(function)}: a life span is an async generator function that yields once")
        self.life = asynccontextmanager(function)
        return function

    def _lifespan(self) -> Callable[[Callable[[Any], AsyncIterator[Any]]], Any]:
        return self.lifespan

    def check(self, converters: Converters) -> None:
        """Raise `UsageError` if a command has a parameter that no word can become."""
        for command in self.commands():
            command.signature.check(converters, command.full_name)

    def commands(self) -> list[Command]:
        """Return every command declared here, by name."""
        return list(self.tree.commands())


def _async(function: F) -> F:
    asynchronous: bool = inspect.iscoroutinefunction(function)
    if not asynchronous:
        raise UsageError(f"{name_of(function)}: a handler is an async function")
    return function


def _all_of(filters: list[Filter]) -> Filter:
    found = everything
    for index, one in enumerate(filters):
        found = found & one if index else one
    return found
