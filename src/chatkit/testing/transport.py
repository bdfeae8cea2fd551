"""The laws of a transport as checks that anybody's transport can be held to.

::

    async def test_my_transport():
        await check_transport("carrier-pigeon://127.0.0.1:0")

Nothing here needs pytest; a broken law is an AssertionError that says which.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import orjson
import trio
import trio.testing
from attrs import evolve, frozen

from chatkit.errors import ChatError, ConnectFailed, Disconnected, ProtocolError, UsageError
from chatkit.testing.cancellation import cancel_at_each_checkpoint
from chatkit.transport import (
    Connection,
    Encoding,
    Listener,
    TransportOptions,
    open_connection,
    open_listener,
)

GRACE = 20.0
"""Seconds after which something that should have happened is said not to."""

Connect = Callable[[trio.Nursery, str, TransportOptions, Encoding], Awaitable[Connection]]
Listen = Callable[[str, TransportOptions], Awaitable[Listener]]


@frozen(kw_only=True)
class Pair:
    """The two ends of one link."""

    client: Connection
    server: Connection


async def check_transport(
    url: str,
    *,
    encoding: Encoding = "json",
    server_options: TransportOptions | None = None,
    client_options: TransportOptions | None = None,
    listen: Listen = open_listener,
    connect: Connect = open_connection,
) -> None:
    """Check a listener and a connector against the laws of `chatkit.transport.interface`.

    ``url`` is listened on anew for each law, so its port is 0 or its name empty. ``listen`` and ``connect`` replace
    what the URL's scheme names. The options' limits are replaced by smaller ones; give what else they need, such as a
    TLS context. Raises AssertionError, its note naming the law.
    """
    rig = _Rig(
        url=url,
        encoding=encoding,
        server_options=server_options or TransportOptions(),
        client_options=client_options or TransportOptions(),
        listen=listen,
        connect=connect,
    )
    for law in LAWS:
        try:
            with trio.fail_after(GRACE):
                await law(rig)
        except BaseException as error:
            error.add_note(f"the law: {(law.__doc__ or law.__name__).strip()}")
            if isinstance(error, trio.TooSlowError):
                raise AssertionError(f"nothing happened for {GRACE:g} seconds") from error
            raise


@frozen(kw_only=True)
class _Rig:
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
        listener = await self.listen(self.url, evolve(self.server_options, **limits))
        try:
            yield listener
        finally:
            listener.close()

    async def link(self, nursery: trio.Nursery, listener: Listener) -> Pair:
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


async def _arrives_whole(rig: _Rig) -> None:
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


async def _pushes_whole(rig: _Rig) -> None:
    """Pushed blobs hold one or several framed messages, and keep their order among messages sent."""
    async with rig.pair() as ends:
        frame = ends.server.format.frame
        for start in range(0, 30, 3):
            assert ends.server.push(frame(rig.message(start)) + frame(rig.message(start + 1)))
            await ends.server.send(rig.message(start + 2))
        for number in range(30):
            assert await ends.client.receive() == rig.message(number)


async def _lags_in_bounds(rig: _Rig) -> None:
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


async def _cancelled_receive(rig: _Rig) -> None:
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


async def _cancelled_send(rig: _Rig) -> None:
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


async def _cancelled_close(rig: _Rig) -> None:
    """A cancelled aclose closes all the same."""

    async def attempt() -> None:
        async with rig.pair() as ends:
            shaken.append(ends)
            await ends.server.aclose(1001, "stopping")

    shaken: list[Pair] = []

    async def ended() -> None:
        for ends in shaken:
            await _disconnected(ends.server)
            await _disconnected(ends.client)
        shaken.clear()

    await cancel_at_each_checkpoint(attempt, afterwards=ended)


async def _says_why(rig: _Rig) -> None:
    """The server's code and reason reach the client after all that was pushed; both ends get Disconnected, again and
    again; closing twice does nothing more."""
    async with rig.pair() as ends, trio.open_nursery() as nursery:
        for number in range(5):
            ends.server.push(ends.server.format.frame(rig.message(number)))
        nursery.start_soon(lambda: ends.server.aclose(4409, "replaced", reconnect=False))
        for number in range(5):
            assert await ends.client.receive() == rig.message(number)
        for _ in range(2):
            error = await _disconnected(ends.client)
            assert (error.code, error.reason, error.reconnect) == (4409, "replaced", False)
        await ends.client.aclose()
        await ends.server.aclose(1011, "another reason")
        error = await _disconnected(ends.server)
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


async def _wakes_receivers(rig: _Rig) -> None:
    """aclose and abort end a receive that waits, at either end."""

    async def close(end: Connection) -> None:
        await end.aclose()

    async def abort(end: Connection) -> None:
        end.abort()

    for end_it in (close, abort):
        for which in ("client", "server"):
            async with rig.pair() as ends, trio.open_nursery() as nursery:
                for end in (ends.client, ends.server):
                    nursery.start_soon(_disconnected, end)
                await trio.testing.wait_all_tasks_blocked()
                await end_it(getattr(ends, which))


async def _too_long(rig: _Rig) -> None:
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
                errors.append(await _disconnected(end))

            nursery.start_soon(watch, ends.server)
            nursery.start_soon(watch, ends.client)
        assert [error.code for error in errors] == [1009, 1009], errors


async def _stuck_close(rig: _Rig) -> None:
    """aclose ends within close_timeout even if the peer reads nothing."""
    async with rig.pair(close_timeout=0.2, send_buffer_bytes=4_096) as ends:
        for number in range(200):
            ends.server.push_anyway(ends.server.format.frame(rig.message(number, 20_000)))
        start = trio.current_time()
        await ends.server.aclose(1001)
        assert trio.current_time() - start < 3
        assert ends.server.waiting_bytes == 0


async def _stuck_writer(rig: _Rig) -> None:
    """A link whose waiting bytes make no progress for write_timeout is aborted; receive says 4408."""
    async with rig.pair(write_timeout=0.1, send_buffer_bytes=4_096) as ends:
        for number in range(200):
            ends.server.push_anyway(ends.server.format.frame(rig.message(number, 20_000)))
        error = await _disconnected(ends.server)
        assert error.code == 4408, error
        assert ends.server.waiting_bytes == 0


async def _pings(rig: _Rig) -> None:
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


async def _cancelled_handshake(rig: _Rig) -> None:
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
                    await _disconnected(connection)
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


async def _listener_closes(rig: _Rig) -> None:
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


LAWS: tuple[Callable[[_Rig], Awaitable[None]], ...] = (
    _arrives_whole,
    _pushes_whole,
    _lags_in_bounds,
    _cancelled_receive,
    _cancelled_send,
    _cancelled_close,
    _says_why,
    _wakes_receivers,
    _too_long,
    _stuck_close,
    _stuck_writer,
    _pings,
    _cancelled_handshake,
    _listener_closes,
)


async def _disconnected(connection: Connection) -> Disconnected:
    """Receive until the link ends; return how it did."""
    while True:
        try:
            await connection.receive()
        except Disconnected as error:
            return error
        except (ProtocolError, UsageError) as error:
            raise AssertionError("the link ended otherwise than by Disconnected") from error
