"""The private nursery: errors come out as they are, and a cancellation stays the one it was."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from chatkit.errors import ConnectFailed
from chatkit.private import private_nursery


async def test_what_the_block_raises_comes_out_bare_and_the_tasks_are_stopped() -> None:
    stopped = trio.Event()

    async def background() -> None:
        try:
            await trio.sleep_forever()
        finally:
            stopped.set()

    with pytest.raises(ValueError, match="mine"):
        async with private_nursery(lambda nursery: nursery.cancel_scope.cancel()) as nursery:
            nursery.start_soon(background)
            await trio.testing.wait_all_tasks_blocked()
            raise ValueError("mine")
    assert stopped.is_set()


async def test_our_error_of_a_background_task_comes_out_bare() -> None:
    async def background() -> None:
        raise ConnectFailed("nobody there")

    with pytest.raises(ConnectFailed, match="nobody there"):
        async with private_nursery(lambda nursery: None) as nursery:
            nursery.start_soon(background)
            await trio.sleep_forever()


async def test_a_foreign_error_of_a_background_task_stays_in_its_group() -> None:
    async def background() -> None:
        raise KeyError("a bug")

    with pytest.RaisesGroup(KeyError):
        async with private_nursery(lambda nursery: None) as nursery:
            nursery.start_soon(background)
            await trio.sleep_forever()


async def test_the_nursery_cancelled_by_its_own_task_ends_the_block_quietly() -> None:
    reached = False
    async with private_nursery(lambda nursery: None) as nursery:
        nursery.start_soon(trio.sleep, 0)
        nursery.cancel_scope.cancel()
        await trio.sleep_forever()
        reached = True
    assert not reached


async def test_a_cancellation_from_outside_reaches_outside() -> None:
    with trio.CancelScope() as scope:
        async with private_nursery(lambda nursery: None) as nursery:
            nursery.start_soon(trio.sleep_forever)
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
