"""The WebSocket binding: one message per frame. Nothing else of chatkit knows the WebSocket library.

The library shakes hands; then the connection reads for itself, in one task. Everything either writes passes the
connection's `Outlet`, and both read behind a barrier, so that whatever happens there ends this one connection and no
other.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TypedDict, TypeVar, cast

import trio
import trio_websocket as library
from attrs import evolve

from chatkit.errors import ConnectFailed, Disconnected, ProtocolError, UsageError
from chatkit.flag import Flag, Pulse
from chatkit.protocol.framing import websocket_frame
from chatkit.transport import sockets
from chatkit.transport.address import Address, joined, parse
from chatkit.transport.closing import (
    BROKEN,
    LINGER_SECONDS,
    PROTOCOL_ERROR,
    SERVER_FAILED,
    TOO_SLOW,
    ended,
)
from chatkit.transport.frames import BINARY, CLOSE, PING, PONG, TEXT, close_payload, masked_frame
from chatkit.transport.gate import Gate
from chatkit.transport.inbound import Inbound, Message
from chatkit.transport.interface import Connection, Encoding, HttpArrival, Listener, TransportOptions, WireFormat
from chatkit.transport.outlet import Outlet
from chatkit.transport.proxied import forwarded_for, is_trusted
from chatkit.transport.stream import ByteStream
from chatkit.transport.upgrade import SUBPROTOCOLS, Refused, RequestHead, answer, judge, parse_head, read_head, retold

READ_AHEAD = 262_144
"""Bytes of messages that wait before reading stops."""
AT_HAND = 32
"""Messages that one task may take in a row, because they are there, before the others have their turn."""

SERVER_FORMATS: dict[Encoding, WireFormat] = {
    "json": WireFormat("json/websocket", "json", partial(websocket_frame, TEXT)),
    "msgpack": WireFormat("msgpack/websocket", "msgpack", partial(websocket_frame, BINARY)),
}
CLIENT_FORMATS: dict[Encoding, WireFormat] = {
    "json": WireFormat("json/websocket/masked", "json", partial(masked_frame, TEXT)),
    "msgpack": WireFormat("msgpack/websocket/masked", "msgpack", partial(masked_frame, BINARY)),
}
STREAM_ENDED = (trio.BrokenResourceError, trio.ClosedResourceError)


class WebSocketConnection(Connection):
    """One end of a WebSocket. Made by `WebSocketArrival.handshake` and `open_client_websocket`."""

    def __init__(
        self,
        nursery: trio.Nursery,
        stream: ByteStream,
        url: str,
        options: TransportOptions,
        *,
        format: WireFormat,
        server: bool,
        head: RequestHead | None = None,
    ) -> None:
        self.peer = stream.peer
        self.url = url
        self.format = format
        self.head = evolve(head, raw=b"", headers=_telling(head)) if head else None
        """The request this link began with (server), for what its headers say, such as ``origin``."""
        self._nursery = nursery
        self._stream = stream
        self._options = options
        self._frame = websocket_frame if server else masked_frame
        self._outlet = Outlet(stream, nursery, options.outlet_bytes, options.write_timeout)
        self._inbound = Inbound(options, server)
        self._read_ahead = max(READ_AHEAD, 2 * options.max_message_bytes)
        self._opcode = TEXT if format.encoding == "json" else BINARY
        self._heard = trio.current_time()
        self._listening = False
        """A read is under way, rather than waiting until messages are taken."""
        self._taken = Pulse()
        self._receiver: trio.lowlevel.Task | None = None
        """The task that waits for a message."""
        self._in_a_row = 0
        self._reading = trio.CancelScope()
        self._ended = Flag()
        """Nothing more is read."""
        self._failure: Exception | None = None
        self._closing = False
        self._discarding = False
        self._closed = Flag()
        self._end: tuple[int, str, bool | None] | None = None
        """What this end decided about the end of the link: code, reason, reconnect."""

    async def receive(self) -> bytes:
        inbound = self._inbound
        # The way of nearly every message of a burst: it is at hand, more are, and it is not yet the others' turn.
        if len(inbound.messages) > 1 and self._in_a_row < AT_HAND and not self._discarding:
            self._in_a_row += 1
            await trio.lowlevel.checkpoint_if_cancelled()
            opcode, payload = inbound.take()
        else:
            opcode, payload = await self._next()
        if opcode != self._opcode:
            raise ProtocolError(
                "this link carries text frames; for bytes use data.binary, in base64"
                if self._opcode == TEXT
                else "this link carries binary frames; text goes as JSON over the subprotocol chatkit.v1.json"
            )
        return payload

    async def receive_any(self) -> str | bytes:
        """Return the next message, of whichever kind its frame is: for other uses than chatkit's protocol. Raises
        `Disconnected`."""
        opcode, payload = await self._next()
        return payload.decode() if opcode == TEXT else payload

    async def _next(self) -> Message:
        inbound = self._inbound
        if inbound.messages and self._in_a_row < AT_HAND:
            self._in_a_row += 1
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            self._in_a_row = 0
            await self._wait_for_message()
        if self._discarding or not inbound.messages:
            raise self._disconnected() from self._failure
        message = inbound.take()
        if not inbound.messages and not self._listening:
            self._go_on()  # the reader waits for that
        return message

    async def _wait_for_message(self) -> None:
        """Return once there is a message, or will be none any more."""
        if self._receiver is not None:
            raise UsageError("two tasks receive from one connection")
        if self._inbound.messages or self._ended.is_set() or self._discarding:
            await trio.lowlevel.checkpoint()
            return

        def abort(_: object) -> trio.lowlevel.Abort:
            self._receiver = None
            return trio.lowlevel.Abort.SUCCEEDED

        self._receiver = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(abort)

    def _wake_receiver(self) -> None:
        if self._receiver is not None:
            trio.lowlevel.reschedule(self._receiver)
            self._receiver = None

    async def send(self, message: bytes) -> None:
        try:
            await self._outlet.send_all(self.format.frame(message))
        except STREAM_ENDED as error:
            raise self._disconnected() from error

    async def send_any(self, message: str | bytes) -> None:
        """Send text as a text frame, bytes as a binary one. As `send`."""
        opcode, payload = (TEXT, message.encode()) if isinstance(message, str) else (BINARY, message)
        try:
            await self._outlet.send_all(self._frame(opcode, payload))
        except STREAM_ENDED as error:
            raise self._disconnected() from error

    def push(self, blob: bytes) -> bool:
        return self._outlet.push(blob)

    @property
    def pusher(self) -> Callable[[bytes], bool]:
        return self._outlet.push

    def push_anyway(self, blob: bytes) -> None:
        self._outlet.push_anyway(blob)

    async def wait_drained(self) -> None:
        try:
            await self._outlet.wait_drained()
        except STREAM_ENDED as error:
            raise self._disconnected() from error

    @property
    def waiting_bytes(self) -> int:
        return self._outlet.waiting_bytes

    async def ping(self) -> None:
        await trio.lowlevel.checkpoint()
        self._outlet.push(self._frame(PING, b""))

    @property
    def last_heard(self) -> float:
        # While we do not read, silence says nothing about the peer.
        return self._heard if self._listening else trio.current_time()

    async def aclose(self, code: int = 1000, reason: str = "", *, reconnect: bool = True) -> None:
        if self._closing or self._closed.is_set():
            with trio.move_on_after(self._options.close_timeout):
                await self._closed.wait()
            return
        self._closing = True
        self._end = self._end or (code, reason, reconnect)
        try:
            with trio.move_on_after(self._options.close_timeout) as patience:
                await self._shake_goodbye(code, reason)
            if not patience.cancelled_caught:
                await self._stream.linger(LINGER_SECONDS)  # closed with bytes unread, our last words would be lost
        finally:
            self.abort()

    def abort(self) -> None:
        self._end = self._end or (BROKEN, "aborted by this end", None)
        self._outlet.abort()
        self._reading.cancel()
        self._closed.set()

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _start_reading(self, rest: bytes) -> None:
        """The handshake is over: read frames. ``rest`` is what came behind it."""
        self._nursery.start_soon(self._run_reader, rest)

    async def _run_reader(self, rest: bytes) -> None:
        try:
            with self._reading, suppress(*STREAM_ENDED):
                await self._read(rest)
        except Exception as error:  # the barrier: nothing that a peer's bytes bring about goes further
            self._failure = error
        except BaseException:
            self.abort()
            raise
        finally:
            self._ended.set()
            self._wake_receiver()
        if not self._closing and not self._closed.is_set():
            await self._let_go()

    async def _read(self, rest: bytes) -> None:
        inbound, receive, most = self._inbound, self._stream.receive_some, self._options.receive_buffer_bytes
        if rest:
            await self._take_in(rest)
        while not inbound.over:
            while self._is_full():
                await self._taken.wait()
            self._listening = True
            try:
                data = await receive(most)
            finally:
                self._listening = False
            if not data:
                break
            self._heard = trio.current_time()
            await self._take_in(data)
        await self._hear_out()

    async def _hear_out(self) -> None:
        """What was said before the end is taken before the end is answered, unless nobody takes it."""
        with trio.move_on_after(self._options.close_timeout):
            while self._inbound.messages and not self._discarding:
                await self._taken.wait()
        if self._inbound.closed is not None and not self._outlet.over:
            self._outlet.finish(self._frame(CLOSE, self._inbound.farewell))

    def _is_full(self) -> bool:
        inbound = self._inbound
        if inbound.over or self._discarding:
            return False
        return inbound.backlog or inbound.waiting_bytes >= self._read_ahead

    async def _take_in(self, data: bytes) -> None:
        self._inbound.feed(data, self._heard)
        while self._answer() and self._outlet.waiting_bytes:
            await self._outlet.flush()  # who sends pings has to read the answers

    def _go_on(self) -> None:
        """Take apart what was left while enough messages waited, and let the reader read on."""
        self._inbound.go_on()
        self._answer()
        self._taken.wake()

    def _answer(self) -> bool:
        """Do what the bytes that were taken apart ask for: wake whoever receives, answer pings. Return whether there
        were any."""
        inbound, outlet = self._inbound, self._outlet
        while self._discarding and (inbound.messages or inbound.backlog):
            inbound.forget()
            inbound.go_on()
        if inbound.messages and self._receiver is not None:
            self._wake_receiver()
        pings, inbound.pings = inbound.pings, []
        for payload in pings:
            outlet.push_anyway(self._frame(PONG, payload))
        return bool(pings)

    async def _let_go(self) -> None:
        """The link ended without us closing it: say why if that is ours to say, and release the socket."""
        self._closing = True
        try:
            if not self._outlet.over:
                self._outlet.finish(self._frame(CLOSE, close_payload(*self._verdict())))
            with trio.move_on_after(self._options.close_timeout), suppress(*STREAM_ENDED):
                await self._outlet.flush()
            await self._stream.linger(LINGER_SECONDS)
        finally:
            self._outlet.abort()
            self._closed.set()

    def _verdict(self) -> tuple[int, str]:
        """Why this end ends a link nobody closed."""
        if self._inbound.fault is not None:
            self._end = self._end or (*self._inbound.fault, None)
            return self._inbound.fault
        if self._failure is not None:
            return SERVER_FAILED, "the connection failed"
        return PROTOCOL_ERROR, ""

    async def _shake_goodbye(self, code: int, reason: str) -> None:
        self._discarding = True
        self._go_on()
        with suppress(*STREAM_ENDED):
            if not self._outlet.over:
                self._outlet.finish(self._frame(CLOSE, close_payload(code, reason)))
            await self._outlet.flush()
        await self._ended.wait()  # the peer's Close, or its end

    def _disconnected(self) -> Disconnected:
        inbound = self._inbound
        if self._end is None and inbound.fault is not None:
            self._end = (*inbound.fault, None)
        if self._end is not None:
            code, reason, reconnect = self._end
            return ended(code, reason, reconnect=reconnect)
        if self._outlet.timed_out:
            return ended(TOO_SLOW, f"the peer read nothing for {self._options.write_timeout:g} seconds")
        return ended(*(inbound.closed or (BROKEN, "")))


T = TypeVar("T")


class _Shaking:
    """The library's part of a handshake, and the nursery it takes this for: its reader runs behind a barrier, and is
    gone when the handshake is over."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.failure: Exception | None = None
        """What the reader ended with."""
        self._nursery = nursery
        self._reading = trio.CancelScope()
        self._ended = trio.Event()
        self._ended.set()
        self._waiting = trio.CancelScope()

    async def run(self, shake: Callable[[trio.Nursery], Awaitable[T]]) -> T | None:
        """Shake hands; None when the reader ended first."""
        try:
            with self._waiting:
                return await shake(cast(trio.Nursery, self))
        finally:
            self._reading.cancel()
            with trio.CancelScope(shield=True):  # it waits for nothing but the bytes it does not get any more
                await self._ended.wait()
        return None

    def start_soon(self, async_fn: Callable[..., Awaitable[object]], *args: object) -> None:
        """Run the library's reader."""
        self._ended = trio.Event()
        self._nursery.start_soon(self._run_reader, async_fn, args)

    async def _run_reader(self, reader: Callable[..., Awaitable[object]], args: tuple[object, ...]) -> None:
        try:
            with self._reading:
                await reader(*args)
        except Exception as error:  # the barrier: a peer's bytes may raise anything in there
            self.failure = error
        finally:
            self._ended.set()
            self._waiting.cancel()


