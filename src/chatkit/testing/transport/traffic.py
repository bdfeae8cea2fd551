"""Checks of what goes over a link: messages, pushed blobs and pings."""

from __future__ import annotations

import trio

from chatkit.testing.transport.rig import Rig
from chatkit.transport import Connection


async def arrives_whole(rig: Rig) -> None:
    """What one end sends arrives at the other whole, in order, once, both ways at a time."""
    sizes = [0, 10, 100, 125, 126, 127, 1000, 4096, 30_000, 65_000, 1, 65_000, 65_000, 0]

    async def send(end: Connection) -> None:
        for number, size in enumerate(sizes):
            await end.send(rig.message(number, size))

    async def receive(end: Connection) -> None:
        for number, size in enumerate(sizes):
            got = await end.receive()
            assert got == rig.message(number, size), f"message {number} of {size} bytes arrived changed"

    async with rig.pair(max_message_bytes=131_072) as ends:
        assert ends.server.format.encoding == ends.client.format.encoding == rig.encoding
        async with trio.open_nursery() as nursery:
            for end in (ends.client, ends.server):
                nursery.start_soon(send, end)
                nursery.start_soon(receive, end)


async def pushes_whole(rig: Rig) -> None:
    """Pushed blobs hold one or several framed messages, and keep their order among messages sent."""
    async with rig.pair() as ends:
        frame = ends.server.format.frame
        for start in range(0, 30, 3):
            assert ends.server.push(frame(rig.message(start)) + frame(rig.message(start + 1)))
            await ends.server.send(rig.message(start + 2))
        for number in range(30):
            assert await ends.client.receive() == rig.message(number)


async def pings(rig: Rig) -> None:
    """A ping does not wait and disturbs nothing; last_heard never goes back."""
    async with rig.pair() as ends:
        heard = ends.server.last_heard
        await ends.server.ping()
        await ends.client.ping()
        await ends.client.send(rig.message(1))
        assert await ends.server.receive() == rig.message(1)
        await ends.server.send(rig.message(2))
        assert await ends.client.receive() == rig.message(2)
        assert heard <= ends.server.last_heard <= trio.current_time()
