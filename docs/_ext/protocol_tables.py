"""Tables of the protocol, drawn from the objects that the code goes by, so that page and program cannot differ."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterable, Iterator, Mapping
from types import NoneType
from typing import Annotated, Any, ClassVar, Literal, get_args, get_origin

import attrs
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from chatkit.protocol import (
    CLOSE_CODES,
    STANDARD,
    Between,
    Entry,
    ErrorCode,
    Nothing,
    Position,
    Summary,
    UserInfo,
    accounts,
    codes,
    messages,
    moderation,
    vocabulary,
)
from chatkit.protocol.accounts import Device
from chatkit.protocol.messages import Attempt
from chatkit.protocol.moderation import AuditEntry, BanInfo
from chatkit.protocol.vocabulary import RESERVED

SCALARS: dict[Any, str] = {
    str: "string",
    int: "integer",
    bool: "true or false",
    float: "number",
    bytes: "bytes",
    Any: "any value",
    Entry: "event envelope",
}
PIECE_WORDS = {
    Summary: "[summary](#summary)",
    UserInfo: "[person](#person)",
    Position: "[position](#position)",
    Attempt: "[attempt](#attempt)",
    Device: "[login](#login)",
    BanInfo: "[ban](#ban)",
    AuditEntry: "[act](#act)",
}
PIECES = {cls.__name__: cls for cls in PIECE_WORDS}
POWERS = {2**53 - 1: "2⁵³ - 1"}


class Table(SphinxDirective):
    """A directive without content that writes Markdown."""

    sources: ClassVar[tuple[Any, ...]] = (accounts, codes, messages, moderation, vocabulary)
    """The modules it is drawn from."""

    def run(self) -> list[nodes.Node]:
        for source in self.sources:
            self.env.note_dependency(inspect.getfile(source))
        container = nodes.container()
        lines = list(self.lines())
        self.state.nested_parse(StringList(lines, source=type(self).__module__), 0, container)
        return container.children

    def lines(self) -> Iterator[str]:
        raise NotImplementedError


class Errors(Table):
    """Every error code and what it says."""

    def lines(self) -> Iterator[str]:
        yield from table(("code", "what it says"), ((f"`{code}`", code.meaning) for code in ErrorCode))


class Closes(Table):
    """Every close code, and whether a client comes back by itself."""

    def lines(self) -> Iterator[str]:
        rows = ((str(c.code), c.meaning, "yes" if c.reconnect else "no") for c in CLOSE_CODES.values())
        yield from table(("code", "meaning", "reconnect"), rows)


class Reserved(Table):
    """Actions that are kept for what comes."""

    def lines(self) -> Iterator[str]:
        yield ", ".join(f"`{action}`" for action in sorted(RESERVED - {"success", "error"})) + "."


class Requests(Table):
    """Every request with its fields and those of its reply."""

    def lines(self) -> Iterator[str]:
        for action, cls in STANDARD.requests.items():
            yield from headed(action, cls)
            yield from fields(cls, "data")
            if cls.reply is Nothing:
                yield "The success carries nothing."
            else:
                yield f"Success: {said_of(cls.reply)}"
                yield ""
                yield from fields(cls.reply, "success data")
            yield ""


class Events(Table):
    """Every event with its fields."""

    def lines(self) -> Iterator[str]:
        for action, cls in STANDARD.events.items():
            yield from headed(action, cls)
            yield from fields(cls, "data")


class Piece(Table):
    """One of the objects that messages are made of."""

    required_arguments: ClassVar[int] = 1

    def lines(self) -> Iterator[str]:
        cls = PIECES[self.arguments[0]]
        yield said_of(cls)
        yield ""
        yield from fields(cls, "field")


def headed(action: str, cls: type[Any]) -> Iterator[str]:
    """Give an action's name, as a target for links, and what its class says of itself."""
    yield f"(action-{action.replace('_', '-')})="
    yield f"**{action}**: {said_of(cls)}"
    yield ""


def said_of(cls: type[Any]) -> str:
    """Return a class's docstring as one Markdown line."""
    return " ".join((inspect.getdoc(cls) or "").split()).replace("``", "`")


def fields(cls: type[Any], heading: str) -> Iterator[str]:
    """Give the table of a class's fields."""
    hints = typing.get_type_hints(cls, include_extras=True)
    rows = [
        (f"`{a.name}`", words(hints[a.name]), "yes" if a.default is attrs.NOTHING else absence(a.default))
        for a in attrs.fields(cls)
    ]
    if rows:
        yield from table((heading, "type", "required"), rows)


def absence(default: Any) -> str:
    return "no" if default is None else f"no: {str(default).lower() if isinstance(default, bool) else default}"


def words(hint: Any) -> str:
    """Say in words what a field holds."""
    origin, args = get_origin(hint), get_args(hint)
    if hint in SCALARS:
        return SCALARS[hint]
    if hint in PIECE_WORDS:
        return PIECE_WORDS[hint]
    if origin is Annotated:
        (bounds,) = [note for note in args[1:] if isinstance(note, Between)]
        most = POWERS.get(bounds.most, f"{bounds.most:,}")
        unit = " bytes" if args[0] is str else ""
        return f"{words(args[0])}{' of' if unit else ','} {bounds.least} to {most}{unit}"
    if origin is Literal:
        return " or ".join(f"`{one}`" for one in args)
    if NoneType in args:
        return words(args[args[0] is NoneType])
    if origin is Mapping:
        return f"object: each value {words(args[1])}"
    if origin is tuple:
        return f"list: each item {words(args[0])}"
    raise TypeError(f"no words for {hint!r}")


def table(heading: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Give a Markdown table."""
    heading = tuple(heading)
    for row in (heading, ("---",) * len(heading), *rows):
        yield f"| {' | '.join(row)} |"
    yield ""


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    for name, directive in {
        "protocol-errors": Errors,
        "protocol-closes": Closes,
        "protocol-reserved": Reserved,
        "protocol-requests": Requests,
        "protocol-events": Events,
        "protocol-object": Piece,
    }.items():
        app.add_directive(name, directive)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