def _telling(head: RequestHead) -> tuple[tuple[str, str], ...]:
    """Return the headers worth keeping for as long as a connection lives."""
    return tuple((name, value) for name, value in head.headers if name in ("origin", "user-agent"))


class LibraryOptions(TypedDict):
    """What both kinds of handshake tell the library."""

    message_queue_size: int
    max_message_size: int
    receive_buffer_size: int


def _library_options(options: TransportOptions) -> LibraryOptions:
    return {
        "message_queue_size": 0,  # it never reads a message
        "max_message_size": options.max_message_bytes,
        "receive_buffer_size": options.receive_buffer_bytes,
    }


class WebSocketArrival(HttpArrival):
    """Somebody at the door of a WebSocket listener.

    `handshake` does it all. Whoever wants to look first calls `read_head`, and then goes on with `handshake`, `refuse`
    or `release`.
    """

    def __init__(self, stream: ByteStream, options: TransportOptions, url: str) -> None:
        self.peer = stream.peer
        self._stream = stream
        self._options = options
        self.url = url
        self.secure = url.startswith("wss:")
        self._head: RequestHead | None = None
        self._rest = b""

    async def read_head(self) -> RequestHead:
        """Read the request, within ``handshake_timeout``. Raises as `handshake`; one that is no HTTP is answered and
        closed."""
        with self._door():
            try:
                with trio.fail_after(self._options.handshake_timeout):
                    return await self._read_head()
            except Refused as refused:
                await self._refuse(refused)
                raise

    async def handshake(self, nursery: trio.Nursery) -> WebSocketConnection:
        with self._door():
            try:
                with trio.fail_after(self._options.handshake_timeout):
                    head = await self._read_head()
                    return await self._accept(nursery, head, judge(head))
            except Refused as refused:
                await self._refuse(refused)
                raise

    async def refuse(self, status: int, sentence: str) -> None:
        """Answer with an HTTP status and a sentence, and close. Bounded by ``close_timeout``; never fails."""
        await self._refuse(Refused(status, sentence))

    def release(self) -> tuple[ByteStream, bytes]:
        """Hand over the stream and what was read of it, for another protocol on the same port."""
        return self._stream, (self._head.raw if self._head else b"") + self._rest

    def abort(self) -> None:
        self._stream.abort()

    def _door(self) -> _Door:
        return _Door(self._stream, self._options.handshake_timeout)

    async def _read_head(self) -> RequestHead:
        if self._head is None:
            await self._stream.start()
            raw, self._rest = await read_head(self._stream)
            self._head = parse_head(raw)
            self._hear_proxy(self._head)
        return self._head

    def _hear_proxy(self, head: RequestHead) -> None:
        trusted = self._options.trusted_proxies
        self.proxied = is_trusted(self.peer, trusted)
        if self.proxied:
            self.peer = self._stream.peer = forwarded_for(head.values("x-forwarded-for"), self.peer, trusted)
            self.secure = self.secure or head.header("x-forwarded-proto") == "https"

    async def _accept(self, nursery: trio.Nursery, head: RequestHead, chosen: str | None) -> WebSocketConnection:
        format = SERVER_FORMATS[SUBPROTOCOLS[chosen] if chosen else "json"]
        connection = WebSocketConnection(
            nursery, self._stream, self.url, self._options, format=format, server=True, head=head
        )

        gate = Gate(self._stream, connection._outlet, retold(head, chosen), self._rest)
        shaking = _Shaking(nursery)

        async def shake(tasks: trio.Nursery) -> library.WebSocketConnection:
            request = await library.wrap_server_stream(tasks, gate, **_library_options(self._options))
            return await request.accept(subprotocol=chosen)

        try:
            done = await shaking.run(shake)
        except library.ConnectionClosed as error:
            connection.abort()
            raise ended(BROKEN, "the peer left during the handshake") from error
        except BaseException:
            connection.abort()
            raise
        if done is None:
            connection.abort()
            raise ProtocolError("the handshake failed") from shaking.failure
        connection._start_reading(gate.rest)
        self._head, self._rest = None, b""
        return connection

    async def _refuse(self, refused: Refused) -> None:
        try:
            with trio.move_on_after(self._options.close_timeout), suppress(*STREAM_ENDED):
                await self._stream.send_all(answer(refused))
                await self._stream.linger(LINGER_SECONDS)
        finally:
            self._stream.abort()


