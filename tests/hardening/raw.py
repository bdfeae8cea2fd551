"""Raw links: sockets that say any bytes at all, to a server or as one. Knows nothing of chatkit."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import trio
from attrs import define, field
from wire_frames import CLOSE, CONTINUATION, CONTROL, TEXT, Frame, FrameReader, frame

PATIENCE = 20.0
"""Seconds after which something that should have come has not, on a machine that is busy with other things."""
BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
HEAD_END = b"\r\n\r\n"


def accept_of(key: bytes) -> bytes:
    """Return what a server answers to a key."""
    return base64.b64encode(hashlib.sha1(key + GUID).digest())


def upgrade(path: str = "/ws", *extra: str, host: str = "127.0.0.1", protocol: str | None = "chatkit.v1.json") -> bytes:
    """Return a good request for a WebSocket."""
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        "Sec-WebSocket-Version: 13",
        *([f"Sec-WebSocket-Protocol: {protocol}"] if protocol else []),
        *extra,
    ]
    return "\r\n".join(lines).encode() + HEAD_END


@define(eq=False)
class Raw:
    """One end of a TCP or TLS link."""

    stream: trio.abc.Stream
    sock: trio.socket.SocketType
    received: bytearray = field(factory=bytearray)
    frames: FrameReader = field(factory=FrameReader)

    async def send(self, data: bytes) -> None:
        """Send bytes. Says nothing if the other end is gone: that shows when something is read."""
        with suppress(*BROKEN):
            await self.stream.send_all(data)

    async def more(self) -> bytes:
        """Read some bytes; none at the end, of whatever kind. Fails after `PATIENCE`."""
        with trio.fail_after(PATIENCE):
            try:
                return bytes(await self.stream.receive_some(65_536))
            except BROKEN:
                return b""

    async def until(self, mark: bytes) -> bytes:
        """Read up to a mark; what comes behind it is kept. At the end: what there was."""
        while mark not in self.received:
            data = await self.more()
            if not data:
                break
            self.received += data
        found, mark, rest = bytes(self.received).partition(mark)
        self.received[:] = rest
        return found + mark

    async def rest(self) -> bytes:
        """Read to the end."""
        while data := await self.more():
            self.received += data
        rest, self.received = bytes(self.received), bytearray()
        return rest

    # ── WebSocket ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def open_websocket(self, request: bytes | None = None) -> bytes:
        """Shake hands as a client; return the answer's head."""
        await self.send(request or upgrade())
        head = await self.until(HEAD_END)
        self.frames.feed(bytes(self.received))
        self.received.clear()
        return head

    async def frame(self) -> Frame | None:
        """Read a frame; None at the end."""
        while (found := self.frames.next_frame()) is None:
            data = await self.more()
            if not data:
                return None
            self.frames.feed(data)
        return found

    async def all_frames(self) -> list[Frame]:
        """Read frames up to the end."""
        found = []
        while (one := await self.frame()) is not None:
            found.append(one)
        return found

    async def message(self) -> tuple[int, bytes] | int | None:
        """Read a message and its kind; a Close frame's code or 1005; None at the end. Other control frames are
        dropped."""
        parts: list[Frame] = []
        while (one := await self.frame()) is not None:
            if one.opcode == CLOSE:
                return one.code or 1005
            if one.opcode & CONTROL:
                continue
            assert (one.opcode == CONTINUATION) == bool(parts), "fragments of two messages are mixed"
            parts.append(one)
            if one.fin:
                return parts[0].opcode, b"".join(part.payload for part in parts)
        return None

    # ── ends ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def end(self) -> None:
        """Close our half."""
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close with a reset."""
        with suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        """Close."""
        self.sock.close()


@asynccontextmanager
async def raw_link(
    url: str,
    context: ssl.SSLContext | None = None,
    *,
    source: str | None = None,
    receive_buffer: int | None = None,
) -> AsyncIterator[Raw]:
    """Connect to where a URL says, with TLS if it says so and there is a context; closed at the end of the block."""
    raw = await dial(url, context, source=source, receive_buffer=receive_buffer)
    try:
        yield raw
    finally:
        raw.close()


async def dial(
    url: str,
    context: ssl.SSLContext | None = None,
    *,
    source: str | None = None,
    receive_buffer: int | None = None,
) -> Raw:
    """As `raw_link`, for the caller to close."""
    where = urlsplit(url)
    sock = trio.socket.socket()
    try:
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source is not None:
            await sock.bind((source, 0))
        await sock.connect((where.hostname, where.port))
        stream: trio.abc.Stream = trio.SocketStream(sock)
        if context is not None and where.scheme in ("wss", "tls"):
            stream = trio.SSLStream(stream, context, server_hostname="localhost", https_compatible=True)
            with trio.fail_after(PATIENCE):
                await stream.do_handshake()
    except BaseException:
        sock.close()
        raise
    return Raw(stream, sock)


# ── a member, by hand ────────────────────────────────────────────────────────────────────────────────────────────────


@define(eq=False)
class Member:
    """Somebody who speaks the protocol over a raw link, JSON on either binding."""

    raw: Raw
    lines: bool
    events: list[dict[str, Any]] = field(factory=list)

    async def say(self, action: str, ref: object = None, **data: object) -> None:
        """Send a request."""
        envelope = {"action": action, "data": data} | ({} if ref is None else {"ref": ref})
        await self.say_raw(json.dumps(envelope).encode())

    async def say_raw(self, message: bytes) -> None:
        """Send the bytes of one message."""
        await self.raw.send(message + b"\n" if self.lines else frame(TEXT, message))

    async def hear(self) -> dict[str, Any] | None:
        """Return the next envelope; None at the end, after which `code` may say why."""
        if self.lines:
            line = await self.raw.until(b"\n")
            return json.loads(line) if line.endswith(b"\n") else None
        message = await self.raw.message()
        if isinstance(message, int):
            return {"action": "closing", "data": {"code": message}}
        return None if message is None else json.loads(message[1])

    async def reply(self) -> dict[str, Any]:
        """Return the next reply; events are put aside."""
        while True:
            envelope = await self.hear()
            assert envelope is not None, "the link ended"
            if envelope["action"] in ("success", "error"):
                return envelope
            assert envelope["action"] != "closing", envelope
            self.events.append(envelope)

    async def ask(self, action: str, ref: object = None, **data: object) -> dict[str, Any]:
        """Send a request and return its reply."""
        await self.say(action, ref, **data)
        return await self.reply()

    async def code(self) -> int:
        """Read to the end; return the code the server ended it with, 1006 if it said none."""
        while (envelope := await self.hear()) is not None:
            if envelope["action"] == "closing":
                return int(envelope["data"]["code"])
        return 1006


@asynccontextmanager
async def member(
    url: str, context: ssl.SSLContext | None = None, user: str | None = None, **options: Any
) -> AsyncIterator[Member]:
    """Connect, hear the hello, and log in if there is a name to."""
    async with raw_link(url, context, **options) as raw:
        here = Member(raw, url.startswith(("tcp", "tls")))
        await greet(here, user)
        yield here


async def greet(here: Member, user: str | None = None) -> None:
    """Shake hands, hear the hello, and log in if there is a name to."""
    if not here.lines:
        head = await here.raw.open_websocket()
        assert head.startswith(b"HTTP/1.1 101"), head
    hello = await here.hear()
    assert hello is not None, "no hello"
    assert hello["action"] == "hello"
    here.events.append(hello)
    if user is not None:
        reply = await here.ask("login", user=user)
        assert reply["action"] == "success", reply


# ── a server of any kind ─────────────────────────────────────────────────────────────────────────────────────────────


@define(eq=False)
class RawServer:
    """Somebody who listens and says whatever the test says; counts who came."""

    port: int
    links: int = 0


@asynccontextmanager
async def raw_server(behave: Callable[[Raw], Awaitable[object]]) -> AsyncIterator[RawServer]:
    """Listen; each link is handed to ``behave``, and closed when that returns."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    server = RawServer(listener.socket.getsockname()[1])

    async def serve(stream: trio.SocketStream) -> None:
        server.links += 1
        raw = Raw(stream, stream.socket)
        try:
            with suppress(*BROKEN, trio.TooSlowError):
                await behave(raw)
        finally:
            raw.close()

    async with listener, trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield server
        nursery.cancel_scope.cancel()


async def agree(raw: Raw, *, protocol: bytes | None = b"chatkit.v1.json") -> None:
    """Shake hands as a WebSocket server."""
    request = await raw.until(HEAD_END)
    if not request.endswith(HEAD_END):
        raise trio.BrokenResourceError
    (key,) = (
        line.partition(b":")[2].strip()
        for line in request.split(b"\r\n")
        if line.lower().startswith(b"sec-websocket-key")
    )
    answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    answer += b"Sec-WebSocket-Accept: " + accept_of(key) + b"\r\n"
    answer += b"Sec-WebSocket-Protocol: " + protocol + b"\r\n" if protocol else b""
    await raw.send(answer + b"\r\n")
    raw.frames.feed(bytes(raw.received))
    raw.received.clear()
