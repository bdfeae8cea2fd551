"""A WebSocket server of another kind, on chatkit's transport: it says back whatever it hears, text or bytes."""

import sys

import trio

from chatkit.errors import Disconnected, ProtocolError
from chatkit.transport import TransportOptions
from chatkit.transport.websocket import WebSocketArrival, listen_websocket

BUDGETS = TransportOptions(max_message_bytes=16_777_216, max_fragments=1_000_000, spare_frames=1_000_000)


async def echo(arrival: WebSocketArrival) -> None:
    async with trio.open_nursery() as nursery:
        try:
            connection = await arrival.handshake(nursery)
        except (Disconnected, ProtocolError):
            return
        try:
            while True:
                await connection.send_any(await connection.receive_any())
        except Disconnected as gone:
            await connection.aclose(gone.code, gone.reason)


async def main(url: str = "ws://127.0.0.1:8765") -> None:
    listener = await listen_websocket(url, BUDGETS)
    print("listening on", listener.url, flush=True)
    async with trio.open_nursery() as nursery:
        while True:
            nursery.start_soon(echo, await listener.accept())


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