class _Door:
    """What a handshake may raise, translated; whatever it was, the stream is closed then."""

    def __init__(self, stream: ByteStream, timeout: float) -> None:
        self._stream = stream
        self._timeout = timeout

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is None:
            return
        self._stream.abort()
        if isinstance(error, trio.TooSlowError):
            raise ended(BROKEN, f"the handshake took longer than {self._timeout:g} seconds") from error
        if isinstance(error, (*STREAM_ENDED, trio.BusyResourceError)):
            raise ended(BROKEN, "the peer left during the handshake") from error


class WebSocketListener(Listener):
    """Listens for WebSockets on a TCP address."""

    def __init__(
        self, opened: sockets.ListeningSockets, url: str, options: TransportOptions, context: ssl.SSLContext | None
    ) -> None:
        self.url = url
        self._sockets = opened
        self._options = options
        self._context = context

    async def accept(self) -> WebSocketArrival:
        while True:
            sock, peer = await self._sockets.accept()
            try:
                stream = sockets.accepted_stream(sock, peer, self._options, self._context, keepalive=False)
            except OSError:  # gone between its connect and our accept
                continue
            return WebSocketArrival(stream, self._options, self.url)

    def close(self) -> None:
        self._sockets.close()


async def listen_websocket(url: str, options: TransportOptions) -> WebSocketListener:
    """Listen on ``ws://host:port`` or, with ``options.ssl_context``, ``wss://host:port``; port 0 picks a free one.

    Raises `UsageError` for a malformed URL, `ListenFailed` when the address cannot be had.
    """
    address = parse(url)
    context = sockets.server_context(address, options)
    opened = await sockets.listen(address)
    return WebSocketListener(opened, evolve(address, port=opened.port).url, options, context)


