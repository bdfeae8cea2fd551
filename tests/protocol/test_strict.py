"""Nothing is coerced: every field of every message refuses every value that is not of its type, and says where.

The cases are drawn from the classes' own fields, so a new message is covered the day it is written.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from types import NoneType
from typing import Annotated, Any, Final, Literal, get_args, get_origin

import attrs
import msgpack
import orjson
import pytest

from chatkit.errors import ProtocolError
from chatkit.protocol import STANDARD, Between, Codec, ErrorCode, History, SendMessage, Success

JSON = Codec("json")
MSGPACK = Codec("msgpack")
NOW = "2026-11-20T10:30:00.123Z"

VALUES: Final[dict[str, Any]] = {
    "null": None,
    "true": True,
    "integer": 1,
    "float": 1.9,
    "digits": "1",
    "text": "false",
    "list": [],
    "nested": [["x"]],
    "empty": {},
    "object": {"x": object},
    "bytes": b"x",
}
"""One of each kind; ``object`` in it stands for something that no field takes."""

GOOD: Final[dict[Any, Any]] = {str: "general", int: 1, bool: True, float: 1.5}


def accepts(hint: Any, kind: str, encoding: str) -> bool:
    """Whether a field of this type takes a value of this kind: written down apart from the converter."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return accepts(args[0], kind, encoding)
    if NoneType in args:
        return kind == "null" or accepts(args[args[0] is NoneType], kind, encoding)
    if origin is Literal:
        return False
    if hint is bytes:
        return encoding == "msgpack" and kind == "bytes"
    if origin in (tuple, list):
        return kind == "list"
    if origin is Mapping:
        return kind == "empty"
    return kind in {
        str: ("digits", "text"),
        int: ("integer",),
        bool: ("true",),
        float: ("integer", "float"),
    }.get(hint, ())


