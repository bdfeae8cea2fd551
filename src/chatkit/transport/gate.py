"""The stream a WebSocket library is given for its handshake: it reads what the handshake is made of, and no more.

Laws: no byte behind the handshake is read through a gate. Once it is over the gate gives nothing, until whoever reads
is cancelled; what was read too far is in `Gate.rest`.
"""

from __future__ import annotations

import re

import trio

from chatkit.transport.outlet import Outlet
from chatkit.transport.stream import Bytes, ByteStream
from chatkit.transport.upgrade import HEAD_END

ANSWER_BYTES = 65_536
"""What a server may answer before it agrees to be a WebSocket."""
SWITCHING = re.compile(rb"HTTP/1\.[01] 101\b")


class Gate(trio.abc.Stream):
    """Between one `ByteStream` and the WebSocket library. Its owner closes the stream."""

    def __init__(self, stream: ByteStream, outlet: Outlet, replay: bytes, rest: bytes) -> None:
        """``replay`` are the bytes of a request, read already, and ``rest`` those after them; without them this is a
        client's gate, and the server's answer is to come."""
        self.rest = rest
        """What came behind the handshake."""
        self._stream = stream
        self._outlet = outlet
        self._replay = replay
        self._answer: bytearray | None = None if replay else bytearray()
        """The server's answer so far; None when no answer is expected."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self._replay:
            await trio.lowlevel.checkpoint()
            head, self._replay = self._replay, b""
            return head
        if self._answer is None:
            await trio.sleep_forever()
        return await self._receive_answer(max_bytes)

    async def _receive_answer(self, max_bytes: int | None) -> bytes:
        """Pass on a server's answer: its head whole, so that no frame behind it gets lost, then its body."""
        answer = self._answer
        assert answer is not None
        start = len(answer)
        while True:
            data = await self._stream.receive_some(max_bytes)
            answer += data
            if not data or len(answer) > ANSWER_BYTES:
                return b""
            if start:  # the head of a refusal is passed on already, this is its body
                return data
            if end := HEAD_END.search(answer):
                break
        if not SWITCHING.match(answer):
            return bytes(answer)
        self._answer, self.rest = None, bytes(answer[end.end() :])
        return bytes(answer[: end.end()])

    async def send_all(self, data: Bytes) -> None:
        await self._outlet.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._outlet.flush()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
