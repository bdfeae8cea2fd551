"""What was encoded decodes to an equal message, in both encodings, and both say the same."""

from __future__ import annotations

from typing import Any

import msgpack
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatkit.protocol import STANDARD, Codec, EventEnvelope, Failure, RequestEnvelope, Success, UnknownEvent
from chatkit.protocol.messages import Event, Request
from chatkit.testing import strategies as draw

JSON = Codec("json")
MSGPACK = Codec("msgpack")
CODECS = [pytest.param(JSON, id="json"), pytest.param(MSGPACK, id="msgpack")]
REQUESTS = [pytest.param(cls, id=action) for action, cls in STANDARD.requests.items()]
EVENTS = [pytest.param(cls, id=action) for action, cls in STANDARD.events.items()]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("cls", REQUESTS)
@given(data=st.data(), ref=draw.refs())
def test_requests(codec: Codec, cls: type[Request[Any]], data: st.DataObject, ref: int | str | None) -> None:
    request = data.draw(draw.messages(cls))
    assert codec.decode_request(codec.encode_request(request, ref)) == RequestEnvelope(request, ref)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("cls", REQUESTS)
@given(data=st.data(), ref=draw.refs(), timestamp=draw.timestamps())
def test_replies(
    codec: Codec, cls: type[Request[Any]], data: st.DataObject, ref: int | str | None, timestamp: int
) -> None:
    reply = data.draw(draw.messages(cls.reply))
    success = codec.decode(codec.encode_success(reply, ref, timestamp))
    assert isinstance(success, Success)
    assert (success.ref, success.timestamp) == (ref, timestamp)
    assert codec.reply(success, cls) == reply


@pytest.mark.parametrize("codec", CODECS)
@given(event=draw.events(), timestamp=draw.timestamps())
def test_events(codec: Codec, event: Event, timestamp: int) -> None:
    assert codec.decode(codec.encode_event(event, timestamp)) == EventEnvelope(event, timestamp)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("cls", EVENTS)
@given(data=st.data())
def test_events_of_each_action(codec: Codec, cls: type[Event], data: st.DataObject) -> None:
    event = data.draw(draw.messages(cls))
    assert codec.decode(codec.encode_event(event, 0)) == EventEnvelope(event, 0)


@pytest.mark.parametrize("codec", CODECS)
@given(
    ref=draw.refs(),
    code=draw.texts(),
    message=draw.texts(),
    retry_after=st.none() | st.floats(0, 2**31),
    timestamp=draw.timestamps(),
)
def test_failures(
    codec: Codec, ref: int | str | None, code: str, message: str, retry_after: float | None, timestamp: int
) -> None:
    raw = codec.encode_failure(code, message, ref, timestamp, retry_after=retry_after)
    expected = Failure(ref=ref, code=code, message=message, retry_after=retry_after, timestamp=timestamp)
    assert codec.decode(raw) == expected


@given(envelope=draw.envelopes())
def test_encodings_agree_on_requests(envelope: RequestEnvelope) -> None:
    plain = orjson.loads(JSON.encode_request(envelope.request, envelope.ref))
    packed = msgpack.unpackb(MSGPACK.encode_request(envelope.request, envelope.ref))
    assert JSON.decode_request(orjson.dumps(plain)) == MSGPACK.decode_request(msgpack.packb(packed))
    assert list(plain) == list(packed)
    assert list(plain["data"]) == list(packed["data"])


@given(message=draw.server_messages())
def test_encodings_agree_on_what_a_server_sends(message: EventEnvelope | Success | Failure) -> None:
    assert isinstance(message, EventEnvelope | Success | Failure)
    if isinstance(message, EventEnvelope):
        one, other = (codec.encode_event(message.event, message.timestamp) for codec in (JSON, MSGPACK))
        assert JSON.decode(one) == MSGPACK.decode(other) == message


def test_a_newline_never_stands_inside_a_line() -> None:
    raw = JSON.encode_event(UnknownEvent(action="x\n", data={"a\r\n": "b\n\u2028"}), 0)
    assert b"\n" not in raw


def test_absent_fields_stay_absent() -> None:
    envelope = RequestEnvelope(STANDARD.requests["history"](room="general"))
    assert orjson.loads(JSON.encode_request(envelope.request)) == {"action": "history", "data": {"room": "general"}}
