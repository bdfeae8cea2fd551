"""One strict converter per encoding: nothing is coerced, and every refusal says where and what was expected.

cattrs by default turns a list into a string, ``"false"`` into True and 1.9 into 1; here each of them is an error.
"""

from __future__ import annotations

import binascii
import math
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import attrs
from cattrs import BaseConverter, Converter
from cattrs.errors import ClassValidationError
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from chatkit.protocol.bounds import Between

Encoding = Literal["json", "msgpack"]
_SCALARS: Final = {str: "a string", int: "an integer", bool: "true or false"}

DEEPEST: Final = 32
"""Levels of nesting in a value of free shape (``Any``)."""


class Expected(ValueError):
    """A value is not what the message's class asks for; the text says what was expected."""


class Inside(ValueError):
    """A fault in one item of a list or a mapping; ``step`` leads to the item."""

    def __init__(self, step: str, error: Exception) -> None:
        super().__init__(step)
        self.step = step
        self.error = error


def make_converter(encoding: Encoding, *, detailed: bool) -> Converter:
    """Return a new converter for an encoding. A ``detailed`` one is slower and finds out where a fault is."""
    converter = Converter(detailed_validation=detailed)
    for kind, words in _SCALARS.items():
        converter.register_structure_hook(kind, _exactly(kind, words))
    converter.register_structure_hook(float, _float)
    converter.register_unstructure_hook(float, _float_out)
    converter.register_structure_hook_func(_is_any, lambda value, _: plain(value))
    converter.register_unstructure_hook_func(_is_any, plain)
    converter.register_structure_hook(bytes, _base64 if encoding == "json" else _raw)
    if encoding == "json":
        converter.register_unstructure_hook(bytes, lambda value: b64encode(value).decode("ascii"))
    converter.register_structure_hook_factory(_is_bounded, lambda t: _bounded(t, converter))
    converter.register_structure_hook_factory(_is_literal, _literal)
    converter.register_structure_hook_factory(_is_optional, lambda t: _optional(t, converter))
    converter.register_structure_hook_factory(_is_sequence, lambda t: _sequence(t, converter))
    converter.register_structure_hook_factory(_is_mapping, lambda t: _mapping(t, converter))
    converter.register_structure_hook_factory(attrs.has, lambda cls: _object(cls, converter))
    converter.register_unstructure_hook_factory(attrs.has, lambda cls: _omitting_none(cls, converter))
    return converter


def fault_of(error: BaseException, path: str) -> str:
    """Say in one sentence where a message is wrong and what was expected there."""
    if isinstance(error, ClassValidationError):
        noted, bare = error.group_exceptions()
        if noted:
            inner, note = noted[0]
            return fault_of(inner, f"{path}.{note.name}")
        return fault_of(bare[0], path)
    if isinstance(error, Inside):
        return fault_of(error.error, path + error.step)
    if isinstance(error, KeyError):
        return f"{path}: is missing"
    return f"{path}: {error}" if isinstance(error, Expected) else f"{path}: is not valid"


def _exactly(kind: type, words: str) -> Callable[[Any, Any], Any]:
    def hook(value: Any, _: Any) -> Any:
        if type(value) is not kind:
            raise Expected(f"expected {words}")
        return value

    return hook


def _float(value: Any, _: Any) -> float:
    if type(value) not in (float, int) or not math.isfinite(value):
        raise Expected("expected a number")
    return float(value)


def _float_out(value: float) -> float:
    if not math.isfinite(value):
        raise Expected("expected a finite number")
    return value


def _raw(value: Any, _: Any) -> bytes:
    if type(value) is not bytes:
        raise Expected("expected bytes")
    return value


def _base64(value: Any, _: Any) -> bytes:
    if type(value) is not str:
        raise Expected("expected base64 text")
    try:
        return b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise Expected("expected base64 text") from None


def plain(value: Any, depth: int = 0, *, binary: bool = False) -> Any:
    """Return a value of free shape as it is, if every client can be sent it again: a JSON value, not too deep.

    ``binary`` allows bytes as well, which become base64 text in JSON. Raises `Expected`.
    """
    if depth > DEEPEST:
        raise Expected(f"expected at most {DEEPEST} levels")
    kind = type(value)
    if kind is list or kind is tuple:
        for item in value:
            plain(item, depth + 1, binary=binary)
    elif kind is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise Expected("expected strings as keys")
            plain(item, depth + 1, binary=binary)
    elif kind is float:
        if not math.isfinite(value):
            raise Expected("expected a finite number")
    elif not (value is None or kind is str or kind is int or kind is bool or (binary and kind is bytes)):
        raise Expected("expected a JSON value")
    return value


