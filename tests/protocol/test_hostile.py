"""A corpus of bytes that have broken decoders. Each is a `ProtocolError` that says why, or harmless."""

from __future__ import annotations

from typing import Any

import msgpack
import orjson
import pytest
from attrs import frozen

from chatkit.errors import ProtocolError, UsageError
from chatkit.protocol import (
    STANDARD,
    Codec,
    ErrorCode,
    Event,
    EventEnvelope,
    Hello,
    ListRooms,
    Nothing,
    Request,
    SendMessage,
    System,
    UnknownEvent,
)
from chatkit.protocol.converter import DEEPEST

NOW = "2026-11-20T10:30:00.123Z"


@frozen(kw_only=True)
class Anything(Request[Nothing]):
    """A request of free shape."""

    action = "anything"
    value: Any = None
    values: tuple[Any, ...] = ()
    named: dict[str, Any] | None = None


OPEN = STANDARD.including([Anything])
JSON = Codec("json", OPEN)
MSGPACK = Codec("msgpack", OPEN)


def say(text: str) -> bytes:
    return b'{"action":"send_message","ref":7,"data":{"room":"general","text":' + text.encode() + b"}}"


NOT_JSON = {
    "nothing": b"",
    "blank": b"  ",
    "half": b'{"action":"list_rooms"',
    "two": b'{"action":"list_rooms"}{"action":"list_rooms"}',
    "trailing comma": b'{"action":"list_rooms",}',
    "single quotes": b"{'action':'list_rooms'}",
    "comment": b'{"action":"list_rooms"}//',
    "NaN": say("NaN"),
    "Infinity": say("-Infinity"),
    "1e999": say("1e999"),
    "leading zero": say("01"),
    "hex": say("0x1"),
    "plus": say("+1"),
    "high surrogate": say(r'"\ud800"'),
    "low surrogate": say(r'"\udc00"'),
    "swapped surrogates": say(r'"\udc00\ud800"'),
    "surrogate as a key": b'{"action":"list_rooms","data":{"\\ud800":1}}',
    "surrogate in UTF-8": say('"') + b'\xed\xa0\x80"}}',
    "overlong UTF-8": b'{"action":"\xc0\xaf"}',
    "Latin-1": b'{"action":"caf\xe9"}',
    "UTF-16": '{"action":"list_rooms"}'.encode("utf-16"),
    "byte order mark": b'\xef\xbb\xbf{"action":"list_rooms"}',
    "control character": say('"\x01"'),
    "deep lists": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep and cut": b'{"data":' * 60_000,
}


@pytest.mark.parametrize("raw", NOT_JSON.values(), ids=NOT_JSON)
def test_not_json(raw: bytes) -> None:
    for decode in (JSON.decode_request, JSON.decode):
        with pytest.raises(ProtocolError, match=r"^not JSON: .") as caught:
            decode(raw)
        assert caught.value.code == ErrorCode.BAD_REQUEST


NOT_MSGPACK = {
    "nothing": b"",
    "never used": b"\xc1",
    "half": msgpack.packb({"action": "list_rooms"})[:-1],
    "two": msgpack.packb({"action": "list_rooms"}) * 2,
    "bad UTF-8": msgpack.packb({"action": "list_rooms"}).replace(b"list", b"\xff\xff\xff\xff"),
    "surrogate": b"\x81\xa6action\xa3\xed\xa0\x80",
    "extension": msgpack.packb({"action": msgpack.ExtType(5, b"x")}),
    "key of no kind": b"\x81\x01\x02",
    "key a list": b"\x81\x90\x01",
    "2 ** 32 entries": b"\xdf\xff\xff\xff\xff",
    "2 ** 32 items": b"\xdd\xff\xff\xff\xff",
    "2 ** 32 bytes": b"\xc6\xff\xff\xff\xff",
    "deep": b"\x91" * 60_000 + b"\x01",
    "deep and cut": b"\x81\xa1a" * 20_000,
    "JSON": b'{"action":"list_rooms"}',
}


@pytest.mark.parametrize("raw", NOT_MSGPACK.values(), ids=NOT_MSGPACK)
def test_not_messagepack(raw: bytes) -> None:
    for decode in (MSGPACK.decode_request, MSGPACK.decode):
        with pytest.raises(ProtocolError, match=r"^not MessagePack: ."):
            decode(raw)


