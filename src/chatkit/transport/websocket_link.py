"""One end of a WebSocket once the handshake is over: it reads frames in one task, and writes through its `Outlet`.

Laws: whatever a peer's bytes bring about ends this one connection and no other; what was said before the end is taken
before the end is told and answered, unless nobody takes it; after a Close frame went out nothing does.
"""

from __future__ import annotations

from contextlib import suppress

import trio
from attrs import evolve

from chatkit.errors import Disconnected, ProtocolError, UsageError
from chatkit.flag import Flag, Pulse
from chatkit.protocol.framing import websocket_frame
from chatkit.transport.closing import (
    BROKEN,
    LINGER_SECONDS,
    PROTOCOL_ERROR,
    SERVER_FAILED,
    TOO_SLOW,
    ended,
)
from chatkit.transport.frames import BINARY, CLOSE, PING, PONG, TEXT, close_payload, masked_frame
from chatkit.transport.inbound import Inbound, Message
from chatkit.transport.interface import TransportOptions, WireFormat
from chatkit.transport.outlet import Outlet
from chatkit.transport.stream import ByteStream
from chatkit.transport.upgrade import RequestHead
from chatkit.transport.written import STREAM_ENDED, WrittenConnection

READ_AHEAD = 262_144
"""Bytes of messages that wait before reading stops."""
AT_HAND = 32
"""Messages that one task may take in a row, because they are there, before the others have their turn."""


class WebSocketConnection(WrittenConnection):
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
        self.outlet = Outlet(stream, nursery, options.outlet_bytes, options.write_timeout)
        """Whoever shakes hands writes through it, too."""
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

    async def send_any(self, message: str | bytes) -> None:
        """Send text as a text frame, bytes as a binary one. As `send`."""
        opcode, payload = (TEXT, message.encode()) if isinstance(message, str) else (BINARY, message)
        try:
            await self.outlet.send_all(self._frame(opcode, payload))
        except STREAM_ENDED as error:
            raise self._disconnected() from error

    async def ping(self) -> None:
        await trio.lowlevel.checkpoint()
        self.outlet.push(self._frame(PING, b""))

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
        self.outlet.abort()
        self._reading.cancel()
        self._closed.set()

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def start_reading(self, rest: bytes) -> None:
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
        if self._inbound.closed is not None and not self.outlet.over:
            self.outlet.finish(self._frame(CLOSE, self._inbound.farewell))

    def _is_full(self) -> bool:
        inbound = self._inbound
        if inbound.over or self._discarding:
            return False
        return inbound.backlog or inbound.waiting_bytes >= self._read_ahead

    async def _take_in(self, data: bytes) -> None:
        self._inbound.feed(data, self._heard)
        while self._answer() and self.outlet.waiting_bytes:
            await self.outlet.flush()  # who sends pings has to read the answers

    def _go_on(self) -> None:
        """Take apart what was left while enough messages waited, and let the reader read on."""
        self._inbound.go_on()
        self._answer()
        self._taken.wake()

    def _answer(self) -> bool:
        """Do what the bytes that were taken apart ask for: wake whoever receives, answer pings. Return whether there
        were any."""
        inbound, outlet = self._inbound, self.outlet
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
            if not self.outlet.over:
                self.outlet.finish(self._frame(CLOSE, close_payload(*self._verdict())))
            with trio.move_on_after(self._options.close_timeout), suppress(*STREAM_ENDED):
                await self.outlet.flush()
            await self._stream.linger(LINGER_SECONDS)
        finally:
            self.outlet.abort()
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
            if not self.outlet.over:
                self.outlet.finish(self._frame(CLOSE, close_payload(code, reason)))
            await self.outlet.flush()
        await self._ended.wait()  # the peer's Close, or its end

    def _disconnected(self) -> Disconnected:
        inbound = self._inbound
        if self._end is None and inbound.fault is not None:
            self._end = (*inbound.fault, None)
        if self._end is not None:
            code, reason, reconnect = self._end
            return ended(code, reason, reconnect=reconnect)
        if self.outlet.timed_out:
            return ended(TOO_SLOW, f"the peer read nothing for {self._options.write_timeout:g} seconds")
        return ended(*(inbound.closed or (BROKEN, "")))


def _telling(head: RequestHead) -> tuple[tuple[str, str], ...]:
    """Return the headers worth keeping for as long as a connection lives."""
    return tuple((name, value) for name, value in head.headers if name in ("origin", "user-agent"))
