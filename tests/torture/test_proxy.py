"""The fault proxy keeps its own laws: what arrives is a prefix of what was sent, and a seed decides what befalls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from chatkit.testing.proxy import Ending, FaultProxy, Plan, Way, mixed_faults

Handler = Callable[[trio.SocketStream], Awaitable[None]]
GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


@asynccontextmanager
async def listening(handler: Handler) -> AsyncIterator[str]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, handler, [listener])
        yield f"tcp://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def dialled(proxy: FaultProxy) -> trio.SocketStream:
    return await trio.open_tcp_stream("127.0.0.1", int(proxy.url.rpartition(":")[2]))


async def all_of(stream: trio.SocketStream) -> bytes:
    got = bytearray()
    try:
        async for data in stream:
            got += data
    except GONE:
        pass
    return bytes(got)


async def echo(stream: trio.SocketStream) -> None:
    try:
        async for data in stream:
            await stream.send_all(data)
        await stream.send_eof()
    except GONE:
        pass


async def through(plan: Plan, sent: bytes) -> tuple[bytes, FaultProxy]:
    """Send through a proxy to an echo; return what came back, and the proxy."""

    async def say(stream: trio.SocketStream) -> None:
        try:
            await stream.send_all(sent)
            await stream.send_eof()
        except GONE:
            pass

    async with listening(echo) as url, FaultProxy(url, plan=lambda *_: plan) as proxy:
        stream = await dialled(proxy)
        async with stream, trio.open_nursery() as nursery:
            nursery.start_soon(say, stream)
            return await all_of(stream), proxy
    raise AssertionError("unreachable")


ways = st.builds(
    Way,
    delay=st.sampled_from([0.0, 0.001]),
    rate=st.sampled_from([float("inf"), 1e6]),
    piece=st.sampled_from([1, 7, 65_536]),
    after=st.none() | st.integers(0, 3000),
    ending=st.sampled_from([Ending.CUT, Ending.RESET]),
)


@given(up=ways, down=ways, sent=st.binary(max_size=3000))
async def test_what_arrives_is_a_prefix(up: Way, down: Way, sent: bytes) -> None:
    got, proxy = await through(Plan(up=up, down=down), sent)
    assert sent.startswith(got)
    lossless = all(way.after is None or way.after > len(sent) for way in (up, down))
    assert not lossless or got == sent
    assert proxy.open_links == 0


@pytest.mark.parametrize("piece", [1, 100, 65_536])
@pytest.mark.parametrize("after", [0, 1, 2, 99, 1000])
async def test_an_orderly_cut_comes_after_exactly_so_many_bytes(after: int, piece: int) -> None:
    got, proxy = await through(Plan(down=Way(after=after, piece=piece)), bytes(range(250)) * 5)
    assert got == (bytes(range(250)) * 5)[:after]
    assert (proxy.counters.cut, proxy.counters.reset, proxy.counters.swallowed) == (1, 0, 0)


async def test_a_reset_is_one() -> None:
    async with listening(echo) as url, FaultProxy(url, plan=lambda *_: Plan()) as proxy:
        async with await dialled(proxy) as stream:
            await stream.send_all(b"x")
            assert await stream.receive_some(1) == b"x"
            assert proxy.cut_all() == 1
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some(1)
        async with await dialled(proxy) as later:
            await later.send_all(b"y")
            assert await later.receive_some(1) == b"y"
    assert proxy.counters.reset == 1
    assert proxy.counters.links == 2


async def test_half_open_nobody_hears_of_the_end() -> None:
    heard = bytearray()
    told = trio.Event()
    ended = trio.Event()

    async def listen(stream: trio.SocketStream) -> None:
        await stream.send_all(b"hello")
        try:
            async for data in stream:
                heard.extend(data)
                if len(heard) == 3:
                    told.set()
        except GONE:
            pass
        ended.set()

    plan = Plan(up=Way(after=3, ending=Ending.SWALLOW))
    async with listening(listen) as url:
        async with FaultProxy(url, plan=lambda *_: plan) as proxy:
            async with await dialled(proxy) as stream:
                await stream.send_all(b"abcdef")
                assert await stream.receive_some(5) == b"hello"
                await told.wait()
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert proxy.open_links == 1
            assert not ended.is_set()
        await ended.wait()
    assert heard == b"abc"
    assert proxy.counters.swallowed == 1


async def test_a_server_that_is_away_resets_the_link() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    url = f"tcp://127.0.0.1:{listener.socket.getsockname()[1]}"
    await listener.aclose()
    async with FaultProxy(url) as proxy, await dialled(proxy) as stream:
        assert await all_of(stream) == b""
    assert proxy.counters.refused == 1


async def test_the_url_keeps_what_is_not_the_address() -> None:
    proxy = FaultProxy("wss://chat.example/ws?x=1")
    with pytest.raises(RuntimeError):
        proxy.url  # noqa: B018
    async with proxy:
        assert proxy.url.startswith("wss://127.0.0.1:")
        assert proxy.url.endswith("/ws?x=1")


def test_a_seed_decides() -> None:
    def plans(seed: int) -> list[Plan]:
        return [mixed_faults()(Random(f"{seed}/{number}"), number) for number in range(1, 50)]

    assert plans(1) == plans(1)
    assert plans(1) != plans(2)
    endings = {way.ending for plan in plans(1) for way in (plan.up, plan.down) if way.after is not None}
    assert endings == set(Ending)


async def test_leaving_the_block_resets_every_link() -> None:
    async with listening(echo) as url:
        async with FaultProxy(url, plan=lambda *_: Plan()) as proxy:
            stream = await dialled(proxy)
            await stream.send_all(b"x")
            assert await stream.receive_some(1) == b"x"
        async with stream:
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some(1)
        assert proxy.open_links == 0
