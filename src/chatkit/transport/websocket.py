"""The WebSocket binding: one message per frame. Nothing else of chatkit knows the WebSocket library.

The library shakes hands, behind a barrier, so that whatever it raises ends this one handshake; then the connection
reads for itself (`websocket_link`).
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

from chatkit.errors import ConnectFailed, ProtocolError, UsageError
from chatkit.protocol.framing import websocket_frame
from chatkit.transport import sockets
from chatkit.transport.address import Address, joined, parse
from chatkit.transport.closing import (
    BROKEN,
    LINGER_SECONDS,
    ended,
)
from chatkit.transport.frames import BINARY, TEXT, masked_frame
from chatkit.transport.gate import Gate
from chatkit.transport.interface import Encoding, HttpArrival, Listener, TransportOptions, WireFormat
from chatkit.transport.proxied import forwarded_for, is_trusted
from chatkit.transport.stream import ByteStream
from chatkit.transport.upgrade import SUBPROTOCOLS, Refused, RequestHead, answer, judge, parse_head, read_head, retold
from chatkit.transport.websocket_link import WebSocketConnection
from chatkit.transport.written import STREAM_ENDED

SERVER_FORMATS: dict[Encoding, WireFormat] = {
    "json": WireFormat("json/websocket", "json", partial(websocket_frame, TEXT)),
    "msgpack": WireFormat("msgpack/websocket", "msgpack", partial(websocket_frame, BINARY)),
}
CLIENT_FORMATS: dict[Encoding, WireFormat] = {
    "json": WireFormat("json/websocket/masked", "json", partial(masked_frame, TEXT)),
    "msgpack": WireFormat("msgpack/websocket/masked", "msgpack", partial(masked_frame, BINARY)),
}


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

        gate = Gate(self._stream, connection.outlet, retold(head, chosen), self._rest)
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
        connection.start_reading(gate.rest)
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
    gate, shaking = Gate(stream, connection.outlet, b"", b""), _Shaking(nursery)
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
        connection.start_reading(gate.rest)
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
