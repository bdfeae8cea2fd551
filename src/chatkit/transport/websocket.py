"""The WebSocket binding: one message per frame. Nothing else of chatkit knows the WebSocket library.

The library shakes hands, reads frames and answers pings. Everything it writes passes the connection's `Outlet`, and
its reader task runs behind a barrier, so that whatever it raises ends this one connection and no other.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, TypedDict, cast

import trio
import trio_websocket as library
from attrs import evolve

from chatkit.errors import ConnectFailed, Disconnected, ProtocolError, UsageError
from chatkit.flag import Flag
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
from chatkit.transport.frames import BINARY, CLOSE, PING, TEXT, FrameMeter, close_payload, masked_frame
from chatkit.transport.gate import Gate
from chatkit.transport.interface import Connection, Encoding, HttpArrival, Listener, TransportOptions, WireFormat
from chatkit.transport.outlet import Outlet
from chatkit.transport.proxied import forwarded_for, is_trusted
from chatkit.transport.stream import ByteStream
from chatkit.transport.upgrade import SUBPROTOCOLS, Refused, RequestHead, answer, judge, parse_head, read_head, retold

QUEUED_MESSAGES = 64
"""Messages the library reads ahead; its own default, one, also stops pongs while nobody receives."""

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
        rest: bytes = b"",
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
        self._meter = FrameMeter(options)
        self._gate = Gate(stream, self._outlet, self._meter, head.raw if head else b"", rest)
        self._socket: library.WebSocketConnection | None = None
        self._message_type: type = str if format.encoding == "json" else bytes
        self._reading = trio.CancelScope()
        self._failure: Exception | None = None
        self._on_reader_end: Callable[[], None] = lambda: None
        self._closing = False
        self._discarding = False
        self._closed = Flag()
        self._end: tuple[int, str, bool | None] | None = None
        """What this end decided about the end of the link: code, reason, reconnect."""

    async def receive(self) -> bytes:
        message = await self.receive_any()
        if type(message) is not self._message_type:
            raise ProtocolError(
                "this link carries text frames; for bytes use data.binary, in base64"
                if self._message_type is str
                else "this link carries binary frames; text goes as JSON over the subprotocol chatkit.v1.json"
            )
        return message.encode() if isinstance(message, str) else message

    async def receive_any(self) -> str | bytes:
        """Return the next message, of whichever kind its frame is: for other uses than chatkit's protocol. Raises
        `Disconnected`."""
        assert self._socket is not None
        try:
            message: str | bytes = await self._socket.get_message()
        except library.ConnectionClosed as error:
            raise self._disconnected() from (self._failure or error)
        if self._discarding:  # of what still comes, the closing handshake takes its share
            raise self._disconnected()
        self._gate.consumed(_size_of(message))
        return message

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
        return self._gate.heard if self._gate.listening else trio.current_time()

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

    def start_soon(self, async_fn: Callable[..., Awaitable[object]], *args: object) -> None:
        """Stand in for a nursery towards the library: its reader task runs behind the barrier."""
        self._nursery.start_soon(self._run_reader, async_fn, args)

    async def _run_reader(self, reader: Callable[..., Awaitable[object]], args: tuple[object, ...]) -> None:
        try:
            with self._reading:
                await reader(*args)
        except Exception as error:  # the barrier: a peer's bytes may raise anything in there
            self._failure = error
        except BaseException:
            self.abort()
            raise
        finally:
            self._on_reader_end()
        if self._socket is not None and not self._closing and not self._closed.is_set():
            await self._let_go()

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
        if self._meter.offence is not None:
            self._end = self._end or (*self._meter.offence, None)
            return self._meter.offence
        if self._failure is not None:
            return SERVER_FAILED, "the connection failed"
        closed = self._socket.closed if self._socket else None
        if closed is None or closed.code == BROKEN:
            return PROTOCOL_ERROR, ""
        return int(closed.code), closed.reason or ""

    async def _shake_goodbye(self, code: int, reason: str) -> None:
        assert self._socket is not None
        self._discarding = True
        self._gate.open_floodgate()
        with suppress(*STREAM_ENDED):
            if not self._outlet.over:
                self._outlet.finish(self._frame(CLOSE, close_payload(code, reason)))
            await self._outlet.flush()
        with suppress(library.ConnectionClosed):
            while True:  # until the peer's Close, or its end
                await self._socket.get_message()

    def _disconnected(self) -> Disconnected:
        if self._end is None and self._meter.offence is not None:
            self._end = (*self._meter.offence, None)
        if self._end is not None:
            code, reason, reconnect = self._end
            return ended(code, reason, reconnect=reconnect)
        if self._outlet.timed_out:
            return ended(TOO_SLOW, f"the peer read nothing for {self._options.write_timeout:g} seconds")
        closed = self._socket.closed if self._socket else None
        if closed is None:
            return ended(BROKEN)
        return ended(int(closed.code), "" if closed.code == BROKEN else closed.reason or "")

    async def _shake(self, shake: Callable[[trio.Nursery, Gate], Awaitable[library.WebSocketConnection]]) -> bool:
        """Run the library's part of the handshake; False when its reader ended first, `_failure` says why."""
        with trio.CancelScope() as scope:
            self._on_reader_end = scope.cancel
            self._socket = await shake(cast(trio.Nursery, self), self._gate)
        self._on_reader_end = lambda: None
        return self._socket is not None


