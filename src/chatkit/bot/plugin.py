"""Plugins: commands, listeners, jobs and state that come and go as a whole.

A plugin is a `Plugin` with functions added to it, a subclass of `Plugin` with marked methods, or a module with marked
functions. The marks are the free functions `command`, `listen`, `every`, `daily`, `once` and `lifespan` here.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar, overload

from chatkit.bot.guard import Guard
from chatkit.bot.scope import Scope
from chatkit.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])
MARKS = "__chatkit_marks__"


class Plugin(Scope):
    """A part of a bot that is loaded and unloaded whole.

    ::

        class Poll(Plugin):
            def __init__(self):
                super().__init__("poll")
                self.votes = {}

            @command
            async def vote(self, ctx: Context, choice: str) -> None: ...

    If it is an async context manager, it is entered when it is loaded, and left when it is unloaded, after everything
    of it that runs has been cancelled and has ended.
    """

    def __init__(self, name: str | None = None, *, guards: Iterable[Guard] = ()) -> None:
        super().__init__(name or type(self).__name__.lower(), guards=guards)
        for attribute in _in_order(type(self)):
            _declare(self, getattr(type(self), attribute), getattr(self, attribute))
        if hasattr(self, "__aenter__"):
            self.life = self._entered

    def _entered(self, _: Any) -> AbstractAsyncContextManager[Any]:
        return self  # type: ignore[return-value]  # a subclass with __aenter__ has __aexit__


def plugin_of(thing: Plugin | types.ModuleType) -> Plugin:
    """Return a module's marked functions as a plugin of its name; a plugin as it is."""
    if isinstance(thing, Plugin):
        return thing
    if not isinstance(thing, types.ModuleType):
        raise UsageError(f"{thing!r} is no plugin: a Plugin or a module")
    plugin = Plugin(thing.__name__.rpartition(".")[2])
    for value in list(vars(thing).values()):
        if isinstance(value, types.FunctionType) and value.__module__ == thing.__name__:
            _declare(plugin, value, value)
    return plugin


def _in_order(cls: type) -> list[str]:
    names: dict[str, None] = {}
    for base in reversed(cls.__mro__):
        names |= dict.fromkeys(name for name, value in vars(base).items() if hasattr(value, MARKS))
    return list(names)


def _declare(scope: Scope, marked: Any, function: Any) -> None:
    for method, args, options in getattr(marked, MARKS, ()):
        getattr(scope, method)(*args, **options)(function)


def _marker(method: str, *args: Any, **options: Any) -> Callable[[F], F]:
    def mark(function: F) -> F:
        marks = [*getattr(function, MARKS, ()), (method, args, options)]
        setattr(function, MARKS, marks)
        return function

    return mark


@overload
def command(function: F, /) -> F: ...


@overload
def command(**options: Any) -> Callable[[F], F]: ...


def command(function: Any = None, /, **options: Any) -> Any:
    """Mark a method or a module's function as a command; see `Scope.command`."""
    mark = _marker("command", **options)
    return mark if function is None else mark(function)


def listen(*conditions: Any, **options: Any) -> Callable[[F], F]:
    """Mark a listener; see `Scope.listen`."""
    return _marker("listen", *conditions, **options)


def every(*args: Any, **options: Any) -> Callable[[F], F]:
    """Mark a job; see `Scope.every`."""
    return _marker("every", *args, **options)


def daily(*args: Any, **options: Any) -> Callable[[F], F]:
    """Mark a job; see `Scope.daily`."""
    return _marker("daily", *args, **options)


def once(*args: Any, **options: Any) -> Callable[[F], F]:
    """Mark a job; see `Scope.once`."""
    return _marker("once", *args, **options)


def lifespan(function: F) -> F:
    """Mark a module's life span: an async generator of the bot that yields once; see `Scope.lifespan`."""
    setattr(function, MARKS, [("_lifespan", (), {})])
    return function
