"""Closing a link of lines while another task receives from it: the last words arrive, and nobody stumbles."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from chatkit.errors import Disconnected
from chatkit.transport.interface import TransportOptions
from chatkit.transport.lines import LineConnection, open_client_lines
from chatkit.transport.pipe import memory_pair

OPTIONS = TransportOptions()


@pytest.mark.parametrize("attempt", range(20))
async def test_closing_while_lines_that_came_are_still_being_taken(
    attempt: int, autojump_clock: trio.testing.MockClock
) -> None:
    began = trio.current_time()
    near, far = memory_pair()
    async with trio.open_nursery() as nursery:
        client = open_client_lines(nursery, near, "tcp://test:1", OPTIONS)
        server = LineConnection(nursery, far, "tcp://test:1", OPTIONS, server=True)
        taken: list[bytes] = []
        ended: list[Disconnected] = []

        async def take_all() -> None:
            try:
                while True:
                    taken.append(await client.receive())
                    await trio.lowlevel.checkpoint()
            except Disconnected as error:
                ended.append(error)

        server.push(b"{}\n" * 10)
        nursery.start_soon(take_all)
        for _ in range(attempt):
            await trio.lowlevel.checkpoint()
        nursery.start_soon(client.aclose, 1000, "goodbye")
        with pytest.raises(Disconnected) as told:
            await server.receive()
        await server.aclose()
    assert told.value.code == 1000
    assert [error.code for error in ended] == [1000]
    assert set(taken) <= {b"{}"}
    assert trio.current_time() == began, "nobody had to run out of patience"
