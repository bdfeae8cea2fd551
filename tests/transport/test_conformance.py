"""Every transport of ours, held to the laws."""

from __future__ import annotations

from itertools import count
from typing import ClassVar

import pytest
import trio

from chatkit.errors import ConnectFailed
from chatkit.testing.transport import check_transport
from chatkit.transport.interface import Arrival, Connection, Encoding, Listener, TransportOptions
from chatkit.transport.pipe import memory_pair
from chatkit.transport.stream import ByteStream
from chatkit.transport.websocket import WebSocketArrival, open_client_websocket


@pytest.mark.parametrize(
    "url", ["memory://", "tcp://127.0.0.1:0", "tcp://[::1]:0", "ws://127.0.0.1:0", "ws://localhost:0/ws"]
)
async def test_json(url: str) -> None:
    await check_transport(url)


async def test_msgpack() -> None:
    await check_transport("ws://127.0.0.1:0/ws", encoding="msgpack")


@pytest.mark.parametrize("url", ["tls://localhost:0", "wss://127.0.0.1:0/ws"])
async def test_encrypted(url: str, contexts) -> None:
    await check_transport(
        url,
        server_options=TransportOptions(ssl_context=contexts.server),
        client_options=TransportOptions(ssl_context=contexts.client),
    )


class PipedWebSockets(Listener):
    """WebSockets over memory pipes, as a simulation has them."""

    listeners: ClassVar[dict[str, PipedWebSockets]] = {}
    fresh = count(1)

    def __init__(self, options: TransportOptions) -> None:
        self.url = f"ws://pipe{next(self.fresh)}/ws"
        self.options = options
        self.listeners[self.url] = self
        self.knock, self.door = trio.open_memory_channel[ByteStream](10)

    async def accept(self) -> Arrival:
        try:
            return WebSocketArrival(await self.door.receive(), self.options, self.url)
        except trio.EndOfChannel:
            raise trio.ClosedResourceError from None

    def close(self) -> None:
        self.listeners.pop(self.url, None)
        self.knock.close()
        self.door.close()


async def listen_piped(url: str, options: TransportOptions) -> Listener:
    return PipedWebSockets(options)


async def connect_piped(nursery: trio.Nursery, url: str, options: TransportOptions, encoding: Encoding) -> Connection:
    if url not in PipedWebSockets.listeners:
        raise ConnectFailed(f"{url}: nobody listens there")
    near, far = memory_pair()
    await PipedWebSockets.listeners[url].knock.send(far)
    return await open_client_websocket(nursery, near, url, options, encoding)


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
async def test_websocket_over_memory(encoding: Encoding) -> None:
    await check_transport("ws://pipe", encoding=encoding, listen=listen_piped, connect=connect_piped)
