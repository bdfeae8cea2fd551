"""Checks of what cancellation leaves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from chatkit.errors import ChatError, ConnectFailed
from chatkit.testing.cancellation import cancel_at_each_checkpoint
from chatkit.testing.transport.rig import Pair, Rig, disconnected
from chatkit.transport import Connection


async def cancelled_receive(rig: Rig) -> None:
    """A cancelled receive loses no message."""
    async with rig.pair() as ends:
        got: list[bytes] = []

        async def receive() -> None:
            got.append(await ends.client.receive())

        sent = 0

        async def one_more() -> None:
            nonlocal sent
            if sent == len(got):
                await ends.server.send(rig.message(sent))
                sent += 1

        await one_more()
        await cancel_at_each_checkpoint(receive, afterwards=one_more)
        with trio.CancelScope() as scope:
            scope.cancel()
            await receive()
        while len(got) < sent:
            await receive()
        assert got == [rig.message(number) for number in range(sent)]


async def cancelled_send(rig: Rig) -> None:
    """A cancelled send leaves its message queued whole or not sent at all."""
    async with rig.pair() as ends:
        begun = 0

        async def send() -> None:
            nonlocal begun
            begun += 1
            await ends.client.send(rig.message(begun, 5_000))

        await cancel_at_each_checkpoint(send)
        await ends.client.send(rig.message(0))
        seen = 0
        while (got := await ends.server.receive()) != rig.message(0):
            numbers = [number for number in range(seen + 1, begun + 1) if got == rig.message(number, 5_000)]
            assert numbers, "a message arrived in part, twice or out of order"
            seen = numbers[0]
        assert seen == begun, "the send that was not cancelled is missing"


async def cancelled_close(rig: Rig) -> None:
    """A cancelled aclose closes all the same."""

    async def attempt() -> None:
        async with rig.pair() as ends:
            shaken.append(ends)
            await ends.server.aclose(1001, "stopping")

    shaken: list[Pair] = []

    async def ended() -> None:
        for ends in shaken:
            await disconnected(ends.server)
            await disconnected(ends.client)
        shaken.clear()

    await cancel_at_each_checkpoint(attempt, afterwards=ended)


async def cancelled_handshake(rig: Rig) -> None:
    """Connecting and shaking hands can be cancelled anywhere, and the listener goes on."""
    async with rig.listening() as listener:

        async def serve() -> None:
            async with trio.open_nursery() as connections:
                while True:
                    arrival = await listener.accept()
                    connections.start_soon(greet, arrival.handshake)

        async def greet(handshake: Callable[[trio.Nursery], Awaitable[Connection]]) -> None:
            async with trio.open_nursery() as own:
                try:
                    connection = await handshake(own)
                except ChatError:
                    return
                try:
                    await disconnected(connection)
                finally:
                    connection.abort()

        async def connect() -> None:
            async with trio.open_nursery() as own:
                connection = await rig.connect(own, listener.url, rig.client_options, rig.encoding)
                await connection.aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            await cancel_at_each_checkpoint(connect)
            nursery.cancel_scope.cancel()

        async def shake() -> None:
            async with trio.open_nursery() as own:
                own.start_soon(knock)
                while True:
                    arrival = await listener.accept()
                    try:
                        connection = await arrival.handshake(own)
                    except ChatError:  # a client of an earlier, cancelled run
                        continue
                    connection.abort()
                    own.cancel_scope.cancel()
                    return

        async def knock() -> None:
            try:
                async with trio.open_nursery() as own:
                    (await rig.connect(own, listener.url, rig.client_options, rig.encoding)).abort()
            except* ConnectFailed:
                pass

        await cancel_at_each_checkpoint(shake)
