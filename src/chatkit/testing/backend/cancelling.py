"""Checks of what cancellation leaves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import trio

from chatkit.backend.interface import Backend
from chatkit.backend.records import Row
from chatkit.testing.backend.tools import all_rows, collect, expect, followed, make_room, new_post


async def cancelled_commits_are_whole(backend: Backend) -> None:
    """A commit cancelled at any step is kept whole or not at all; the next works; the feed tells of it alike."""
    room = await make_room(backend)
    kept: list[str] = []
    step = 0
    async with followed(backend) as feed:
        while True:
            body = f"step {step}"
            finished = await _cancelled_at(step, partial(backend.commit, [new_post(room, body), new_post(room, body)]))
            found = [row.body for row in await all_rows(backend, room)]
            if found != kept:
                kept += [body, body]
                expect(f"the bodies after a commit cancelled at step {step}", found, kept)
            await backend.commit([new_post(room, "next")])
            kept.append("next")
            if finished:
                break
            step += 1
        batches = await collect(feed, len(kept), room)
    expect("the feed", [item.body for b in batches for item in b.items if isinstance(item, Row)], kept)


async def cancelled_readers_leave_nothing(backend: Backend) -> None:
    """Reading and following can be cancelled at any step; afterwards all goes on, and a feed has lost nothing."""
    room = await make_room(backend, "one", "two")

    async def follow() -> None:
        async with followed(backend) as feed:
            await backend.commit([new_post(room)])
            await collect(feed, 1, room)

    for task in (partial(backend.log.read, room.room_id, after=0), backend.directory.snapshot, follow):
        step = 0
        while not await _cancelled_at(step, task):
            step += 1
    head = (await backend.log.read(room.room_id, after=0)).head
    async with followed(backend) as feed:
        step = 0
        seqs: list[int] = []

        async def take() -> None:
            (batch,) = await collect(feed, 1, room)
            seqs.extend(item.seq for item in batch.items if isinstance(item, Row))

        finished = False
        while not finished:
            await backend.commit([new_post(room)])
            finished = await _cancelled_at(step, take)
            step += 1
        while len(seqs) < step:
            await take()
        expect("the seqs", seqs, list(range(head + 1, head + step + 1)))


async def _cancelled_at(step: int, task: Callable[[], Awaitable[object]]) -> bool:
    """Run a task, cancelled after so many of its steps; return whether it had finished before."""
    runner = _Canceller(step)
    with runner.scope:
        trio.lowlevel.add_instrument(runner)
        try:
            await task()
        finally:
            trio.lowlevel.remove_instrument(runner)
    return runner.steps < step or not runner.scope.cancel_called


class _Canceller(trio.abc.Instrument):
    def __init__(self, after: int) -> None:
        self.scope = trio.CancelScope()
        self.steps = 0
        self._after = after
        self._task = trio.lowlevel.current_task()
        if after == 0:
            self.scope.cancel()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self._task:
            self.steps += 1
            if self.steps == self._after:
                self.scope.cancel()