def _is_any(t: Any) -> bool:
    return t is Any


def _is_bounded(t: Any) -> bool:
    return get_origin(t) is Annotated and any(isinstance(note, Between) for note in get_args(t)[1:])


def _bounded(t: Any, converter: BaseConverter) -> Callable[[Any, Any], Any]:
    kind, *notes = get_args(t)
    bounds = next(note for note in notes if isinstance(note, Between))
    inner = converter.get_structure_hook(kind)
    unit = " bytes" if kind is str else ""

    def hook(value: Any, _: Any) -> Any:
        result = inner(value, kind)
        measure = len(result.encode()) if kind is str else result
        if not bounds.least <= measure <= bounds.most:
            raise Expected(f"expected {bounds.least} to {bounds.most}{unit}")
        return result

    return hook


def _is_literal(t: Any) -> bool:
    return get_origin(t) is Literal


def _literal(t: Any) -> Callable[[Any, Any], Any]:
    allowed = get_args(t)

    def hook(value: Any, _: Any) -> Any:
        for one in allowed:
            if type(value) is type(one) and value == one:
                return one
        raise Expected(f"expected one of {', '.join(map(str, allowed))}")

    return hook


def _is_optional(t: Any) -> bool:
    return get_origin(t) in (UnionType, Union) and len(get_args(t)) == 2 and NoneType in get_args(t)


def _optional(t: Any, converter: BaseConverter) -> Callable[[Any, Any], Any]:
    kind = next(one for one in get_args(t) if one is not NoneType)
    inner = converter.get_structure_hook(kind)

    def hook(value: Any, _: Any) -> Any:
        return None if value is None else inner(value, kind)

    return hook


def _is_sequence(t: Any) -> bool:
    return get_origin(t) in (tuple, list, Sequence)


def _sequence(t: Any, converter: BaseConverter) -> Callable[[Any, Any], Any]:
    element, *rest = get_args(t)
    if get_origin(t) is tuple and rest != [Ellipsis]:
        raise TypeError(f"{t}: only tuple[X, ...] can be part of a message")
    inner = converter.get_structure_hook(element)
    result_type = list if get_origin(t) is list else tuple

    def hook(value: Any, _: Any) -> Any:
        if type(value) not in (list, tuple):
            raise Expected("expected a list")
        result = []
        for item in value:
            try:
                result.append(inner(item, element))
            except Exception as error:
                raise Inside(f"[{len(result)}]", error) from error
        return result_type(result)

    return hook


def _is_mapping(t: Any) -> bool:
    return get_origin(t) in (dict, Mapping)


def _mapping(t: Any, converter: BaseConverter) -> Callable[[Any, Any], Any]:
    key_type, value_type = get_args(t)
    if key_type is not str:
        raise TypeError(f"{t}: the keys of a mapping in a message are strings")
    inner = converter.get_structure_hook(value_type)

    def hook(value: Any, _: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise Expected("expected an object")
        result = {}
        for key, item in value.items():
            if type(key) is not str:
                raise Expected("expected an object with strings as keys")
            try:
                result[key] = inner(item, value_type)
            except Exception as error:
                raise Inside(f".{_shown(key)}", error) from error
        return result

    return hook


def _shown(key: str) -> str:
    """A key as a sentence can hold it: the sentence may end on a terminal."""
    return key[:64] if key.isprintable() else ascii(key[:64])


def _object(cls: type[Any], converter: Converter) -> Callable[[Any, Any], Any]:
    structure: Callable[[Any, Any], Any] = make_dict_structure_fn(cls, converter)

    def hook(value: Any, _: Any) -> Any:
        if type(value) is not dict:
            raise Expected("expected an object")
        return structure(value, cls)

    return hook


def _omitting_none(cls: type[Any], converter: Converter) -> Callable[[Any], dict[str, Any]]:
    optional: Any = {a.name: override(omit_if_default=True) for a in attrs.fields(cls) if a.default is None}
    return make_dict_unstructure_fn(cls, converter, **optional)
