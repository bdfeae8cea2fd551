"""Whatever the bytes, decoding gives a message or `ProtocolError`; and a message can be sent on in both encodings.

``nox -s fuzz`` runs this file with 200,000 examples each.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatkit.errors import ProtocolError
from chatkit.protocol import STANDARD, Codec, EventEnvelope, Failure, Success
from chatkit.testing import strategies as draw

T = TypeVar("T")
JSON = Codec("json")
MSGPACK = Codec("msgpack")
CODECS = [pytest.param(JSON, id="json"), pytest.param(MSGPACK, id="msgpack")]
FROM_CLIENTS = {codec: st.one_of(draw.mutated(draw.wire_requests(codec)), draw.garbage()) for codec in (JSON, MSGPACK)}
FROM_SERVERS = {
    codec: st.one_of(draw.mutated(draw.wire_server_messages(codec)), draw.garbage()) for codec in (JSON, MSGPACK)
}


def attempt(decode: Callable[[], T]) -> T | ProtocolError:
    """Decode; every other exception is what these tests are looking for."""
    try:
        return decode()
    except ProtocolError as error:
        return error


@pytest.mark.parametrize("codec", CODECS)
@given(data=st.data())
def test_a_server_withstands_any_bytes(codec: Codec, data: st.DataObject) -> None:
    raw = data.draw(FROM_CLIENTS[codec])
    result = attempt(lambda: codec.decode_request(raw))
    if isinstance(result, ProtocolError):
        answer = codec.decode(codec.encode_failure(result.code, result.message, result.ref, 0))
        assert answer == Failure(ref=result.ref, code=result.code, message=result.message, timestamp=0)
        return
    for other in (JSON, MSGPACK):
        assert other.decode_request(other.encode_request(result.request, result.ref)) == result


@pytest.mark.parametrize("codec", CODECS)
@given(data=st.data())
def test_a_client_withstands_any_bytes(codec: Codec, data: st.DataObject) -> None:
    raw = data.draw(FROM_SERVERS[codec])
    message = attempt(lambda: codec.decode(raw))
    match message:
        case EventEnvelope(event, timestamp):
            for other in (JSON, MSGPACK):
                assert other.decode(other.encode_event(event, timestamp))
            assert codec.decode(codec.encode_event(event, timestamp)) == message
        case Success():
            for request in STANDARD.requests.values():
                reply = attempt(partial(codec.reply, message, request))
                if not isinstance(reply, ProtocolError):
                    for other in (JSON, MSGPACK):
                        assert other.encode_success(reply, message.ref, message.timestamp)
        case _:
            assert isinstance(message, Failure | ProtocolError)
