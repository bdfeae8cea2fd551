"""Jobs: what a bot does by the clock. Never silently dead.

Laws: a job runs one at a time; a failure is logged with its traceback and counted, and the job goes on after a wait
that grows, or is disabled, as declared; it ends with its plugin.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeAlias

import trio
from attrs import define, frozen

from chatkit.bot.schedule import Schedule

log = logging.getLogger("chatkit.bot")

OnFailure: TypeAlias = Literal["retry", "disable"]
State: TypeAlias = Literal["waiting", "running", "disabled", "done"]
FIRST_WAIT = 1.0
LONGEST_WAIT = 300.0
"""Seconds before a failed job is tried again: twice as long each time in a row, up to this."""
LONGEST_NAP = 30.0
"""Seconds after which a waiting job looks at the time of day again: clocks are set, computers sleep."""


@frozen(kw_only=True, eq=False)
class JobDeclared:
    """A job as it was declared."""

    name: str
    function: Callable[[Any], Awaitable[Any]]
    schedule: Schedule
    on_failure: OnFailure = "retry"


@define(eq=False)
class Job:
    """A job that runs, and how it has fared: for ``!jobs`` and for programs."""

    declared: JobDeclared
    plugin: str
    state: State = "waiting"
    runs: int = 0
    failures: int = 0
    in_a_row: int = 0
    last_error: str = ""
    next_at: datetime | None = None

    @property
    def name(self) -> str:
        """What it is called."""
        return self.declared.name

    def line(self) -> str:
        """Return how it fares, in one line."""
        failed = f", {self.failures} failed (last: {self.last_error})" if self.failures else ""
        due = f", next {self.next_at:%Y-%m-%d %H:%M:%S} UTC" if self.next_at and self.state == "waiting" else ""
        return f"{self.name}: {self.declared.schedule}; {self.state}{due}; {self.runs} runs{failed}"


async def supervise(job: Job, run: Callable[[Job, datetime], Awaitable[None]], now: Callable[[], datetime]) -> None:
    """Run a job by its schedule until it has no next time or is disabled; ``run`` runs it once."""
    while True:
        job.next_at = due = _next(job, now())
        if due is None:
            job.state = "done"
            return
        job.state = "waiting"
        if job.declared.schedule.by_the_day and not job.in_a_row:
            await _wait_until(due, now)
        else:
            await trio.sleep(max(0.0, (due - now()).total_seconds()))
        job.state = "running"
        try:
            await run(job, due)
        except Exception as error:
            _failed(job, error)
            if job.declared.on_failure == "disable":
                job.state, job.next_at = "disabled", None
                return
        else:
            job.in_a_row = 0
            job.runs += 1


def _next(job: Job, now: datetime) -> datetime | None:
    if job.in_a_row:
        wait = min(FIRST_WAIT * 2 ** (job.in_a_row - 1), LONGEST_WAIT)
        return now + timedelta(seconds=wait)
    return job.declared.schedule.next_after(now, job.runs)


def _failed(job: Job, error: Exception) -> None:
    job.failures += 1
    job.in_a_row = min(job.in_a_row + 1, 60)
    job.last_error = f"{type(error).__name__}: {error}"
    log.error("job %s failed, %d times in a row", job.name, job.in_a_row, exc_info=error)


async def _wait_until(due: datetime, now: Callable[[], datetime]) -> None:
    while True:
        left = (due - now()).total_seconds()
        if left <= 0:
            await trio.lowlevel.checkpoint()
            return
        await trio.sleep(min(left, LONGEST_NAP))


def utc_now() -> datetime:
    """Return the time of day."""
    return datetime.now(UTC)