async def connect_websocket(
    nursery: trio.Nursery, url: str, options: TransportOptions, encoding: Encoding
) -> WebSocketConnection:
    """Connect to ``ws://host[:port][/path]`` or ``wss://…``.

    Raises `UsageError` for a malformed URL, `ConnectFailed` when no link came to be within
    ``options.handshake_timeout``.
    """
    address = _websocket_address(url)
    try:
        with trio.fail_after(options.handshake_timeout):
            stream = await sockets.dial(address, options, keepalive=False)
            return await _client_handshake(nursery, stream, url, address, options, encoding)
    except trio.TooSlowError as error:
        raise _no_answer(url, options) from error


async def open_client_websocket(
    nursery: trio.Nursery, stream: ByteStream, url: str, options: TransportOptions, encoding: Encoding = "json"
) -> WebSocketConnection:
    """Make the client's end of a WebSocket over a connected stream. Raises as `connect_websocket`."""
    try:
        with trio.fail_after(options.handshake_timeout):
            return await _client_handshake(nursery, stream, url, _websocket_address(url), options, encoding)
    except trio.TooSlowError as error:
        raise _no_answer(url, options) from error


def _websocket_address(url: str) -> Address:
    return parse(url, default_port=443 if url.lower().startswith("wss:") else 80)


