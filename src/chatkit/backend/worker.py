"""A thread that does one kind of work for the event loop, for as long as it is wanted.

`trio.to_thread` borrows a thread for each call, gives it a name and a context and takes it back: as much work as a
commit itself. This one waits for its next call.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeAlias, TypeVar

import outcome
import trio

T = TypeVar("T")
Call: TypeAlias = tuple[Callable[..., Any], tuple[Any, ...], trio.lowlevel.Task, trio.lowlevel.TrioToken]


class Worker:
    """One thread, started when it is first needed; calls are done in their order."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: SimpleQueue[Call | None] | None = None

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        """Call a function in the thread and return what it returns or raises. Cancelled on entry it is not called;
        once it is, its end is waited for."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._calls is None:
            self._calls = SimpleQueue()
            # It must not keep a process from ending that let go of the event loop without closing anything.
            Thread(target=_work, args=(self._calls,), name=self._name, daemon=True).start()
        task, token = trio.lowlevel.current_task(), trio.lowlevel.current_trio_token()
        self._calls.put((function, arguments, task, token))
        result: T = await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
        return result

    def close(self) -> None:
        """Let the thread end, after what it does now. A later call starts another."""
        calls, self._calls = self._calls, None
        if calls is not None:
            calls.put(None)


def _work(calls: SimpleQueue[Call | None]) -> None:
    while (call := calls.get()) is not None:
        function, arguments, task, token = call
        result = outcome.capture(function, *arguments)
        try:
            token.run_sync_soon(trio.lowlevel.reschedule, task, result)
        except trio.RunFinishedError:
            return
        del call, function, arguments, task, token, result  # nothing is kept alive while there is nothing to do
