"""A run that one number decides: the order of tasks, the clock, and whatever is drawn from its `random.Random`.

A program that takes its randomness from the argument, its time from `trio.current_time` and touches no threads,
sockets or files runs the same way every time it is given the same seed, in this process or another.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import TypeVar

import trio
import trio._core._run as scheduler
import trio.testing

T = TypeVar("T")


def simulate(program: Callable[[Random], Awaitable[T]], seed: int) -> T:
    """Run ``await program(random)`` in a Trio run of its own and return what it returns.

    ``seed`` decides in which order tasks that could run do, and what ``random`` gives. Time passes only while every
    task waits, and then at once. Cannot be called inside another Trio run of this thread.
    """

    async def main() -> T:
        return await program(Random(f"{seed}/program"))

    with _orderly(Random(f"{seed}/schedule")):
        return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@contextmanager
def _orderly(random: Random) -> Iterator[None]:
    """Let Trio's scheduler draw from ``random``. Without sorting first, its order would depend on addresses."""
    before = scheduler._r, scheduler._ALLOW_DETERMINISTIC_SCHEDULING
    scheduler._r, scheduler._ALLOW_DETERMINISTIC_SCHEDULING = random, True  # type: ignore[misc]
    try:
        yield
    finally:
        scheduler._r, scheduler._ALLOW_DETERMINISTIC_SCHEDULING = before  # type: ignore[misc]
