"""A handler's parameters, and the words that fill them.

Laws: whatever is typed, filling gives arguments or raises `BadArgument`; each word is read once.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from attrs import evolve, field, frozen

from chatkit.bot.converting import Converters, Unfit, arms, is_literal, is_optional, is_union
from chatkit.bot.words import Word, split
from chatkit.errors import BadArgument, UsageError

if TYPE_CHECKING:
    from chatkit.bot.context import Context

EMPTY: Any = inspect.Parameter.empty
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Takes(Enum):
    """How much of a line a parameter takes."""

    WORD = auto()
    MANY = auto()
    REST = auto()


@frozen(kw_only=True)
class Parameter:
    """One parameter of a command: ``kind`` is the type of a value, of each one for a list."""

    name: str
    kind: Any
    takes: Takes
    default: Any = EMPTY
    spread: bool = False
    """Whether its values are given one by one (``*names``) and not as a list."""

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.default is EMPTY and not self.spread and not is_optional(self.kind)

    @property
    def absent(self) -> Any:
        """What it is when it is not given."""
        return None if self.default is EMPTY else self.default

    def usage(self) -> str:
        """Return how a usage line shows it."""
        shown = "|".join(map(str, get_args(self.kind))) if get_origin(self.kind) is Literal else self.name
        shown += "…" if self.takes is not Takes.WORD else ""
        if self.required:
            return f"<{shown}>"
        default = self.default
        if default is EMPTY or default in (None, "", [], ()):
            return f"[{shown}]"
        return f"[{shown}={default.name.lower() if isinstance(default, Enum) else default}]"


@frozen
class Signature:
    """The parameters of a handler behind its context, in order."""

    parameters: tuple[Parameter, ...] = field(default=())

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Signature:
        """Read a handler's signature. Raises `UsageError` for one that words cannot fill."""
        where = f"{getattr(function, '__qualname__', function)}()"
        try:
            hints = get_type_hints(function)
        except NameError as error:
            raise UsageError(f"{where}: its annotations name {error.name!r}, which its module does not have") from error
        parameters = list(inspect.signature(function).parameters.values())
        if not parameters or parameters[0].kind not in (
            parameters[0].POSITIONAL_ONLY,
            parameters[0].POSITIONAL_OR_KEYWORD,
        ):
            raise UsageError(f"{where}: a handler's first parameter is its context")
        signature = cls(tuple(_parameter(one, hints.get(one.name, str), where) for one in parameters[1:]))
        for one in signature.parameters[:-1]:
            if one.takes is not Takes.WORD:
                raise UsageError(f"{where}: {one.name} takes the rest of the line, so nothing can follow it")
        return signature

    def check(self, converters: Converters, where: str) -> None:
        """Raise `UsageError` for a parameter that no word can become."""
        for parameter in self.parameters:
            if not converters.knows(parameter.kind):
                raise UsageError(f"{where}: nothing makes {parameter.name} of a word; give the bot a converter")

    def usage(self) -> str:
        """Return the parameters as a usage line shows them."""
        return " ".join(parameter.usage() for parameter in self.parameters)

    async def fill(
        self, line: str, context: Context, converters: Converters, usage: str
    ) -> tuple[list[Any], dict[str, Any]]:
        """Turn what follows a command's name into arguments. Raises `BadArgument`."""
        filling = _Filling(line, split(line), context, converters, usage)
        for index, parameter in enumerate(self.parameters):
            await filling.fill(parameter, last=index == len(self.parameters) - 1)
        filling.end()
        return filling.args, filling.kwargs


