"""The thread that commits: calls in order, errors as they are, and an end that is waited for."""

from __future__ import annotations

import threading

import pytest
import trio
import trio.testing

from chatkit.backend.worker import Worker


async def test_one_thread_does_every_call_in_order() -> None:
    worker, done = Worker("worker"), list[int]()

    def work(number: int) -> int:
        done.append(number)
        return threading.get_ident()

    async def call(number: int) -> int:
        return await worker.run(work, number)

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(call, number)
            await trio.lowlevel.checkpoint()
    assert done == list(range(20))
    first, second = await call(1), await call(2)
    assert first == second != threading.get_ident()
    worker.close()
    assert isinstance(await call(3), int), "it starts anew when it is wanted"
    worker.close()


async def test_an_error_is_the_callers() -> None:
    worker = Worker("worker")
    with pytest.raises(ZeroDivisionError):
        await worker.run(lambda: 1 // 0)
    assert await worker.run(divmod, 7, 2) == (3, 1)
    worker.close()


async def test_a_call_that_has_begun_is_waited_for() -> None:
    worker, begun, go, done = Worker("worker"), threading.Event(), threading.Event(), list[str]()

    def work() -> None:
        begun.set()
        go.wait()
        done.append("done")

    with trio.CancelScope() as scope:
        scope.cancel()
        await worker.run(done.append, "never")
    assert scope.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run, work)
        await trio.to_thread.run_sync(begun.wait)
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await trio.testing.wait_all_tasks_blocked()
        assert not done
        go.set()
    assert done == ["done"]
    worker.close()
