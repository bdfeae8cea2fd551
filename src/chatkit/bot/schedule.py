"""When a job runs next. Facts and arithmetic only: no clock is read here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import ClassVar, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from attrs import frozen

from chatkit.errors import UsageError

Seconds: TypeAlias = float | timedelta


def seconds_of(length: Seconds) -> float:
    """Return a length of time in seconds."""
    return length.total_seconds() if isinstance(length, timedelta) else float(length)


class Schedule(ABC):
    """Says when a job runs."""

    by_the_day: ClassVar[bool] = False
    """Whether it goes by the time of day; else it is a length of time, which no clock that is set can change."""

    @abstractmethod
    def next_after(self, now: datetime, runs: int) -> datetime | None:
        """Return when the next run begins, after ``runs`` of them; None if there is none."""


@frozen
class Every(Schedule):
    """Again and again, so many seconds after the end of the run before; the first time after as many, or at once."""

    seconds: float
    at_once: bool = False

    def __attrs_post_init__(self) -> None:
        if not 0 < self.seconds < 1e9:
            raise UsageError("a job that repeats does so every so many seconds, more than 0")

    def __str__(self) -> str:
        return f"every {timedelta(seconds=self.seconds)}"

    def next_after(self, now: datetime, runs: int) -> datetime:
        """Return now plus the interval."""
        return now if self.at_once and not runs else now + timedelta(seconds=self.seconds)


@frozen
class Daily(Schedule):
    """Each day at a time of day in a time zone."""

    by_the_day = True
    at: time
    zone: tzinfo

    def __str__(self) -> str:
        return f"daily at {self.at:%H:%M} {self.zone}"

    def next_after(self, now: datetime, runs: int) -> datetime:
        """Return the next such moment after now."""
        local = now.astimezone(self.zone)
        day = local.date()
        while True:
            wanted = datetime.combine(day, self.at, self.zone).astimezone(UTC)
            if wanted > now:
                return wanted
            day += timedelta(days=1)


@frozen
class Once(Schedule):
    """A single time, so many seconds after the bot has started."""

    seconds: float

    def __str__(self) -> str:
        return f"once, {timedelta(seconds=self.seconds)} after the start"

    def next_after(self, now: datetime, runs: int) -> datetime | None:
        """Return now plus the wait, the first time."""
        return None if runs else now + timedelta(seconds=self.seconds)


def daily(at: str | time, zone: str | tzinfo) -> Daily:
    """Return the schedule of a time of day. Raises `UsageError` for a time or a zone that there is not."""
    try:
        when = time.fromisoformat(at) if isinstance(at, str) else at
        return Daily(when.replace(tzinfo=None), ZoneInfo(zone) if isinstance(zone, str) else zone)
    except (ValueError, ZoneInfoNotFoundError) as error:
        raise UsageError(f"{at!r} in {zone!r} is no time of day: {error}") from error
