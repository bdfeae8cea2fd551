"""What one peer's bytes may do: end its own connection, with an answer where one is due, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import trio
import trio.testing
from attrs import define
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

from chatkit.errors import ChatError, Disconnected, ProtocolError
from chatkit.transport.interface import Connection, TransportOptions
from chatkit.transport.lines import LineArrival
from chatkit.transport.pipe import memory_pair
from chatkit.transport.stream import ByteStream
from chatkit.transport.websocket import WebSocketArrival

OPTIONS = TransportOptions(max_message_bytes=1000, outlet_bytes=10_000)
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="


def request(path: bytes = b"/ws", *extra: bytes, host: bytes = b"h", version: bytes = b"13") -> bytes:
    lines = [
        b"GET %s HTTP/1.1" % path,
        b"Host: " + host,
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Key: " + KEY,
        b"Sec-WebSocket-Version: " + version,
        *extra,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def masked(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    return Frame(Opcode(opcode), payload, fin).serialize(mask=True)


@define(eq=False)
class Guest:
    """A raw peer at a server's door."""

    stream: ByteStream
    arrival: WebSocketArrival | LineArrival
    nursery: trio.Nursery
    outcome: Connection | ChatError | None = None
    got: bytes = b""

    async def shake(self) -> None:
        try:
            self.outcome = await self.arrival.handshake(self.nursery)
        except ChatError as error:
            self.outcome = error

    async def say(self, data: bytes) -> None:
        await self.stream.send_all(data)
        await trio.testing.wait_all_tasks_blocked()

    async def hear(self) -> bytes:
        """Read what there is."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        return self.got

    async def _read(self) -> None:
        with suppress(trio.BrokenResourceError):
            while data := await self.stream.receive_some():
                self.got += data

    @property
    def connection(self) -> Connection:
        assert isinstance(self.outcome, Connection), self.outcome
        return self.outcome


@asynccontextmanager
async def guest(kind: type[WebSocketArrival] | type[LineArrival] = WebSocketArrival) -> AsyncIterator[Guest]:
    near, far = memory_pair()
    async with trio.open_nursery() as nursery:
        visitor = Guest(near, kind(far, OPTIONS, "x://test"), nursery)
        nursery.start_soon(visitor.shake)
        await trio.testing.wait_all_tasks_blocked()
        yield visitor
        near.abort()
        if isinstance(visitor.outcome, Connection):
            visitor.outcome.abort()
        await trio.testing.wait_all_tasks_blocked()
        assert visitor.outcome is not None
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (request(b"/elsewhere"), 404),
        (request(b"/ws?token=1"), 101),
        (request(b"/"), 101),
        (request(b"/ws", b"X-Name: \xc3\xbc"), 400),
        (request(b"/ws", b"X-Name: \x00"), 400),
        (request(b"/ws", b"X-Name: \x7f"), 400),
        (request(b"/ws", b"Sec-WebSocket-Protocol: chat"), 400),
        (request(b"/ws", b"Sec-WebSocket-Protocol: chat, chatkit.v1.msgpack"), 101),
        (request(b"/ws", b"Sec-WebSocket-Extensions: permessage-deflate"), 101),
        (request(version=b"8"), 426),
        (request(host=b"a" * 70), 101),
        (request(host=b"xn--a"), 101),
        (request(host=b"xn--zzzzzzz\xff"), 400),
        (request().replace(b"GET", b"POST"), 405),
        (request().replace(b"Upgrade: websocket", b"Upgrade: h2c"), 426),
        (request().replace(b"Connection: Upgrade", b"Connection: close"), 400),
        (request().replace(b"Sec-WebSocket-Key", b"X-Key"), 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", 426),
        (b"\r\n\r\n", 400),
        (b"hello\r\n\r\n", 400),
        (b"GET / HTTP/9\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 20_000, 431),
        (request(b"/ws", b"Content-Length: 5") + b"hello", 400),
        (request(b"/ws", b"Content-Length: x"), 400),
        (request(b"/ws", b"Transfer-Encoding: chunked") + b"zz\r\n", 400),
    ],
)
async def test_handshakes(data: bytes, status: int, autojump_clock: trio.testing.MockClock) -> None:
    async with guest() as visitor:
        await visitor.say(data)
        answer = await visitor.hear()
        assert answer.startswith(b"HTTP/1.1 %d " % status), answer
        if status != 101:
            await trio.sleep(10)
            assert isinstance(visitor.outcome, ProtocolError)
            assert str(visitor.outcome) in answer.decode()


async def test_silence_ends_after_the_deadline(autojump_clock: trio.testing.MockClock) -> None:
    async with guest() as visitor:
        await visitor.say(request()[:-1])
        await trio.sleep(OPTIONS.handshake_timeout - 0.1)
        assert visitor.outcome is None
        await trio.sleep(0.2)
        assert isinstance(visitor.outcome, Disconnected)


@pytest.mark.parametrize("reset", [True, False])
async def test_leaving_at_any_byte_of_a_handshake_ends_it_at_once(reset: bool) -> None:
    data = request()
    for cut in range(0, len(data), 7):
        async with guest() as visitor:
            if cut:
                await visitor.say(data[:cut])
            visitor.stream.abort() if reset else visitor.stream.send_eof()
            await trio.testing.wait_all_tasks_blocked()
            assert isinstance(visitor.outcome, Disconnected)


FRAMES = [
    (masked(1, b"\xff\xfe"), 1007),
    (b"\x81\x05hello", 1002),
    (masked(0, b"x"), 1002),
    (b"\xf1\x80\0\0\0\0", 1002),
    (b"\x83\x80\0\0\0\0", 1002),
    (b"\x09\x80\0\0\0\0", 1002),
    (b"\x89\xfe\0\x7e\0\0\0\0", 1002),
    (masked(8, b"\x03"), 1002),
    (masked(8, b"\x03\xed"), 1002),
    (masked(8, b"\x03\xe8\xff"), 1007),
    (masked(1, b"x" * 1001), 1009),
    (masked(1, b"x" * 600, fin=False) + masked(0, b"x" * 401), 1009),
    (masked(1, b"x" * 1001) + masked(9), 1009),
    (b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 1009),
    (b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 1009),
    (masked(1, b"", fin=False) + masked(0, b"", fin=False) * 256, 4429),
    (masked(9) * 1100, 4429),
]


@pytest.mark.parametrize(("data", "code"), FRAMES, ids=range(len(FRAMES)))
@pytest.mark.parametrize("early", [False, True], ids=["after", "with the request"])
async def test_bad_frames(data: bytes, code: int, early: bool, autojump_clock: trio.testing.MockClock) -> None:
    async with guest() as visitor:
        good = masked(1, b'{"a":1}')
        await visitor.say(request() + good + data if early else request())
        if not early:
            await visitor.say(good + data)
        assert await visitor.connection.receive() == b'{"a":1}'
        with pytest.raises(Disconnected) as caught:
            await visitor.connection.receive()
        assert caught.value.code == code
        answer = (await visitor.hear()).partition(b"\r\n\r\n")[2]
        assert answer.lstrip(b"\x8a\0")[:1] == b"\x88", answer
        assert int.from_bytes(answer.lstrip(b"\x8a\0")[2:4], "big") == code
        await trio.sleep(2)
        assert not visitor.nursery.child_tasks, "a task is left"


async def test_the_wrong_kind_of_frame_is_survived() -> None:
    async with guest() as visitor:
        await visitor.say(request() + masked(2, b"\1\2") + masked(1, b"{}"))
        with pytest.raises(ProtocolError, match=r"data\.binary"):
            await visitor.connection.receive()
        assert await visitor.connection.receive() == b"{}"


async def test_pings_are_answered_and_a_ping_after_our_close_harms_nothing() -> None:
    async with guest() as visitor:
        await visitor.say(request())
        await visitor.say(masked(9, b"hi"))
        assert (await visitor.hear()).endswith(b"\x8a\x02hi")
        visitor.nursery.start_soon(visitor.connection.aclose, 1001, "stopping")
        assert (await visitor.hear()).endswith(b"\x88\x0a\x03\xe9stopping")
        await visitor.say(masked(9, b"late") + masked(1, b"{}"))
        await visitor.say(masked(8, b"\x03\xe9"))
        assert (await visitor.hear()).endswith(b"\x88\x0a\x03\xe9stopping")
        assert await visitor.stream.receive_some() == b""
        with pytest.raises(Disconnected) as caught:
            await visitor.connection.receive()
        assert caught.value.code == 1001


async def test_the_peers_close_is_answered() -> None:
    async with guest() as visitor:
        await visitor.say(request())
        await visitor.say(masked(1, b"{}") + masked(8, (4000).to_bytes(2, "big") + b"enough"))
        assert await visitor.connection.receive() == b"{}"
        for _ in range(2):
            with pytest.raises(Disconnected) as caught:
                await visitor.connection.receive()
            assert (caught.value.code, caught.value.reason) == (4000, "enough")
        assert b"\x88\x08\x0f\xa0enough" in await visitor.hear()
        assert visitor.connection.push(b"x")
        assert not (await visitor.hear()).endswith(b"x")


async def test_what_was_said_before_a_close_is_taken_and_answered_before_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    for taken in (True, False):
        async with guest() as visitor:
            await visitor.say(request())
            await visitor.say(masked(1, b"{}") + masked(8, (4000).to_bytes(2, "big")))
            assert b"\x88\x02\x0f\xa0" not in await visitor.hear()
            if taken:
                assert await visitor.connection.receive() == b"{}"
                visitor.connection.push(visitor.connection.format.frame(b"[]"))
                assert (await visitor.hear()).endswith(b"\x81\x02[]\x88\x02\x0f\xa0")
            else:  # nobody takes it
                await trio.sleep(OPTIONS.close_timeout + 0.1)
                assert (await visitor.hear()).endswith(b"\x88\x02\x0f\xa0")


async def test_reading_stops_while_nobody_receives() -> None:
    options = OPTIONS
    async with guest() as visitor:
        await visitor.say(request())
        sent = 0
        message = masked(1, b"y" * 1000)
        with trio.move_on_after(0.5):
            while True:
                await visitor.stream.send_all(message)
                sent += 1
        assert sent * 1000 < 262_144 + 3 * 65_536 + options.receive_buffer_bytes
        assert visitor.connection.last_heard == pytest.approx(trio.current_time(), abs=0.1)
        for _ in range(sent):
            assert await visitor.connection.receive() == b"y" * 1000


@given(data=st.data())
@settings(max_examples=60, deadline=None)
async def test_any_chunks_of_a_conversation(data: st.DataObject) -> None:
    messages = [b'{"n":%d}' % number for number in range(5)] + [b'"' + b"z" * 900 + b'"']
    half = len(messages[-1]) // 2
    wire = request() + b"".join(masked(1, message) for message in messages[:-1]) + masked(9, b"p")
    wire += masked(1, messages[-1][:half], fin=False) + masked(9) + masked(0, messages[-1][half:])
    cuts = sorted(data.draw(st.sets(st.integers(1, len(wire) - 1), max_size=30)))
    async with guest() as visitor:
        for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
            await visitor.say(wire[start:end])
        for message in messages:
            assert await visitor.connection.receive() == message


async def test_one_byte_at_a_time() -> None:
    messages = [b'{"n":%d}' % number for number in range(5)]
    async with guest() as visitor:
        for byte in request() + b"".join(masked(1, message) for message in messages):
            await visitor.stream.send_all(bytes([byte]))
        await trio.testing.wait_all_tasks_blocked()
        for message in messages:
            assert await visitor.connection.receive() == message


@given(data=st.data())
@settings(max_examples=150, deadline=None)
async def test_mutated_bytes_end_in_a_message_or_an_error_of_ours(data: st.DataObject) -> None:
    wire = bytearray(request() + masked(1, b'{"a":1}') + masked(9) + masked(1, b"x", fin=False) + masked(0, b"y"))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(wire) - 1))
        wire[position : position + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    async with guest() as visitor:
        await visitor.say(bytes(wire))
        visitor.stream.send_eof()
        await trio.testing.wait_all_tasks_blocked()
        assert visitor.outcome is not None
        if isinstance(visitor.outcome, Connection):
            for _ in range(10):
                try:
                    await visitor.outcome.receive()
                except ProtocolError:
                    continue
                except Disconnected:
                    break
            else:
                raise AssertionError("the link did not end")


async def test_a_foreign_client() -> None:
    """The WebSocket client of another library, sans-I/O, over our pipe."""
    async with guest() as visitor:
        foreign = ClientProtocol(parse_uri("ws://h/ws"), subprotocols=["chatkit.v1.json"])

        async def exchange() -> None:
            for data in foreign.data_to_send():
                await visitor.say(data)
            before = len(visitor.got)
            foreign.receive_data((await visitor.hear())[before:])

        foreign.send_request(foreign.connect())
        await exchange()
        foreign.send_text('{"ä":1}'.encode())
        foreign.send_ping(b"?")
        await exchange()
        assert (await visitor.connection.receive()).decode() == '{"ä":1}'
        visitor.connection.push(visitor.connection.format.frame(b"{}"))
        await visitor.connection.send(b'{"b":2}')
        foreign.send_close(4000, "bye")
        await exchange()
        answer, pong, *texts, _ = foreign.events_received()
        assert (answer.status_code, foreign.subprotocol, foreign.handshake_exc) == (101, "chatkit.v1.json", None)
        assert (pong.opcode, pong.data) == (Opcode.PONG, b"?")
        assert [text.data for text in texts] == [b"{}", b'{"b":2}']
        assert foreign.close_rcvd is not None
        assert (foreign.close_rcvd.code, foreign.close_rcvd.reason) == (4000, "bye")
        with pytest.raises(Disconnected, match="bye"):
            await visitor.connection.receive()


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\n", b"POST", b"hello\n", b"[1]\n", b"{]\n", b'"x"\n', b"\n\nx"])
async def test_a_first_line_that_is_no_object_closes(first: bytes, autojump_clock: trio.testing.MockClock) -> None:
    async with guest(LineArrival) as visitor:
        await trio.testing.wait_all_tasks_blocked()
        await visitor.say(first)
        with pytest.raises(Disconnected) as caught:
            await visitor.connection.receive()
        assert caught.value.code == 4400
        assert b'"closing"' in await visitor.hear()


async def test_lines() -> None:
    async with guest(LineArrival) as visitor:
        await visitor.say(b'\r\n  \n{"a":1}\r\n\n[2]\n{"b":"\xff"}\n{"c"')
        receive = visitor.connection.receive
        assert [await receive(), await receive()] == [b'{"a":1}', b"[2]"], "only the first line must be an object"
        with pytest.raises(ProtocolError, match="UTF-8"):
            await receive()
        await visitor.say(b":3}\n{half")
        assert await receive() == b'{"c":3}'
        visitor.stream.send_eof()
        with pytest.raises(Disconnected) as caught:
            await receive()
        assert (caught.value.code, caught.value.reconnect) == (1006, True)


async def test_too_long_a_line(autojump_clock: trio.testing.MockClock) -> None:
    async with guest(LineArrival) as visitor:
        await visitor.say(b"{}\n" + b'"' + b"x" * 998 + b'"\r\n' + b"y" * 1001)
        assert await visitor.connection.receive() == b"{}"
        assert len(await visitor.connection.receive()) == 1000
        with pytest.raises(Disconnected) as caught:
            await visitor.connection.receive()
        assert caught.value.code == 1009
        assert b'"code":1009' in await visitor.hear()
