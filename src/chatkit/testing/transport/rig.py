"""What the checks try: a link with both its ends in hand, and messages to send over it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import trio
from attrs import evolve, frozen

from chatkit.errors import Disconnected, ProtocolError, UsageError
from chatkit.transport import Connection, Encoding, Listener, TransportOptions

Connect = Callable[[trio.Nursery, str, TransportOptions, Encoding], Awaitable[Connection]]
Listen = Callable[[str, TransportOptions], Awaitable[Listener]]


@frozen(kw_only=True)
class Pair:
    """The two ends of one link."""

    client: Connection
    server: Connection


@frozen(kw_only=True)
class Rig:
    """The transport to check, and how to reach it."""

    url: str
    encoding: Encoding
    server_options: TransportOptions
    client_options: TransportOptions
    listen: Listen
    connect: Connect

    @asynccontextmanager
    async def pair(self, **limits: Any) -> AsyncIterator[Pair]:
        """Open a link; what is left of it when the block ends is aborted."""
        async with self.listening(**limits) as listener, trio.open_nursery() as nursery:
            ends = await self.link(nursery, listener)
            try:
                yield ends
            finally:
                ends.client.abort()
                ends.server.abort()
                nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def listening(self, **limits: Any) -> AsyncIterator[Listener]:
        """Listen until the block ends, under other limits than the options'."""
        listener = await self.listen(self.url, evolve(self.server_options, **limits))
        try:
            yield listener
        finally:
            listener.close()

    async def link(self, nursery: trio.Nursery, listener: Listener) -> Pair:
        """Connect to a listener and shake hands; if that fails, neither end is left."""
        accepted: list[Connection] = []

        async def accept() -> None:
            arrival = await listener.accept()
            assert isinstance(arrival.peer, str), "an arrival names its peer"
            accepted.append(await arrival.handshake(nursery))

        ends: list[Connection] = []
        try:
            async with trio.open_nursery() as meeting:
                meeting.start_soon(accept)
                ends.append(await self.connect(nursery, listener.url, self.client_options, self.encoding))
        except BaseException:
            for end in ends + accepted:
                end.abort()
            raise
        return Pair(client=ends[0], server=accepted[0])

    def message(self, number: int, size: int = 0) -> bytes:
        """Return a message of the encoding, of about ``size`` bytes."""
        if self.encoding == "json":
            return orjson.dumps({"action": "x", "n": number, "pad": "ü" * (size // 2)})
        return (
            b"\x82\xa1n\xce"
            + number.to_bytes(4, "big")
            + b"\xa1p\xc6"
            + size.to_bytes(4, "big")
            + b"\n\0" * (size // 2)
        )


async def disconnected(connection: Connection) -> Disconnected:
    """Receive until the link ends; return how it did."""
    while True:
        try:
            await connection.receive()
        except Disconnected as error:
            return error
        except (ProtocolError, UsageError) as error:
            raise AssertionError("the link ended otherwise than by Disconnected") from error
