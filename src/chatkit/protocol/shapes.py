"""What a message's fields may be. Checked when a class joins a vocabulary, so that its author hears of it and no peer.

The law: a message of a class that passes nests to a depth known beforehand, and is refused by no decoder for its shape.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import attrs

from chatkit.errors import UsageError
from chatkit.protocol.bounds import Between
from chatkit.protocol.messages import Entry, Event

SCALARS: Final = (str, int, bool, float, bytes, Any)


def check_shape(cls: type[Any], *, inside: tuple[type[Any], ...] = ()) -> None:
    """Check that every field of an attrs class can be part of a message.

    Fields are str, int, bool, float, bytes, Any (a JSON value), Literal, an attrs class, a list, tuple[X, ...] or
    mapping with str keys of these, or one of them or None; Annotated with `Between` sets bounds. Raises `UsageError`.
    """
    if cls in inside:
        raise UsageError(f"{inside[0].__name__} holds {cls.__name__} inside itself; messages have a fixed depth")
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except NameError as error:
        raise UsageError(f"{cls.__name__}: {error}; names in its annotations must be global to its module") from error
    for attribute in attrs.fields(cls):
        if attribute.init:
            _check(hints.get(attribute.name), f"{cls.__name__}.{attribute.name}", (*inside, cls))


def _check(hint: Any, where: str, inside: tuple[type[Any], ...]) -> None:
    origin, args = get_origin(hint), get_args(hint)
    if hint in SCALARS:
        return
    if hint is Entry:
        _require(not any(issubclass(cls, Event) for cls in inside), hint, where)
    elif isinstance(hint, type) and attrs.has(hint):
        check_shape(hint, inside=inside)
    elif origin is Annotated:
        if any(isinstance(note, Between) for note in args[1:]) and args[0] not in (str, int, float):
            raise UsageError(f"{where}: only a str, int or float has bounds")
        _check(args[0], where, inside)
    elif origin is Literal:
        _require(all(type(one) in (str, int, bool) for one in args), hint, where)
    elif origin in (UnionType, Union):
        _require(len(args) == 2 and NoneType in args, hint, where)
        _check(args[args[0] is NoneType], where, inside)
    elif origin in (list, tuple, Sequence):
        _require(origin is not tuple or args[1:] == (Ellipsis,), hint, where)
        _check(args[0], where, inside)
    else:
        _require(origin in (dict, Mapping) and args[0] is str, hint, where)
        _check(args[1], where, inside)


def _require(holds: bool, hint: Any, where: str) -> None:
    if not holds:
        raise UsageError(f"{where}: {hint!r} cannot be part of a message")
