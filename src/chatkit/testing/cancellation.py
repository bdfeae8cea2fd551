"""Cancelling a piece of work at every place where it can be cancelled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import coroutine
from typing import Any, TypeVar

import trio
from attrs import define

T = TypeVar("T")


async def cancel_at_each_checkpoint(
    attempt: Callable[[], Coroutine[Any, Any, object]],
    *,
    afterwards: Callable[[], Awaitable[object]] | None = None,
    at_most: int = 1000,
) -> int:
    """Run ``attempt`` again and again, cancelled at its 1st checkpoint, then its 2nd, … until a run completes uncut.

    A checkpoint here is each time the attempt's own task gives way to others; that includes a nursery in it waiting
    for its children. After every run ``afterwards`` is awaited, uncancelled: the place to check that nothing leaked.

    Returns how many checkpoints there were. Raises AssertionError when there are more than ``at_most``. What
    ``attempt`` raises, other than by being cancelled, is raised.
    """
    for number in range(1, at_most + 2):
        with trio.CancelScope() as scope:
            run = _Run(number, scope)
            await _stepped(attempt(), run)
        if afterwards is not None:
            await afterwards()
        if run.left:
            return number - 1
    raise AssertionError(f"more than {at_most} checkpoints")


@define(eq=False)
class _Run:
    """One run of an attempt: cancelled at the last of ``left`` checkpoints."""

    left: int
    scope: trio.CancelScope

    def step(self) -> None:
        if self.left:
            self.left -= 1
            if not self.left:
                self.scope.cancel()


@coroutine
def _stepped(work: Coroutine[Any, Any, T], run: _Run) -> Generator[Any, Any, T]:
    """Drive ``work``, counting a step each time it gives way."""
    answer: Any = None
    error: BaseException | None = None
    while True:
        try:
            request = work.send(answer) if error is None else work.throw(error)
        except StopIteration as end:
            result: T = end.value
            return result
        run.step()
        answer, error = None, None
        try:
            answer = yield request
        except BaseException as raised:  # whatever it is belongs to the work
            error = raised
