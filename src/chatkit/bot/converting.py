"""Words to values: what a handler's annotation says an argument should become.

Laws: a word becomes a value of the annotated type or is `Unfit`; nothing is guessed.
"""

from __future__ import annotations

import inspect
import math
import re
import types
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, time, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias, TypeVar, Union, get_args, get_origin

import cattrs

from chatkit.client import Message, Room
from chatkit.client.terms import term_of
from chatkit.errors import CommandFailed, RequestFailed
from chatkit.protocol.messages import UserInfo

if TYPE_CHECKING:
    from chatkit.bot.context import Context

T = TypeVar("T")
Hook: TypeAlias = Callable[[str], Any]
ContextHook: TypeAlias = Callable[["Context", str], Awaitable[Any]]

YES: Final = frozenset({"yes", "y", "true", "on", "1"})
NO: Final = frozenset({"no", "n", "false", "off", "0"})
_TIME = re.compile(r"(\d{1,2}):(\d\d)")


class Unfit(Exception):
    """A word does not become a value; the text says what was expected."""


class Converters:
    """The hooks of one bot: ours for the usual types, and those that `add` brings."""

    def __init__(self) -> None:
        self._cattrs = cattrs.Converter()
        self._in_context: dict[Any, ContextHook] = {
            datetime: _to_datetime,
            UserInfo: _to_user,
            Room: _to_room,
            Message: _to_message,
        }
        self._expected: dict[Any, str] = dict(EXPECTED)
        for kind, hook in ((str, str), (int, _to_int), (float, _to_float), (bool, _to_bool), (timedelta, term_of)):
            self._cattrs.register_structure_hook(kind, _as_cattrs(hook))
        self._cattrs.register_structure_hook_func(_is_enum, _to_enum)
        self._cattrs.register_structure_hook_func(is_literal, _to_literal)

    def add(self, kind: type[T], hook: Callable[[str], T] | Callable[[Context, str], Awaitable[T]], what: str) -> None:
        """Let a hook make values of a type: a plain function of the word, or an async one of context and word.

        It raises ValueError for a word that will not do; ``what`` completes "expected …".
        """
        self._expected[kind] = what
        maker: Any = hook
        if inspect.iscoroutinefunction(maker):
            self._in_context[kind] = maker
        else:
            self._in_context.pop(kind, None)
            self._cattrs.register_structure_hook(kind, _as_cattrs(maker))

    def expected(self, kind: Any) -> str:
        """Return what an annotation asks for, in words."""
        if kind in self._expected:
            return self._expected[kind]
        if get_origin(kind) is Annotated:
            return self.expected(get_args(kind)[0])
        if is_union(kind):
            return " or ".join(self.expected(arm) for arm in arms(kind))
        if is_literal(kind):
            return f"one of {', '.join(map(str, get_args(kind)))}"
        if _is_enum(kind):
            return f"one of {', '.join(member.name.lower() for member in kind)}"
        return f"a {getattr(kind, '__name__', kind)}"

    async def convert(self, word: str, kind: Any, context: Context) -> Any:
        """Return the value of a word. Raises `Unfit`, and what a context's hook raises of chatkit's errors."""
        if is_union(kind):
            for arm in arms(kind):
                try:
                    return await self.convert(word, arm, context)
                except Unfit:
                    continue
            raise Unfit(self.expected(kind))
        if get_origin(kind) is Annotated:
            return await self.convert(word, get_args(kind)[0], context)
        try:
            if kind in self._in_context:
                return await self._in_context[kind](context, word)
            return self._cattrs.structure(word, kind)
        except (ValueError, ArithmeticError, RequestFailed, cattrs.BaseValidationError) as error:
            raise Unfit(self.expected(kind)) from error

    def knows(self, kind: Any) -> bool:
        """Whether words can become this."""
        if is_union(kind):
            return all(self.knows(arm) for arm in arms(kind))
        if get_origin(kind) is Annotated:
            return self.knows(get_args(kind)[0])
        return kind in self._expected or _is_enum(kind) or is_literal(kind)


def is_union(kind: Any) -> bool:
    """Whether an annotation is a union, Optional among them."""
    return get_origin(kind) in (Union, types.UnionType)


def is_literal(kind: Any) -> bool:
    """Whether an annotation is one of several values."""
    origin: Any = get_origin(kind)
    return origin is Literal


def is_optional(kind: Any) -> bool:
    """Whether an annotation allows None."""
    return is_union(kind) and types.NoneType in get_args(kind)


def arms(kind: Any) -> list[Any]:
    """Return the members of a union but None; text last, since every word is one."""
    return sorted((arm for arm in get_args(kind) if arm is not types.NoneType), key=lambda arm: arm is str)


EXPECTED: Final[dict[Any, str]] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "yes or no",
    timedelta: "a length of time such as 90s, 10m or 1h30m",
    datetime: "a time such as 18:30 or 2026-11-20T18:30 (UTC)",
    UserInfo: "the name of somebody in this room",
    Room: "the name of a room this bot is in",
    Message: "the number of a message in this room",
}


def _as_cattrs(hook: Hook) -> Callable[[Any, Any], Any]:
    return lambda word, _: hook(word)


def _is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Enum)


def _to_int(word: str) -> int:
    if len(word) > 1000:
        raise ValueError(word)
    return int(word)


def _to_float(word: str) -> float:
    value = float(word.replace(",", ".") if word.count(",") == 1 and "." not in word else word)
    if not math.isfinite(value):
        raise ValueError(word)
    return value


def _to_bool(word: str) -> bool:
    if word.casefold() not in YES | NO:
        raise ValueError(word)
    return word.casefold() in YES


def _to_enum(word: str, kind: type[Enum]) -> Enum:
    for member in kind:
        if word.casefold() in (member.name.casefold(), str(member.value).casefold()):
            return member
    raise ValueError(word)


def _to_literal(word: str, kind: Any) -> Any:
    for value in get_args(kind):
        if word.casefold() == str(value).casefold():
            return value
    raise ValueError(word)


async def _to_datetime(context: Context, word: str) -> datetime:
    now = context.now()
    if found := _TIME.fullmatch(word):
        wanted = datetime.combine(now.date(), time(int(found[1]), int(found[2])), UTC)
        return wanted if wanted > now else wanted + timedelta(days=1)
    value = datetime.fromisoformat(word)
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


async def _to_user(context: Context, word: str) -> UserInfo:
    member = await context.member(word.removeprefix("@"))
    if member is None:
        raise ValueError(word)
    return member


async def _to_room(context: Context, word: str) -> Room:
    wanted = word.removeprefix("#").casefold()
    for name, room in context.client.rooms.items():
        if name.casefold() == wanted:
            return room
    raise ValueError(word)


async def _to_message(context: Context, word: str) -> Message:
    seq = int(word.removeprefix("#"))
    if not 0 < seq < 2**53:
        raise ValueError(word)
    page = await context.room.history(around=seq, limit=1)
    for entry in page.events:
        message = Message.of(entry, page.epoch)
        if message is not None and message.seq == seq:
            return message
    raise CommandFailed(f"There is no message {seq} in this room.")
