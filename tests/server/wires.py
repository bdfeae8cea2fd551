"""Raw links to a server: what stands on the wire, seen without chatkit's own client."""

from __future__ import annotations

import json
import re
import socket
import ssl
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import msgpack
import trio
import trio_websocket
import trustme
from attrs import define, evolve, field

from chatkit.backend.interface import Backend
from chatkit.errors import Disconnected
from chatkit.private import private_nursery
from chatkit.server import Extension, Server, ServerConfig, open_server
from chatkit.server.authenticator import Authenticator
from chatkit.transport import open_connection
from chatkit.transport.interface import Connection, TransportOptions

KINDS = ("tcp", "ws", "msgpack", "memory", "tls", "wss")
LISTEN = ("ws://127.0.0.1:0", "tcp://127.0.0.1:0", "memory://", "tls://127.0.0.1:0", "wss://127.0.0.1:0")
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)
PATIENCE = 10.0
"""Seconds after which a server that should have answered has not."""

Envelope = dict[str, Any]
LocalStream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


@define(eq=False)
class Wire(ABC):
    """One end of a link, envelope by envelope."""

    events: deque[Envelope] = field(factory=deque)
    """Events that came while something else was waited for."""
    token: str = ""

    @abstractmethod
    async def send_raw(self, message: bytes) -> None:
        """Send one message's bytes as they are."""

    @abstractmethod
    async def receive_raw(self) -> bytes | str | None:
        """Receive one message; None at the end."""

    @abstractmethod
    async def aclose(self) -> None:
        """Say goodbye and close."""

    def cut(self) -> None:
        """Let go of the link without a word; cutting it again does nothing."""
        return

    @abstractmethod
    def close_reason(self) -> tuple[int, str]:
        """The code and reason the server ended the link with."""

    def encode(self, envelope: Envelope) -> bytes:
        return json.dumps(envelope, ensure_ascii=False).encode()

    def decode(self, raw: bytes | str) -> Envelope:
        assert isinstance(raw, str), "JSON travels as text"
        envelope: Envelope = json.loads(raw)
        return envelope

    # ── envelopes ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def receive(self) -> Envelope:
        with trio.fail_after(PATIENCE):
            raw = await self.receive_raw()
        assert raw is not None, f"the link ended: {self.close_reason()}"
        envelope = self.decode(raw)
        assert TIMESTAMP.fullmatch(envelope["timestamp"]), envelope
        keys = {"action", "data", "timestamp"}
        assert set(envelope) - {"ref"} == keys, envelope
        assert "ref" not in envelope or envelope["action"] in ("success", "error"), envelope
        return envelope

    async def send(self, action: str, ref: Any = None, **data: Any) -> None:
        await self.send_raw(self.encode(request(action, ref, **data)))

    async def reply(self) -> Envelope:
        """The next reply; events before it are put aside."""
        while (envelope := await self.receive())["action"] not in ("success", "error"):
            self.events.append(envelope)
        return envelope

    async def ask(self, action: str, ref: Any = None, **data: Any) -> Envelope:
        await self.send(action, ref, **data)
        return await self.reply()

    async def data(self, action: str, **data: Any) -> Any:
        """Ask, and return the data of the success."""
        reply = await self.ask(action, **data)
        assert reply["action"] == "success", reply
        return reply["data"]

    async def code(self, action: str, **data: Any) -> str:
        """Ask, and return the code of the error."""
        reply = await self.ask(action, **data)
        assert reply["action"] == "error", reply
        assert set(reply["data"]) <= {"code", "message", "retry_after", "scope"}
        assert reply["data"]["message"]
        return str(reply["data"]["code"])

    async def event(self, *actions: str, **fields: Any) -> Envelope:
        """The next event of these actions with these fields; others before it are dropped."""
        while True:
            envelope = self.events.popleft() if self.events else await self.receive()
            data = envelope["data"]
            if envelope["action"] in actions and all(data.get(key) == value for key, value in fields.items()):
                return envelope

    async def texts(self, until: str, room: str = "general") -> list[tuple[int, str]]:
        """The seqs and texts of the messages up to one, itself included."""
        found: list[tuple[int, str]] = []
        while not found or found[-1][1] != until:
            data = (await self.event("receive_message", room=room))["data"]
            found.append((data["seq"], data["text"]))
        return found

    async def sync(self) -> None:
        """Return when everything sent to this link so far has come."""
        await self.data("list_rooms")

    async def wait_end(self) -> tuple[int, str]:
        """Read to the end; events are put aside. Return the code and reason."""
        with trio.fail_after(PATIENCE):
            while (raw := await self.receive_raw()) is not None:
                self.events.append(self.decode(raw))
        return self.close_reason()


@define(eq=False)
class TcpWire(Wire):
    stream: LocalStream = field(kw_only=True)
    buffer: bytearray = field(factory=bytearray)
    closing: Envelope | None = None

    async def send_raw(self, message: bytes) -> None:
        await self.stream.send_all(message + b"\n")

    async def receive_raw(self) -> str | None:
        while b"\n" not in self.buffer:
            try:
                data = await self.stream.receive_some(65536)
            except trio.BrokenResourceError:
                data = b""
            if not data:
                assert not self.buffer, f"half a line before the end: {bytes(self.buffer[:200])!r}"
                return None
            self.buffer += data
        line, _, rest = bytes(self.buffer).partition(b"\n")
        self.buffer[:] = rest
        assert self.closing is None, "something came behind the closing event"
        if b'"closing"' in line:
            envelope = json.loads(line)
            self.closing = envelope if envelope["action"] == "closing" else None
        return line.decode()

    def close_reason(self) -> tuple[int, str]:
        if self.closing is None:
            return 1006, ""
        return self.closing["data"]["code"], self.closing["data"]["reason"]

    async def aclose(self) -> None:
        await self.stream.aclose()

    def cut(self) -> None:
        cut(self.stream)