NO_ENVELOPE: dict[str, tuple[Any, str]] = {
    "null": (None, "expected an object"),
    "number": (1, "expected an object"),
    "text": ("list_rooms", "expected an object"),
    "list": ([{"action": "list_rooms"}], "expected an object"),
    "no action": ({}, "action: is missing"),
    "null action": ({"action": None}, "action: is missing"),
    "number as action": ({"action": 1}, "action: expected a string"),
    "list as action": ({"action": ["list_rooms"]}, "action: expected a string"),
    "true as ref": ({"action": "list_rooms", "ref": True}, "ref: expected"),
    "float as ref": ({"action": "list_rooms", "ref": 1.0}, "ref: expected"),
    "list as ref": ({"action": "list_rooms", "ref": []}, "ref: expected"),
    "object as ref": ({"action": "list_rooms", "ref": {}}, "ref: expected"),
    "long ref": ({"action": "list_rooms", "ref": "x" * 65}, "ref: expected"),
    "long ref in bytes": ({"action": "list_rooms", "ref": "é" * 33}, "ref: expected"),
    "null data": ({"action": "list_rooms", "data": None}, "data: expected an object"),
    "list as data": ({"action": "list_rooms", "data": []}, "data: expected an object"),
    "text as data": ({"action": "list_rooms", "data": "{}"}, "data: expected an object"),
}


@pytest.mark.parametrize(("value", "why"), NO_ENVELOPE.values(), ids=NO_ENVELOPE)
def test_no_envelope(value: Any, why: str) -> None:
    for codec, raw in ((JSON, orjson.dumps(value)), (MSGPACK, msgpack.packb(value))):
        with pytest.raises(ProtocolError, match=f"^{why}"):
            codec.decode_request(raw)


def test_an_integer_past_64_bits_is_no_ref() -> None:
    with pytest.raises(ProtocolError, match=r"^ref: expected"):
        JSON.decode_request(b'{"action":"list_rooms","ref":18446744073709551616}')


@pytest.mark.parametrize("ref", [0, -1, -(2**63), 2**64 - 1, "", "x" * 64, "é" * 32, "\0", None])
def test_refs(ref: int | str | None) -> None:
    for codec in (JSON, MSGPACK):
        assert codec.decode_request(codec.encode_request(ListRooms(), ref)).ref == ref


@pytest.mark.parametrize(
    "action", ["", "LIST_ROOMS", "list_rooms ", "success", "error", "hello", "x" * 60_000, "\x1b[2J"]
)
def test_unknown_actions(action: str) -> None:
    with pytest.raises(ProtocolError, match=r"^unknown action") as caught:
        JSON.decode_request(orjson.dumps({"action": action, "ref": "r"}))
    assert caught.value.code == ErrorCode.UNKNOWN_ACTION
    assert caught.value.ref == "r"
    assert len(caught.value.message) < 300
    assert "\x1b" not in caught.value.message


def test_the_last_of_duplicate_keys_counts_in_both_encodings() -> None:
    assert JSON.decode_request(b'{"action":"x","action":"list_rooms","data":{"limit":1,"limit":2}}').request == (
        ListRooms(limit=2)
    )
    packed = b"\x82\xa6action\xa1x\xa6action\xaalist_rooms"
    assert MSGPACK.decode_request(packed).request == ListRooms()


def test_unknown_fields_are_ignored_whatever_they_hold() -> None:
    raw = b'{"action":"list_rooms","timestamp":[[]],"x":1,"data":{"action":"login","__class__":{"a":[1e308]},"":null}}'
    assert JSON.decode_request(raw).request == ListRooms()


def test_a_key_that_is_shown_in_a_sentence_is_harmless() -> None:
    raw = orjson.dumps({"action": "login", "data": {"user": "ann", "resume": {"\x1b[2J" * 1000: 1}}})
    with pytest.raises(ProtocolError, match=r"^data\.resume\.'.*: expected an object$") as caught:
        JSON.decode_request(raw)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 400


def nested(depth: int) -> Any:
    value: Any = 1
    for turn in range(depth):
        value = [value] if turn % 2 else {"x": value}
    return value


FREE = {
    "nothing": None,
    "text": "\0\u2028\U0010ffff",
    "least": -(2**63),
    "most": 2**64 - 1,
    "float": 5e-324,
    "deep": nested(DEEPEST),
}


@pytest.mark.parametrize("value", FREE.values(), ids=FREE)
def test_free_values_pass_through_both_encodings(value: Any) -> None:
    named = {"x": value if value != FREE["deep"] else 1}
    request = Anything(value=value, values=(value,), named=named)
    for codec in (JSON, MSGPACK):
        assert codec.decode_request(codec.encode_request(request)).request == request