def _parameter(one: inspect.Parameter, kind: Any, where: str) -> Parameter:
    plain = Parameter(name=one.name, kind=kind, takes=Takes.WORD, default=one.default)
    match one.kind:
        case inspect.Parameter.VAR_POSITIONAL:
            return evolve(plain, takes=Takes.MANY, spread=True)
        case inspect.Parameter.KEYWORD_ONLY:
            return evolve(plain, takes=Takes.REST)
        case inspect.Parameter.VAR_KEYWORD:
            raise UsageError(f"{where}: **{one.name} cannot be filled from words")
    inner = _within_optional(kind)
    if get_origin(inner) is list or inner is list:
        default = None if inner is not kind and plain.default is EMPTY else plain.default
        return evolve(plain, takes=Takes.MANY, kind=(get_args(inner) or (str,))[0], default=default)
    if one.annotation is not EMPTY:
        _check_default(plain, where)
    return plain


def _within_optional(kind: Any) -> Any:
    """What may be None otherwise: ``list[int]`` of ``list[int] | None``."""
    among = arms(kind) if is_optional(kind) else []
    return among[0] if len(among) == 1 else kind


def _check_default(parameter: Parameter, where: str) -> None:
    """Refuse a default that no word could have become; None is always one."""
    default, kinds = parameter.default, arms(parameter.kind) if is_union(parameter.kind) else [parameter.kind]
    if default is EMPTY or default is None:
        return
    for kind in kinds:
        if is_literal(kind):
            fits = default in get_args(kind)
        elif kind in (str, int, float, bool, timedelta, datetime):
            fits = isinstance(default, (int, float) if kind is float else kind)
        else:
            fits = True  # a type of the bot's own: it knows better
        if fits:
            return
    raise UsageError(f"{where}: the default of {parameter.name} is {default!r}, which is none of its type")


class _Filling:
    def __init__(self, line: str, words: Sequence[Word], context: Context, converters: Converters, usage: str) -> None:
        self.args: list[Any] = []
        self.kwargs: dict[str, Any] = {}
        self._line = line
        self._words = words
        self._at = 0
        self._context = context
        self._converters = converters
        self._usage = usage

    async def fill(self, parameter: Parameter, *, last: bool) -> None:
        if parameter.takes is Takes.MANY:
            await self._many(parameter)
            return
        value = parameter.absent
        if self._at == len(self._words):
            if parameter.required:
                raise BadArgument(parameter.name, None, self._converters.expected(parameter.kind), self._usage)
        elif parameter.takes is Takes.REST:
            value = await self._convert(self._rest(), parameter)
            self._at = len(self._words)
        else:
            value = await self._one(parameter, skippable=is_optional(parameter.kind) and not last)
        if parameter.takes is Takes.REST:
            self.kwargs[parameter.name] = value
        else:
            self.args.append(value)

    async def _one(self, parameter: Parameter, *, skippable: bool) -> Any:
        try:
            value = await self._convert(self._words[self._at].text, parameter)
        except BadArgument:
            if skippable:  # it was not given, and the word is meant for a later parameter
                return parameter.absent
            raise
        self._at += 1
        return value

    async def _many(self, parameter: Parameter) -> None:
        values = [await self._convert(word.text, parameter) for word in self._words[self._at :]]
        if not values and parameter.required:
            raise BadArgument(parameter.name, None, self._converters.expected(parameter.kind), self._usage)
        self._at = len(self._words)
        if parameter.spread:
            self.args += values
        else:
            self.args.append(values if values or parameter.default is EMPTY else parameter.default)

    def _rest(self) -> str:
        """What is left of the line as it was typed; without its quotes if it is a single quoted text."""
        word = self._words[self._at]
        if word.quoted and self._at == len(self._words) - 1:
            return word.text
        return self._line[word.start :].rstrip()

    async def _convert(self, word: str, parameter: Parameter) -> Any:
        try:
            return await self._converters.convert(word, parameter.kind, self._context)
        except Unfit as error:
            raise BadArgument(parameter.name, word, str(error), self._usage) from error

    def end(self) -> None:
        """Refuse what is left over."""
        if self._at < len(self._words):
            raise BadArgument("the end", self._words[self._at].text, "nothing more", self._usage)
