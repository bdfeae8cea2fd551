"""A scope that runs: its life span, its nursery, its jobs. Unloading cancels everything in it and waits."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

import trio

from chatkit.bot.contain import contained
from chatkit.bot.context import JobContext
from chatkit.bot.job import Job, supervise
from chatkit.bot.ops import Ops
from chatkit.bot.scope import Scope

if TYPE_CHECKING:
    from chatkit.bot.running import Running

log = logging.getLogger("chatkit.bot")


class Loaded:
    """A plugin, or the bot's own scope, as it runs."""

    def __init__(self, scope: Scope, running: Running) -> None:
        self.scope = scope
        self.jobs = [Job(declared, scope.name) for declared in scope.jobs]
        self._running = running
        self._nursery: trio.Nursery | None = None
        self._ended = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Live until unloaded. Raises what its life span raises at the beginning; at the end it is logged."""
        begun = False
        try:
            async with AsyncExitStack() as stack:
                if self.scope.life is not None:
                    await stack.enter_async_context(self.scope.life(self._running.bot))
                async with trio.open_nursery() as nursery:
                    self._nursery = nursery
                    self._start(nursery)
                    begun = True
                    task_status.started()
                    await trio.sleep_forever()
        except Exception as error:
            if not begun:
                raise
            log.error("the end of %s failed", self.scope.name, exc_info=error)
        finally:
            self._nursery = None
            self._ended.set()

    def _start(self, nursery: trio.Nursery) -> None:
        bot = self._running.bot
        for job in self.jobs:
            nursery.start_soon(supervise, job, self._run_job, bot.now)
        for later in self.scope.laters:
            shelf = self._running.shelf(f"later {self.scope.name} {later.name}")
            nursery.start_soon(later.run, shelf, self._running.client.new_op, bot.now, self._context)

    async def _run_job(self, job: Job, due: datetime) -> None:
        await contained(job.declared.function(self._context(job.name, f"{job.runs}", due)))

    def _context(self, name: str, id: str, due: datetime) -> JobContext:
        return JobContext(self._running, Ops(self._running.bot.name, self.scope.name, name, id, due.isoformat()), due)

    async def call(self, function: Callable[[], Awaitable[None]]) -> None:
        """Run a function in the nursery and wait for it; return at once if there is none any more."""
        nursery = self._nursery
        if nursery is None:
            return
        done = trio.Event()
        nursery.start_soon(partial(_and_tell, function, done))
        await done.wait()

    async def unload(self) -> None:
        """Cancel what runs, wait for it, and end the life span."""
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()
        await self._ended.wait()


async def _and_tell(function: Callable[[], Awaitable[None]], done: trio.Event) -> None:
    try:
        await function()
    finally:
        done.set()
