"""Cancelling after any number of turns of the scheduler, and looking at what is left afterwards."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
import trio.testing


async def cancel_after_each_turn(
    attempt: Callable[[], Awaitable[object]],
    *,
    afterwards: Callable[[], Awaitable[object]],
    at_most: int = 1000,
) -> int:
    """Run ``attempt`` cancelled after 0, 1, 2 … turns of the scheduler, until a run completes; return how many that
    took. Unlike `chatkit.testing.cancel_at_each_checkpoint` this meets the tasks it has started in every state."""
    for turns in range(at_most):
        completed = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_after, turns, nursery.cancel_scope)
            await attempt()
            completed = True
            nursery.cancel_scope.cancel()
        await afterwards()
        if completed:
            return turns
    raise AssertionError(f"not complete after {at_most} turns")


async def _cancel_after(turns: int, scope: trio.CancelScope) -> None:
    for _ in range(turns):
        await trio.lowlevel.checkpoint()
    scope.cancel()


async def wait_until(condition: Callable[[], bool]) -> None:
    """Return once a condition holds that somebody else brings about."""
    for _ in range(400):
        if condition():
            return
        await trio.testing.wait_all_tasks_blocked(0.002)
    raise AssertionError("it did not come to hold")


def tasks_living() -> int:
    return trio.lowlevel.current_statistics().tasks_living
