"""The memory pipe is a stream as Trio has them, and its direct write never waits."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from chatkit.transport.pipe import memory_pair


async def make() -> tuple[trio.abc.Stream, trio.abc.Stream]:
    return memory_pair(1000)


async def test_it_is_a_stream() -> None:
    await trio.testing.check_two_way_stream(make, None)


async def test_try_send_fills_and_breaks() -> None:
    near, far = memory_pair(4)
    assert near.try_send(b"abcdef") == 4
    assert near.try_send(b"ef") == 0
    assert await far.receive_some(2) == b"ab"
    assert near.try_send(memoryview(b"ef")) == 2
    assert await far.receive_some() == b"cdef"
    far.abort()
    with pytest.raises(trio.BrokenResourceError):
        near.try_send(b"x")
    near.close()
    with pytest.raises(trio.ClosedResourceError):
        near.try_send(b"x")
