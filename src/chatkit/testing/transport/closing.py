"""Checks of how links and listeners end."""

from __future__ import annotations

import trio
import trio.testing

from chatkit.errors import ConnectFailed, Disconnected
from chatkit.testing.transport.rig import Rig, disconnected
from chatkit.transport import Connection


async def says_why(rig: Rig) -> None:
    """The server's code and reason reach the client after all that was pushed; both ends get Disconnected, again and
    again; closing twice does nothing more."""
    async with rig.pair() as ends, trio.open_nursery() as nursery:
        for number in range(5):
            ends.server.push(ends.server.format.frame(rig.message(number)))
        nursery.start_soon(lambda: ends.server.aclose(4409, "replaced", reconnect=False))
        for number in range(5):
            assert await ends.client.receive() == rig.message(number)
        for _ in range(2):
            error = await disconnected(ends.client)
            assert (error.code, error.reason, error.reconnect) == (4409, "replaced", False)
        await ends.client.aclose()
        await ends.server.aclose(1011, "another reason")
        error = await disconnected(ends.server)
        assert error.code == 4409
        assert ends.server.push(b"x"), "on a closed link the bytes vanish"
        ends.server.push_anyway(b"x")
        assert ends.server.waiting_bytes == 0
        for call in (ends.server.wait_drained, lambda: ends.server.send(rig.message(1))):
            try:
                await call()
            except Disconnected:
                continue
            raise AssertionError("a closed link did not raise Disconnected")


async def wakes_receivers(rig: Rig) -> None:
    """aclose and abort end a receive that waits, at either end."""

    async def close(end: Connection) -> None:
        await end.aclose()

    async def abort(end: Connection) -> None:
        end.abort()

    for end_it in (close, abort):
        for which in ("client", "server"):
            async with rig.pair() as ends, trio.open_nursery() as nursery:
                for end in (ends.client, ends.server):
                    nursery.start_soon(disconnected, end)
                await trio.testing.wait_all_tasks_blocked()
                await end_it(getattr(ends, which))


async def listener_closes(rig: Rig) -> None:
    """Closing a listener ends accept, lets connections live, and can be done twice."""
    async with rig.listening() as listener, trio.open_nursery() as nursery:
        ends = await rig.link(nursery, listener)

        async def accept() -> None:
            try:
                await listener.accept()
            except trio.ClosedResourceError:
                return
            raise AssertionError("accept went on after close")

        async with trio.open_nursery() as waiting:
            waiting.start_soon(accept)
            await trio.testing.wait_all_tasks_blocked()
            listener.close()
        listener.close()
        await accept()
        await ends.client.send(rig.message(1))
        assert await ends.server.receive() == rig.message(1)
        ends.client.abort()
        ends.server.abort()
        try:
            await rig.connect(nursery, listener.url, rig.client_options, rig.encoding)
        except ConnectFailed as error:
            sentence = str(error)
        else:
            raise AssertionError("a closed listener was connected to")
        assert listener.url.partition("://")[2] in sentence, "the sentence names the address"
        nursery.cancel_scope.cancel()