def good(hint: Any, encoding: str) -> Any:
    """A value that a field of this type takes."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        (note,) = [note for note in args[1:] if isinstance(note, Between)]
        return "x" * note.least if args[0] is str else note.least
    if NoneType in args:
        return None
    if origin is Literal:
        return args[0]
    if origin in (tuple, list):
        return []
    if origin is Mapping:
        return {}
    if attrs.has(hint):
        return fields_of(hint, encoding)
    return GOOD[hint]


def fields_of(cls: type[Any], encoding: str) -> dict[str, Any]:
    hints = typing.get_type_hints(cls, include_extras=True)
    return {a.name: good(hints[a.name], encoding) for a in attrs.fields(cls)}


def cases(classes: Mapping[str, type[Any]], encoding: str) -> Iterator[Any]:
    for action, cls in classes.items():
        hints = typing.get_type_hints(cls, include_extras=True)
        for a in attrs.fields(cls):
            for kind, value in VALUES.items():
                sendable = encoding == "msgpack" or kind != "bytes"
                if sendable and not accepts(hints[a.name], kind, encoding):
                    yield pytest.param(action, cls, a.name, value, id=f"{encoding}-{action}.{a.name}-{kind}")


def plain(value: Any) -> Any:
    return {"x": {"y": [[]]}} if isinstance(value, dict) and value else value


def both(classes: Mapping[str, type[Any]]) -> list[Any]:
    return [
        pytest.param(encoding, *case.values, id=case.id)
        for encoding in ("json", "msgpack")
        for case in cases(classes, encoding)
    ]


REQUEST_CASES = both(STANDARD.requests)
REPLY_CASES = both({action: cls.reply for action, cls in STANDARD.requests.items()})
EVENT_CASES = both(STANDARD.events)


def dump(encoding: str, value: Any) -> bytes:
    raw: bytes = orjson.dumps(value) if encoding == "json" else msgpack.packb(value)
    return raw


def codec_of(encoding: str) -> Codec:
    return JSON if encoding == "json" else MSGPACK


def test_there_are_enough_cases() -> None:
    assert len(REQUEST_CASES) > 300
    with_fields = {action for action, cls in STANDARD.requests.items() if attrs.fields(cls)}
    assert {case.values[1] for case in REQUEST_CASES} == with_fields


@pytest.mark.parametrize(("encoding", "action", "cls", "name", "value"), REQUEST_CASES)
def test_requests_coerce_nothing(encoding: str, action: str, cls: type[Any], name: str, value: Any) -> None:
    data = fields_of(cls, encoding) | {name: plain(value)}
    with pytest.raises(ProtocolError, match=rf"^data\.{name}[.:\[]") as caught:
        codec_of(encoding).decode_request(dump(encoding, {"action": action, "ref": "r", "data": data}))
    assert caught.value.code == ErrorCode.BAD_REQUEST
    assert caught.value.ref == "r"


@pytest.mark.parametrize(("encoding", "action", "cls", "name", "value"), REPLY_CASES)
def test_replies_coerce_nothing(encoding: str, action: str, cls: type[Any], name: str, value: Any) -> None:
    data = fields_of(cls, encoding) | {name: plain(value)}
    raw = dump(encoding, {"action": "success", "ref": 1, "data": data, "timestamp": NOW})
    success = codec_of(encoding).decode(raw)
    assert isinstance(success, Success)
    with pytest.raises(ProtocolError, match=rf"^data\.{name}[.:\[]"):
        codec_of(encoding).reply(success, STANDARD.requests[action])


@pytest.mark.parametrize(("encoding", "action", "cls", "name", "value"), EVENT_CASES)
def test_events_coerce_nothing(encoding: str, action: str, cls: type[Any], name: str, value: Any) -> None:
    data = fields_of(cls, encoding) | {name: plain(value)}
    with pytest.raises(ProtocolError, match=rf"^data\.{name}[.:\[]"):
        codec_of(encoding).decode(dump(encoding, {"action": action, "data": data, "timestamp": NOW}))


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
@pytest.mark.parametrize("action", STANDARD.requests)
def test_what_the_cases_start_from_is_good(encoding: str, action: str) -> None:
    data = fields_of(STANDARD.requests[action], encoding)
    assert codec_of(encoding).decode_request(dump(encoding, {"action": action, "data": data}))


@pytest.mark.parametrize("action", STANDARD.requests)
def test_required_fields_are_required(action: str) -> None:
    cls = STANDARD.requests[action]
    for a in attrs.fields(cls):
        if a.default is attrs.NOTHING:
            data = fields_of(cls, "json")
            del data[a.name]
            with pytest.raises(ProtocolError, match=rf"^data\.{a.name}: is missing$"):
                JSON.decode_request(dump("json", {"action": action, "data": data}))


@pytest.mark.parametrize(
    ("cls", "name", "value", "why"),
    [
        (SendMessage, "op", "", "expected 1 to 64 bytes"),
        (SendMessage, "op", "x" * 65, "expected 1 to 64 bytes"),
        (SendMessage, "op", "é" * 33, "expected 1 to 64 bytes"),
        (SendMessage, "reply_to", 0, "expected 1 to"),
        (SendMessage, "reply_to", 2**53, "expected 1 to"),
        (SendMessage, "reply_to", -1, "expected 1 to"),
        (SendMessage, "binary", "not base64!", "expected base64 text"),
        (SendMessage, "binary", "YQ", "expected base64 text"),
        (SendMessage, "binary", "YQ==\n", "expected base64 text"),
        (SendMessage, "binary", "é", "expected base64 text"),
        (History, "limit", 0, "expected 1 to 1000"),
        (History, "limit", 1001, "expected 1 to 1000"),
        (History, "before", -1, "expected 0 to"),
        (History, "after", 2**64 - 1, "expected 0 to"),
        (History, "around", 2**53, "expected 0 to"),
    ],
)
def test_bounds(cls: type[Any], name: str, value: Any, why: str) -> None:
    data = fields_of(cls, "json") | {name: value}
    with pytest.raises(ProtocolError, match=rf"^data\.{name}: {why}"):
        JSON.decode_request(dump("json", {"action": cls.action, "data": data}))


@pytest.mark.parametrize("seq", [-1, 2**53, 2**63, 2**64 - 1])
def test_a_position_at_login_is_bounded(seq: int) -> None:
    data = {"user": "ann", "resume": {"general": {"epoch": "e", "seq": seq}}}
    with pytest.raises(ProtocolError, match=r"^data\.resume\.general\.seq: expected 0 to"):
        JSON.decode_request(dump("json", {"action": "login", "data": data}))


def test_a_fault_in_an_entry_is_found() -> None:
    entry = {"action": "receive_message", "data": {"room": "general", "seq": "1", "user": "ann"}, "timestamp": NOW}
    data = {"epoch": "e", "events": [entry], "more_before": False, "more_after": False}
    success = Success(ref=None, data=data, timestamp=0)
    with pytest.raises(ProtocolError, match=r"^data\.events\[0\]\.data\.seq: expected an integer$"):
        JSON.reply(success, History)


@pytest.mark.parametrize("entry", [[], None, "x", {}, {"action": 1}, {"action": "x"}, {"action": "x", "timestamp": 1}])
def test_an_entry_is_an_envelope(entry: Any) -> None:
    data = {"epoch": "e", "events": [entry], "more_before": False, "more_after": False}
    with pytest.raises(ProtocolError, match=r"^data\.events\[0\]: "):
        JSON.reply(Success(ref=None, data=data, timestamp=0), History)
