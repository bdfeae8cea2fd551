"""Lines however the stream is cut, and frames as an independent reader sees them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, TextMessage

from chatkit.errors import ProtocolError
from chatkit.protocol import ErrorCode, LineBuffer, line_frame, websocket_frame
from chatkit.protocol.framing import BINARY, TEXT

MAX = 12
SAMPLES = {
    "two lines": b'{"a":1}\n{"b":2}\n',
    "no end": b'{"a":1}\n{"b"',
    "carriage returns": b'{"a":1}\r\n\r\n{"b":2}\r\n',
    "blank lines": b"\n\n  \n\t\r\n{}\n\n",
    "lone carriage returns": b"a\rb\r\r\nc\n\r",
    "as long as allowed": b"x" * MAX + b"\n" + b"y" * MAX + b"\r\n",
    "one too long": b"{}\n" + b"x" * (MAX + 1) + b"\n{}\n",
    "one too long with a return": b"{}\n" + b"x" * MAX + b"\rz\n{}\n",
    "two returns too long": b"{}\n" + b"x" * MAX + b"\r\r\n",
    "never ends": b"{}\n" + b"x" * 40,
}


def read(chunks: list[bytes], max_bytes: int = MAX) -> tuple[list[bytes], bool, int]:
    """Feed chunks and return the lines, whether one was too long, and what is left over."""
    buffer, lines, too_large = LineBuffer(max_bytes), [], False
    for chunk in chunks:
        try:
            buffer.feed(chunk)
        except ProtocolError as error:
            assert error.code == ErrorCode.TOO_LARGE  # noqa: PT017
            too_large = True
        while (line := buffer.next_line()) is not None:
            lines.append(line)
    return lines, too_large, 0 if too_large else buffer.partial_bytes


def reference(stream: bytes, max_bytes: int = MAX) -> tuple[list[bytes], bool, int]:
    """What a reader that has the whole stream at once makes of it."""
    lines: list[bytes] = []
    *ended, rest = stream.split(b"\n")
    for line in ended:
        bare = line.removesuffix(b"\r")
        if len(bare) > max_bytes:
            return lines, True, 0
        if bare.strip():
            lines.append(bare)
    if len(rest) > max_bytes + 1 or (len(rest) == max_bytes + 1 and not rest.endswith(b"\r")):
        return lines, True, 0
    return lines, False, len(rest)


@pytest.mark.parametrize("stream", SAMPLES.values(), ids=SAMPLES)
def test_every_pair_of_cuts(stream: bytes) -> None:
    expected = reference(stream)
    for first in range(len(stream) + 1):
        for second in range(first, len(stream) + 1):
            assert read([stream[:first], stream[first:second], stream[second:]]) == expected


@pytest.mark.parametrize("stream", SAMPLES.values(), ids=SAMPLES)
def test_byte_by_byte(stream: bytes) -> None:
    assert read([stream[at : at + 1] for at in range(len(stream))]) == reference(stream)


@given(
    pieces=st.lists(st.sampled_from([b"\n", b"\r", b"\r\n", b" ", b"a", b"x" * (MAX - 1), b"x" * MAX]), max_size=20),
    cuts=st.lists(st.integers(0, 200), max_size=8),
)
def test_any_chunks(pieces: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(pieces)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    assert read([stream[a:b] for a, b in pairwise(edges)]) == reference(stream)


def test_a_line_too_long_stays_too_long() -> None:
    buffer = LineBuffer(4)
    with pytest.raises(ProtocolError, match="longer than 4 bytes"):
        buffer.feed(b"ok\n12345\nok\n")
    with pytest.raises(ProtocolError, match="longer than 4 bytes"):
        buffer.feed(b"ok\n")
    assert buffer.next_line() == b"ok"
    assert buffer.next_line() is None


def test_lines_are_bytes_of_their_own() -> None:
    received = bytearray(b"ab\ncd")
    buffer = LineBuffer(10)
    buffer.feed(memoryview(received))
    received[:] = b"\0" * 5
    assert buffer.next_line() == b"ab"
    buffer.feed(b"\n")
    assert buffer.next_line() == b"cd"


def test_line_frame() -> None:
    buffer = LineBuffer(10)
    buffer.feed(line_frame(b"{}") * 2)
    assert (buffer.next_line(), buffer.next_line(), buffer.next_line()) == (b"{}", b"{}", None)


def received(stream: bytes) -> list[str | bytes]:
    """What wsproto, as a client, makes of a server's bytes."""
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(stream)
    messages: list[str | bytes] = []
    whole: list[str | bytes] = []
    for event in client.events():
        assert isinstance(event, TextMessage | BytesMessage)
        assert event.frame_finished
        whole.append(bytes(event.data) if isinstance(event, BytesMessage) else event.data)
        if event.message_finished:
            empty: str | bytes = "" if isinstance(whole[0], str) else b""
            messages.append(empty.join(whole))  # type: ignore[arg-type]
            whole.clear()
    assert not whole
    return messages


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 65_537, 300_000])
def test_frames_of_every_length_form(size: int) -> None:
    payload = b"x" * size
    assert received(websocket_frame(BINARY, payload) + websocket_frame(TEXT, payload)) == [payload, payload.decode()]


@given(messages=st.lists(st.one_of(st.text(st.characters(exclude_categories=["Cs"])), st.binary(max_size=300))))
def test_joined_frames_are_read_one_by_one(messages: list[str | bytes]) -> None:
    blob = b"".join(
        websocket_frame(TEXT, one.encode()) if isinstance(one, str) else websocket_frame(BINARY, one)
        for one in messages
    )
    assert received(blob) == messages
