"""TLS over any byte stream."""

from __future__ import annotations

import ssl

import trio

from chatkit.transport.stream import Bytes, ByteStream

RECORD_BYTES = 16_384
"""A TLS record at most, so that a slow reader's progress shows."""


class TlsStream(ByteStream):
    """A TLS link. Nothing is written directly: encryption keeps state, so every byte goes by the outlet's writer task.

    ``close_notify`` is neither sent nor required, as with HTTPS: the bindings mark the ends of messages and of the
    conversation themselves.
    """

    def __init__(
        self, stream: ByteStream, context: ssl.SSLContext, *, server_side: bool, hostname: str | None = None
    ) -> None:
        self.peer = stream.peer
        self._inner = stream
        self._tls = trio.SSLStream(
            stream, context, server_side=server_side, server_hostname=hostname, https_compatible=True
        )

    async def start(self) -> None:
        await self._inner.start()
        self.peer = self._inner.peer
        await self._tls.do_handshake()

    def try_send(self, data: Bytes) -> int:
        return 0

    async def send_some(self, data: Bytes) -> int:
        record = data[:RECORD_BYTES]
        await self._tls.send_all(record)
        return len(record)

    async def wait_send_all_might_not_block(self) -> None:
        await self._tls.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self._tls.receive_some(max_bytes))

    def send_eof(self) -> None:
        self._inner.send_eof()

    def close(self) -> None:
        self._inner.close()

    def abort(self) -> None:
        self._inner.abort()