def _no_answer(url: str, options: TransportOptions) -> ConnectFailed:
    return ConnectFailed(f"{url}: no answer within {options.handshake_timeout:g} seconds")


async def _client_handshake(
    nursery: trio.Nursery,
    stream: ByteStream,
    url: str,
    address: Address,
    options: TransportOptions,
    encoding: Encoding,
) -> WebSocketConnection:
    subprotocol = next((name for name, carried in SUBPROTOCOLS.items() if carried == encoding), None)
    if subprotocol is None:
        stream.abort()
        raise UsageError(f"unknown encoding {encoding!r}; there is json and msgpack")
    connection = WebSocketConnection(nursery, stream, url, options, format=CLIENT_FORMATS[encoding], server=False)
    gate, shaking = Gate(stream, connection._outlet, b"", b""), _Shaking(nursery)
    default_port = address.port == (443 if address.secure else 80)
    host = joined(address.host, address.port) if not default_port else joined(address.host, 0).removesuffix(":0")
    path = address.path if address.path.startswith("/") else f"/{address.path}"

    async def shake(tasks: trio.Nursery) -> library.WebSocketConnection:
        return await library.wrap_client_stream(
            tasks, cast(trio.SocketStream, gate), host, path, subprotocols=[subprotocol], **_library_options(options)
        )

    try:
        done = await shaking.run(shake)
        if done is None:
            raise ConnectFailed(f"{url}: {_handshake_sentence(shaking.failure)}") from shaking.failure
        if done.subprotocol != subprotocol and encoding != "json":
            raise ConnectFailed(f"{url}: the server does not speak {encoding}")
        connection._start_reading(gate.rest)
    except BaseException:
        connection.abort()
        raise
    return connection


def _handshake_sentence(failure: Exception | None) -> str:
    if isinstance(failure, library.ConnectionRejected):
        said = (failure.body or b"").decode("utf-8", "replace").strip()[:200]
        printable = "".join(char for char in said if char.isprintable())
        return f"the server refused: HTTP {failure.status_code}" + (f", {printable}" if printable else "")
    if failure is None:
        return "the server hung up during the handshake"
    return "what listens there is no WebSocket server"
