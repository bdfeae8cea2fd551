"""Checks of the limits that a link keeps."""

from __future__ import annotations

from contextlib import suppress

import trio

from chatkit.errors import Disconnected
from chatkit.testing.transport.rig import Rig, disconnected
from chatkit.transport import Connection


async def lags_in_bounds(rig: Rig) -> None:
    """Past the bound push answers False and takes nothing; wait_drained returns once the peer has read; nothing taken
    is lost."""
    async with rig.pair(outlet_bytes=20_000, send_buffer_bytes=4_096) as ends:
        server, taken = ends.server, 0
        while server.push(server.format.frame(rig.message(taken, 10_000))):
            taken += 1
            assert taken < 10_000, "push is never False"
            if not server.waiting_bytes:
                await trio.lowlevel.checkpoint()
        assert server.waiting_bytes >= 20_000
        before = server.waiting_bytes
        assert not server.push(b"x"), "still lagging"
        assert server.waiting_bytes == before, "a refused blob was kept"
        server.push_anyway(server.format.frame(rig.message(taken)))
        drained = trio.Event()

        async def wait() -> None:
            await server.wait_drained()
            assert server.waiting_bytes * 2 < 20_000
            drained.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            for number in range(taken):
                assert await ends.client.receive() == rig.message(number, 10_000)
            assert await ends.client.receive() == rig.message(taken)
            await drained.wait()
        assert server.push(server.format.frame(rig.message(0)))
        assert await ends.client.receive() == rig.message(0)


async def too_long(rig: Rig) -> None:
    """A message longer than max_message_bytes ends the link with 1009; one of exactly that length does not."""
    size = len(rig.message(1, 2_000))
    async with rig.pair(max_message_bytes=size) as ends:
        await ends.client.send(rig.message(1, 2_000))
        assert await ends.server.receive() == rig.message(1, 2_000)
        with suppress(Disconnected):  # the other end may be quick
            await ends.client.send(rig.message(1, 2_002))
        async with trio.open_nursery() as nursery:
            errors: list[Disconnected] = []

            async def watch(end: Connection) -> None:
                errors.append(await disconnected(end))

            nursery.start_soon(watch, ends.server)
            nursery.start_soon(watch, ends.client)
        assert [error.code for error in errors] == [1009, 1009], errors


async def stuck_close(rig: Rig) -> None:
    """aclose ends within close_timeout even if the peer reads nothing."""
    async with rig.pair(close_timeout=0.2, send_buffer_bytes=4_096) as ends:
        for number in range(200):
            ends.server.push_anyway(ends.server.format.frame(rig.message(number, 20_000)))
        start = trio.current_time()
        await ends.server.aclose(1001)
        assert trio.current_time() - start < 3
        assert ends.server.waiting_bytes == 0


async def stuck_writer(rig: Rig) -> None:
    """A link whose waiting bytes make no progress for write_timeout is aborted; receive says 4408."""
    async with rig.pair(write_timeout=0.1, send_buffer_bytes=4_096) as ends:
        for number in range(200):
            ends.server.push_anyway(ends.server.format.frame(rig.message(number, 20_000)))
        error = await disconnected(ends.server)
        assert error.code == 4408, error
        assert ends.server.waiting_bytes == 0
