"""Commands, and the tree they are found in by name: groups, subcommands, aliases."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeAlias

from attrs import Factory, define, frozen

from chatkit.bot.arguments import Signature
from chatkit.bot.guard import Guard
from chatkit.errors import UsageError

Function: TypeAlias = Callable[..., Awaitable[Any]]
ErrorHook: TypeAlias = Callable[[Any, Exception], Awaitable[Any]]


@frozen(kw_only=True, eq=False)
class Handler:
    """A function that is run for an event, and under which conditions."""

    name: str
    function: Function
    guards: tuple[Guard, ...] = ()
    deadline: float | None = None
    on_error: ErrorHook | None = None


@frozen(kw_only=True, eq=False)
class Command(Handler):
    """Something people can ask of a bot. ``path`` is what stands before its name: its groups."""

    signature: Signature
    path: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    description: str = ""
    hidden: bool = False

    @property
    def full_name(self) -> str:
        """Its name with those of its groups."""
        return " ".join((*self.path, self.name))

    @property
    def summary(self) -> str:
        """The first line of its description."""
        return self.description.partition("\n")[0]

    def usage(self, prefix: str) -> str:
        """Return how it is typed."""
        return f"{prefix}{self.full_name} {self.signature.usage()}".rstrip()


@define(eq=False)
class Tree:
    """Commands and groups, by name and alias; ``fallback`` is what a group does when no subcommand is named."""

    path: tuple[str, ...] = ()
    description: str = ""
    fallback: Command | None = None
    names: dict[str, Command | Tree] = Factory(dict)

    def add(self, entry: Command | Tree, *names: str) -> None:
        """Add an entry under its names. Raises `UsageError` if one is taken or has a space in it."""
        keys: list[str] = []
        for name in names:
            if not isinstance(name, str) or [name] != name.split():
                raise UsageError(f"{name!r} cannot be the name of a command: it is one word")
            key = name.casefold()
            if key in self.names or key in keys:
                raise UsageError(f"there is a command {' '.join((*self.path, name))!r} already")
            keys.append(key)
        self.names |= dict.fromkeys(keys, entry)

    def find(self, line: str) -> tuple[Command | Tree, str] | None:
        """Return the entry that a line names, and what follows the name; None if it names none."""
        name, _, rest = _first_word(line)
        entry = self.names.get(name.casefold())
        if entry is None:
            return None
        if isinstance(entry, Tree):
            return entry.find(rest) or (entry.fallback or entry, rest)
        return entry, rest

    def entries(self) -> Iterator[Command | Tree]:
        """Give each entry once, by name."""
        seen: set[int] = set()
        for _, entry in sorted(self.names.items()):
            if id(entry) not in seen:
                seen.add(id(entry))
                yield entry

    def commands(self) -> Iterator[Command]:
        """Give each command once, those of groups too."""
        if self.fallback is not None:
            yield self.fallback
        for entry in self.entries():
            yield from entry.commands() if isinstance(entry, Tree) else (entry,)


def _first_word(line: str) -> tuple[str, str, str]:
    stripped = line.lstrip()
    end = next((index for index, char in enumerate(stripped) if char.isspace()), len(stripped))
    return stripped[:end], " ", stripped[end:]


def make_command(
    function: Function,
    *,
    name: str | None,
    path: tuple[str, ...],
    aliases: tuple[str, ...],
    guards: tuple[Guard, ...],
    deadline: float | None,
    on_error: ErrorHook | None,
    hidden: bool,
) -> Command:
    """Return the command of a function: its name without trailing underscores, its signature, its docstring."""
    name = name_of(function) if name is None else name
    if not inspect.iscoroutinefunction(function):
        raise UsageError(f"{name}: a handler is an async function")
    return Command(
        name=name,
        function=function,
        path=path,
        aliases=aliases,
        guards=guards,
        deadline=deadline,
        on_error=on_error,
        hidden=hidden,
        signature=Signature.of(function),
        description=textwrap.dedent(inspect.getdoc(function) or "").strip(),
    )


def name_of(function: Callable[..., Any]) -> str:
    """Return what a function is called as a command or a job."""
    return str(getattr(function, "__name__", function)).strip("_").replace("_", "-")