class _HandshakeOver:
    """In place of the library's handshake once it is over: it has no more events."""

    def events(self) -> Iterator[object]:
        """Return nothing."""
        return iter(())


HANDSHAKE_OVER = _HandshakeOver()


def _size_of(message: str | bytes) -> int:
    """Return how many bytes a message was on the wire."""
    return len(message.encode()) if isinstance(message, str) and not message.isascii() else len(message)


def _telling(head: RequestHead) -> tuple[tuple[str, str], ...]:
    """Return the headers worth keeping for as long as a connection lives."""
    return tuple((name, value) for name, value in head.headers if name in ("origin", "user-agent"))


def _forget_handshake(accepted: library.WebSocketConnection) -> None:
    """Let go of what the library keeps of a handshake that is over: nothing comes of it any more, and it is several
    kilobytes for every idle connection."""
    protocol: Any = getattr(accepted, "_wsproto", None)
    if getattr(protocol, "connection", None) is not None:
        protocol.handshake = HANDSHAKE_OVER


class LibraryOptions(TypedDict):
    """What both kinds of handshake tell the library."""

    message_queue_size: int
    max_message_size: int
    receive_buffer_size: int


def _library_options(options: TransportOptions) -> LibraryOptions:
    return {
        "message_queue_size": QUEUED_MESSAGES,
        "max_message_size": options.max_message_bytes,  # the meter, which counts bytes, is always first
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
            nursery,
            self._stream,
            self.url,
            self._options,
            format=format,
            server=True,
            head=evolve(head, raw=retold(head, chosen)),
            rest=self._rest,
        )

        async def shake(tasks: trio.Nursery, gate: Gate) -> library.WebSocketConnection:
            request = await library.wrap_server_stream(tasks, gate, **_library_options(self._options))
            accepted = await request.accept(subprotocol=chosen)
            gate.open()
            _forget_handshake(accepted)
            return accepted

        try:
            done = await connection._shake(shake)
        except library.ConnectionClosed as error:
            connection.abort()
            raise ended(BROKEN, "the peer left during the handshake") from error
        except BaseException:
            connection.abort()
            raise
        if not done:
            connection.abort()
            raise ProtocolError("the handshake failed") from connection._failure
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
    connection._gate.expect_answer()
    default_port = address.port == (443 if address.secure else 80)
    host = joined(address.host, address.port) if not default_port else joined(address.host, 0).removesuffix(":0")
    path = address.path if address.path.startswith("/") else f"/{address.path}"

    async def shake(tasks: trio.Nursery, gate: Gate) -> library.WebSocketConnection:
        return await library.wrap_client_stream(
            tasks, cast(trio.SocketStream, gate), host, path, subprotocols=[subprotocol], **_library_options(options)
        )

    try:
        done = await connection._shake(shake)
        if not done:
            raise ConnectFailed(f"{url}: {_handshake_sentence(connection._failure)}") from connection._failure
        assert connection._socket is not None
        if connection._socket.subprotocol != subprotocol and encoding != "json":
            raise ConnectFailed(f"{url}: the server does not speak {encoding}")
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
