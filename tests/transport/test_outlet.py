"""The outlet: frames whole, in order, bounded, whatever the interleaving."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from chatkit.testing.cancellation import cancel_at_each_checkpoint
from chatkit.transport.outlet import Outlet
from chatkit.transport.pipe import memory_pair

blobs = st.lists(
    st.tuples(st.sampled_from(["push", "anyway", "send", "read", "yield"]), st.integers(1, 300)), max_size=40
)


def frame(number: int, size: int) -> bytes:
    return b"<%d:%s>" % (number, b"x" * size)


@given(steps=blobs, capacity=st.integers(1, 400), bound=st.integers(1, 600))
@settings(max_examples=150, deadline=None)
async def test_the_peer_gets_frames_whole_and_in_order(steps: list[tuple[str, int]], capacity: int, bound: int) -> None:
    near, far = memory_pair(capacity)
    expected = b""
    got = bytearray()
    async with trio.open_nursery() as nursery:
        outlet = Outlet(near, nursery, bound, 1000.0)
        for number, (kind, size) in enumerate(steps):
            blob = frame(number, size)
            waiting = outlet.waiting_bytes
            if kind == "push":
                taken = outlet.push(blob)
                assert taken == (waiting < bound or not waiting)
                expected += blob if taken else b""
                assert outlet.waiting_bytes <= max(bound, waiting) + len(blob)
            elif kind == "anyway":
                outlet.push_anyway(blob)
                expected += blob
            elif kind == "send":
                expected += blob
                nursery.start_soon(outlet.send_all, blob)
                await trio.testing.wait_all_tasks_blocked()
            elif kind == "read":
                async with trio.open_nursery() as reading:
                    reading.start_soon(read, far, size, got)
                    await trio.testing.wait_all_tasks_blocked()
                    reading.cancel_scope.cancel()
            else:
                await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(drain, far, got)
        await outlet.flush()
        assert outlet.waiting_bytes == 0
        near.send_eof()
    assert bytes(got) == expected


async def read(stream: trio.abc.ReceiveStream, size: int, got: bytearray) -> None:
    got += await stream.receive_some(size)


async def drain(stream: trio.abc.ReceiveStream, got: bytearray) -> None:
    while data := await stream.receive_some(37):
        got += data


async def test_no_task_exists_while_nothing_waits(nursery: trio.Nursery) -> None:
    near, far = memory_pair(100)
    outlet = Outlet(near, nursery, 50, 10.0)
    assert outlet.push(b"a" * 100)
    assert not nursery.child_tasks
    assert outlet.push(b"b" * 10)
    assert len(nursery.child_tasks) == 1
    assert await far.receive_some() == b"a" * 100
    assert await far.receive_some() == b"b" * 10
    await trio.testing.wait_all_tasks_blocked()
    assert not nursery.child_tasks


async def test_a_cancelled_send_stays_queued_whole(nursery: trio.Nursery) -> None:
    near, far = memory_pair(3)
    outlet = Outlet(near, nursery, 1000, 10.0)
    sent = 0

    async def send() -> None:
        nonlocal sent
        before = outlet._taken
        try:
            await outlet.send_all(b"0123456789")
        finally:
            sent += bool(outlet._taken - before or not outlet.waiting_bytes)

    with trio.move_on_after(0.01):
        await send()
    got = bytearray()
    nursery.start_soon(drain, far, got)
    await cancel_at_each_checkpoint(send)
    await outlet.flush()
    near.send_eof()
    await trio.testing.wait_all_tasks_blocked()
    assert len(got) % 10 == 0
    assert bytes(got) == b"0123456789" * (len(got) // 10)


async def test_lagging_and_drained(nursery: trio.Nursery) -> None:
    near, far = memory_pair(10)
    outlet = Outlet(near, nursery, 100, 10.0)
    assert outlet.push(b"x" * 500), "one blob may overshoot"
    assert not outlet.push(b"y")
    outlet.push_anyway(b"z")
    assert outlet.waiting_bytes == 491
    drained = trio.Event()

    async def wait() -> None:
        await outlet.wait_drained()
        assert outlet.waiting_bytes < 50
        drained.set()

    nursery.start_soon(wait)
    total = b""
    while len(total) < 501:
        assert drained.is_set() == (outlet.waiting_bytes < 50)
        total += await far.receive_some()
        await trio.testing.wait_all_tasks_blocked()
    assert total == b"x" * 500 + b"z"


async def test_nothing_follows_the_last_frame(nursery: trio.Nursery) -> None:
    near, far = memory_pair(10)
    outlet = Outlet(near, nursery, 100, 10.0)
    outlet.push(b"before" * 3)
    outlet.finish(b"last")
    assert outlet.push(b"after")
    outlet.push_anyway(b"after")
    with pytest.raises(trio.ClosedResourceError):
        await outlet.send_all(b"after")
    got = bytearray()
    nursery.start_soon(drain, far, got)
    await outlet.flush()
    near.send_eof()
    await trio.testing.wait_all_tasks_blocked()
    assert bytes(got) == b"before" * 3 + b"last"


async def test_no_progress_aborts(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    near, far = memory_pair(10)
    outlet = Outlet(near, nursery, 100, 30.0)
    outlet.push(b"x" * 50)
    for _ in range(3):  # progress, however slow, keeps it alive
        await trio.sleep(29)
        await far.receive_some(1)
    assert not outlet.broken
    with pytest.raises(trio.BrokenResourceError):
        await outlet.flush()
    assert trio.current_time() == pytest.approx(29 * 3 + 30)
    assert outlet.timed_out
    assert outlet.waiting_bytes == 0
    with pytest.raises(trio.BrokenResourceError):
        await far.receive_some()


async def test_a_broken_stream_ends_quietly(nursery: trio.Nursery) -> None:
    near, far = memory_pair(10)
    outlet = Outlet(near, nursery, 100, 30.0)
    outlet.push(b"x" * 500)
    far.close()
    await trio.testing.wait_all_tasks_blocked()
    assert outlet.broken
    assert outlet.push(b"y")
    assert outlet.waiting_bytes == 0
    with pytest.raises(trio.BrokenResourceError):
        await outlet.wait_drained()


async def test_a_closed_nursery_ends_the_link() -> None:
    near, far = memory_pair(10)
    async with trio.open_nursery() as nursery:
        outlet = Outlet(near, nursery, 100, 30.0)
    assert outlet.push(b"x" * 500)
    assert outlet.broken
    with pytest.raises(trio.BrokenResourceError):
        await far.receive_some()


async def test_a_cancelled_nursery_leaves_no_half_frame_behind() -> None:
    near, far = memory_pair(10)
    async with trio.open_nursery() as nursery:
        outlet = Outlet(near, nursery, 100, 30.0)
        outlet.push(b"x" * 500)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert outlet.broken
    assert outlet.push(b"y")
    with pytest.raises(trio.BrokenResourceError):
        await far.receive_some()


async def test_small_pieces_leave_joined(nursery: trio.Nursery) -> None:
    near, far = memory_pair(10_000)
    outlet = Outlet(near, nursery, 100_000, 30.0)
    outlet.push(b"x" * 10_001)
    for _ in range(500):
        outlet.push(b"0123456789")
    assert len(await far.receive_some(None)) == 10_000
    await trio.testing.wait_all_tasks_blocked()
    assert await far.receive_some(None) == b"x" + b"0123456789" * 500