@define(eq=False)
class WebSocketWire(Wire):
    socket: trio_websocket.WebSocketConnection = field(kw_only=True)
    stream: LocalStream = field(kw_only=True)

    async def send_raw(self, message: bytes) -> None:
        await self.socket.send_message(message.decode())

    async def receive_raw(self) -> bytes | str | None:
        try:
            message: bytes | str = await self.socket.get_message()
        except trio_websocket.ConnectionClosed:
            return None
        return message

    def close_reason(self) -> tuple[int, str]:
        closed = self.socket.closed
        assert closed is not None
        return closed.code, closed.reason or ""

    async def aclose(self) -> None:
        await self.socket.aclose()

    def cut(self) -> None:
        cut(self.stream)


@define(eq=False)
class MsgpackWire(WebSocketWire):
    async def send_raw(self, message: bytes) -> None:
        await self.socket.send_message(message)

    def encode(self, envelope: Envelope) -> bytes:
        return bytes(msgpack.packb(envelope))

    def decode(self, raw: bytes | str) -> Envelope:
        assert isinstance(raw, bytes), "MessagePack travels in binary frames"
        envelope: Envelope = msgpack.unpackb(raw)
        return envelope


@define(eq=False)
class MemoryWire(Wire):
    connection: Connection = field(kw_only=True)
    ended: Disconnected | None = None

    async def send_raw(self, message: bytes) -> None:
        await self.connection.send(message)

    async def receive_raw(self) -> str | None:
        try:
            return (await self.connection.receive()).decode()
        except Disconnected as error:
            self.ended = error
            return None

    def close_reason(self) -> tuple[int, str]:
        return (self.ended.code, self.ended.reason) if self.ended else (1006, "")

    async def aclose(self) -> None:
        await self.connection.aclose()

    def cut(self) -> None:
        self.connection.abort()


@define(eq=False)
class Site:
    """A server and the raw links to it."""

    server: Server
    nursery: trio.Nursery
    wires: list[Wire] = field(factory=list)

    def url(self, scheme: str) -> str:
        return next(url for url in self.server.addresses if url.startswith(f"{scheme}:"))

    async def wire(self, kind: str = "tcp", *, hello: bool = True) -> Wire:
        """Connect; by default the server's hello has been read."""
        wire = await self._connect(kind)
        self.wires.append(wire)
        if hello:
            assert (await wire.receive())["action"] == "hello"
        return wire

    async def _connect(self, kind: str) -> Wire:
        if kind in ("tcp", "tls"):
            return TcpWire(stream=await dial(self.url(kind)))
        if kind == "memory":
            return MemoryWire(
                connection=await open_connection(
                    self.nursery, self.url("memory"), TransportOptions(max_message_bytes=4_194_304), "json"
                )
            )
        if kind == "msgpack":
            return await self.web_socket(["chatkit.v1.msgpack"], MsgpackWire)
        return await self.web_socket(["chatkit.v1.json"], scheme=kind)

    async def web_socket(
        self,
        subprotocols: Sequence[str] = (),
        wire: type[WebSocketWire] | None = None,
        path: str = "/ws",
        *,
        scheme: str = "ws",
    ) -> WebSocketWire:
        """Connect a WebSocket; what it speaks is what was asked for."""
        url = self.url(scheme)
        address, stream = url.partition("://")[2], await dial(url)
        try:
            socket = await trio_websocket.wrap_client_stream(
                self.nursery,
                stream,
                address,
                path,
                subprotocols=subprotocols,
                max_message_size=4_194_304,
                message_queue_size=1000,
            )
        except BaseException:
            cut(stream)
            raise
        assert socket.subprotocol in (None, *subprotocols)
        return (wire or WebSocketWire)(socket=socket, stream=stream)

    async def user(self, name: str, kind: str = "tcp", **login: Any) -> Wire:
        """Connect and log in."""
        wire = await self.wire(kind)
        reply = await wire.data("login", user=name, **login)
        wire.events.clear()
        wire.token = reply["token"]
        return wire


@asynccontextmanager
async def site(
    store: str | Backend = "memory://",
    *,
    extensions: Iterable[Extension] = (),
    config: ServerConfig | None = None,
    listen: Iterable[str] = LISTEN,
    authenticator: Authenticator | None = None,
) -> AsyncIterator[Site]:
    """Run a server for raw links, which are cut at the end."""
    config = evolve(config or ServerConfig(rate_limits=False), ssl_context=certificates()[0])
    async with (
        open_server(store, listen=listen, extensions=extensions, config=config, authenticator=authenticator) as server,
        private_nursery(lambda nursery: nursery.cancel_scope.cancel()) as nursery,
    ):
        here = Site(server, nursery)
        try:
            yield here
        finally:
            for wire in here.wires:
                wire.cut()


async def dial(url: str) -> LocalStream:
    """Connect to an address of this machine, with TLS if it says so; the kernel holds no more than 64 KiB that have
    not been read."""
    stream = await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2]))
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    if not url.startswith(("tls:", "wss:")):
        return stream
    return trio.SSLStream(stream, certificates()[1], server_hostname="127.0.0.1", https_compatible=True)


def cut(stream: LocalStream) -> None:
    """Close a stream's socket, and say nothing before."""
    plain = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
    plain.socket.close()


@cache
def certificates() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return a server's and a client's TLS context that fit each other."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


def request(action: str, ref: Any = None, **data: Any) -> Envelope:
    envelope: Envelope = {"action": action, "data": data}
    return envelope if ref is None else envelope | {"ref": ref}
