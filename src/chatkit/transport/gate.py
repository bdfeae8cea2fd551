"""The stream a WebSocket library is given: it reads through a meter and writes through the outlet.

Laws: the handshake's bytes pass unmetered and are over before a frame passes; no more than ``read_ahead`` bytes of
messages are read and not yet consumed; after a Close frame went out nothing does.
"""

from __future__ import annotations

import re

import trio

from chatkit.flag import Pulse
from chatkit.transport.frames import CLOSE, FIN, FrameMeter
from chatkit.transport.outlet import Outlet
from chatkit.transport.stream import Bytes, ByteStream
from chatkit.transport.upgrade import HEAD_END

READ_AHEAD = 262_144
"""Bytes received and not yet consumed before reading stops."""
ANSWER_BYTES = 65_536
"""What a server may answer before it agrees to be a WebSocket."""
CLOSE_FRAME = bytes((FIN | CLOSE,))
SWITCHING = re.compile(rb"HTTP/1\.[01] 101\b")


class Gate(trio.abc.Stream):
    """Between one `ByteStream` and the WebSocket library. Its owner closes the stream; the library only says so."""

    def __init__(self, stream: ByteStream, outlet: Outlet, meter: FrameMeter, replay: bytes, rest: bytes) -> None:
        """``replay`` are handshake bytes read already, ``rest`` the bytes after them."""
        self.heard = trio.current_time()
        self.listening = False
        """A read is under way, rather than waiting until messages are consumed."""
        self._stream = stream
        self._outlet = outlet
        self._meter = meter
        self._read_ahead = max(READ_AHEAD, 2 * meter.options.max_message_bytes)
        self._replay = replay
        self._rest = rest
        self._consumed = 0
        self._changed = Pulse()
        self._open = False
        """Frames may pass."""
        self._answer: bytearray | None = None
        """The server's answer so far; None when no answer is expected."""
        self._flooded = False
        self._shut = False
        """The library is done with the stream."""

    def expect_answer(self) -> None:
        """Be a client's gate: the peer's HTTP answer comes first."""
        self._answer = bytearray()

    def open(self) -> None:
        """Let frames pass: the handshake is done."""
        self._open = True
        self._changed.wake()

    def consumed(self, size: int) -> None:
        """A message of ``size`` bytes was taken."""
        self._consumed += size
        self._changed.wake()

    def open_floodgate(self) -> None:
        """Read on whatever is consumed: what comes is only thrown away."""
        self._flooded = True
        self._changed.wake()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self._replay:
            await trio.lowlevel.checkpoint()
            head, self._replay = self._replay, b""
            return head
        if self._answer is not None:
            return await self._receive_answer(max_bytes)
        while not self._shut and (not self._open or self._is_full()):
            await self._changed.wait()
        if self._shut or self._meter.offence is not None:
            raise trio.ClosedResourceError
        data = await self._next(max_bytes)
        passed = self._meter.feed(data, self.heard)
        if passed == len(data):
            return data
        if passed == 0:
            raise trio.ClosedResourceError
        return data[:passed]

    async def _next(self, max_bytes: int | None) -> bytes:
        if self._rest:
            await trio.lowlevel.checkpoint()
            data, self._rest = self._rest, b""
        else:
            self.listening = True
            try:
                data = await self._stream.receive_some(max_bytes)
            finally:
                self.listening = False
            self.heard = trio.current_time()
        return data

    def _is_full(self) -> bool:
        return not self._flooded and self._meter.payload_bytes - self._consumed >= self._read_ahead

    async def _receive_answer(self, max_bytes: int | None) -> bytes:
        """Pass on a server's answer: its head whole, so that no frame behind it escapes the meter, then its body."""
        answer = self._answer
        assert answer is not None
        start = len(answer)
        while True:
            data = await self._next(max_bytes)
            answer += data
            if not data or len(answer) > ANSWER_BYTES:
                return b""
            if start:  # the head of a refusal is passed on already, this is its body
                return data
            if end := HEAD_END.search(answer):
                break
        if not SWITCHING.match(answer):
            return bytes(answer)
        self._answer, self._rest = None, bytes(answer[end.end() :])
        self.open()
        return bytes(answer[: end.end()])

    async def send_all(self, data: Bytes) -> None:
        if self._outlet.over and not self._outlet.broken:
            await trio.lowlevel.checkpoint()  # after Close: the library's pongs and its own Close are not wanted
            return
        if data[:1] == CLOSE_FRAME:
            self._outlet.finish(bytes(data))
            await self._outlet.flush()
        else:
            await self._outlet.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._outlet.flush()

    async def aclose(self) -> None:
        self._shut = True
        await trio.lowlevel.checkpoint()