NOT_FREE: dict[str, Any] = {
    "bytes": b"x",
    "NaN": float("nan"),
    "infinity": float("inf"),
    "time": msgpack.Timestamp(1),
    "bytes as a key": {b"x": 1},
    "too deep": nested(DEEPEST + 1),
    "far too deep": nested(400),
    "bytes inside": [{"x": [b"x"]}],
}


@pytest.mark.parametrize("value", NOT_FREE.values(), ids=NOT_FREE)
@pytest.mark.parametrize("field", ["value", "values", "named"])
def test_free_values_that_some_client_could_not_receive(field: str, value: Any) -> None:
    data = {"value": {"value": value}, "values": {"values": [value]}, "named": {"named": {"x": value}}}[field]
    with pytest.raises(ProtocolError, match=rf"^data\.{field}.*: expected"):
        MSGPACK.decode_request(msgpack.packb({"action": "anything", "data": data}))
    with pytest.raises(UsageError):
        MSGPACK.encode_request(Anything(**data))
    with pytest.raises(UsageError):
        JSON.encode_request(Anything(**data))


# ── an event of a newer server ───────────────────────────────────────────────────────────────────────────────────────


def unknown(value: Any) -> bytes:
    raw: bytes = msgpack.packb({"action": "newer", "data": {"x": value}, "timestamp": NOW})
    return raw


def test_bytes_of_an_unknown_event_can_be_passed_on_as_json() -> None:
    received = MSGPACK.decode(unknown([b"x"]))
    assert isinstance(received, EventEnvelope)
    assert received.event == UnknownEvent(action="newer", data={"x": [b"x"]})
    passed_on = JSON.decode(JSON.encode_event(received.event, received.timestamp))
    assert passed_on == EventEnvelope(UnknownEvent(action="newer", data={"x": ["eA=="]}), received.timestamp)


@pytest.mark.parametrize("kind", ["NaN", "infinity", "time", "bytes as a key", "too deep", "far too deep"])
def test_an_unknown_event_that_nobody_could_be_sent(kind: str) -> None:
    with pytest.raises(ProtocolError, match=r"^data: expected"):
        MSGPACK.decode(unknown(NOT_FREE[kind]))


# ── what a program may hand to the encoder ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=["json", "msgpack"])
def test_what_cannot_be_sent_is_the_callers_fault(codec: Codec) -> None:
    hello = Hello(protocol=1, server="x", auth=(), limits={}, heartbeat=float("nan"))
    wrong: Any = 5
    for event in (hello, System(text="\ud800"), UnknownEvent(action="x", data={"x": object()})):
        with pytest.raises(UsageError):
            codec.encode_event(event, 0)
    with pytest.raises(UsageError):
        codec.encode_request(ListRooms(), 2**64)
    with pytest.raises(UsageError):
        codec.encode_event(System(text="x"), -1)
    if codec is JSON:
        with pytest.raises(UsageError):
            codec.encode_request(SendMessage(room="x", binary=wrong))


def test_a_negative_wait_is_refused() -> None:
    raw = orjson.dumps({"action": "error", "data": {"code": "x", "message": "x", "retry_after": -1}, "timestamp": NOW})
    with pytest.raises(ProtocolError, match=r"^data\.retry_after: expected 0"):
        JSON.decode(raw)


@pytest.mark.parametrize("timestamp", [None, 1, "", "now", [], "2026-11-20", "2026-13-20T10:30:00Z"])
def test_timestamps_of_a_server(timestamp: Any) -> None:
    with pytest.raises(ProtocolError, match=r"^timestamp: expected|^timestamp: month"):
        JSON.decode(orjson.dumps({"action": "system", "data": {"text": "x"}, "timestamp": timestamp}))


@pytest.mark.parametrize("data", [None, [], "x", 1, True])
def test_data_of_a_server_is_an_object(data: Any) -> None:
    for action in ("success", "error", "system", "newer"):
        with pytest.raises(ProtocolError, match=r"^data: expected an object$"):
            JSON.decode(orjson.dumps({"action": action, "data": data, "timestamp": NOW}))
    with pytest.raises(ProtocolError, match=r"^data: expected an object$"):
        JSON.event_from("newer", data)


def test_times_of_messagepack_are_no_text() -> None:
    with pytest.raises(ProtocolError, match=r"^data\.text: expected a string$"):
        MSGPACK.decode_request(msgpack.packb({"action": "send_message", "data": {"text": msgpack.Timestamp(0)}}))


def test_classes_are_found_by_their_own_action() -> None:
    assert all(issubclass(cls, Event) and cls.action == action for action, cls in STANDARD.events.items())
    assert all(issubclass(cls, Request) and cls.action == action for action, cls in STANDARD.requests.items())
