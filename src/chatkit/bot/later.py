"""Things to do at a later time that outlive the program: kept in the bot's memory until they are done.

Laws: what was put off is run once its time has come, also after a restart; it is forgotten only when it has
succeeded; what it says is said once, however often it is run.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import trio
from attrs import define

from chatkit.bot.contain import contained
from chatkit.bot.job import FIRST_WAIT, LONGEST_NAP, LONGEST_WAIT
from chatkit.bot.schedule import Seconds, seconds_of
from chatkit.errors import StorageUnavailable, UsageError

if TYPE_CHECKING:
    from chatkit.bot.context import JobContext
    from chatkit.bot.memory import Shelf

log = logging.getLogger("chatkit.bot")
GIVEN_UP = 10
"""After so many failures in a row a put-off thing is dropped, and the log says so."""


class Later:
    """A function whose calls can be put off. Made by ``@bot.later``.

    ::

        @bot.later
        async def remind(ctx, room, user, text):
            await ctx.say(f"{user}: {text}", room=room)

        await remind.after(600, room="general", user="ann", text="tea")
    """

    def __init__(self, name: str, function: Callable[..., Awaitable[Any]]) -> None:
        if not inspect.iscoroutinefunction(function):
            raise UsageError(f"{name}: what is put off is an async function")
        self.name = name
        self._function = function
        self._shelf: Shelf | None = None
        self._new_id: Callable[[], str] = str
        self._now: Callable[[], datetime] = lambda: datetime.now(UTC)
        self._changed = trio.Event()

    async def __call__(self, context: Any, **arguments: Any) -> Any:
        """Call the function now."""
        return await self._function(context, **arguments)

    async def after(self, length: Seconds, *, key: str | None = None, **arguments: Any) -> str:
        """Put a call off for so many seconds; return its id. The arguments are JSON values. It is kept when this
        returns; putting off under a ``key`` again replaces what was there. Raises `UsageError`,
        `StorageUnavailable`."""
        return await self.at(self._now() + timedelta(seconds=seconds_of(length)), key=key, **arguments)

    async def at(self, when: datetime, *, key: str | None = None, **arguments: Any) -> str:
        """As `after`, to a point in time."""
        shelf = self._running()
        id = key or self._new_id()
        await shelf.set(id, {"at": when.timestamp(), "arguments": arguments})
        self._changed.set()
        return id

    async def cancel(self, id: str) -> None:
        """Forget a call that was put off, if it is still waiting."""
        await self._running().delete(id)

    async def waiting(self) -> dict[str, tuple[datetime, dict[str, Any]]]:
        """Return what is put off, by id: its time and its arguments."""
        found = await self._running().items()
        return {id: (datetime.fromtimestamp(one["at"], UTC), one["arguments"]) for id, one in found.items()}

    def _running(self) -> Shelf:
        if self._shelf is None:
            raise UsageError(f"{self.name} can be put off while its bot is running")
        return self._shelf

    async def run(
        self,
        shelf: Shelf,
        new_id: Callable[[], str],
        now: Callable[[], datetime],
        context: Callable[[str, str, datetime], JobContext],
    ) -> None:
        """Run what falls due, for as long as the bot lasts; ``context`` gives one for an id and its time."""
        self._shelf, self._new_id, self._now = shelf, new_id, now
        failing: dict[str, _Failing] = {}
        try:
            while True:
                self._changed = trio.Event()
                due, wait = await self._due(failing)
                for id, (at, arguments) in due.items():
                    await self._run_one(id, at, arguments, context, failing)
                if not due:
                    with trio.move_on_after(wait):
                        await self._changed.wait()
        finally:
            self._shelf = None

    async def _due(self, failing: dict[str, _Failing]) -> tuple[dict[str, tuple[datetime, dict[str, Any]]], float]:
        try:
            waiting = await self.waiting()
        except StorageUnavailable as error:
            log.warning("what %s put off cannot be read: %s", self.name, error)
            return {}, LONGEST_NAP
        now = self._now()
        times = {id: max(at, failing[id].not_before) if id in failing else at for id, (at, _) in waiting.items()}
        due = {id: waiting[id] for id in sorted(times, key=lambda id: times[id]) if times[id] <= now}
        wait = min(((at - now).total_seconds() for at in times.values()), default=LONGEST_NAP)
        return due, min(wait, LONGEST_NAP)

    async def _run_one(
        self,
        id: str,
        at: datetime,
        arguments: dict[str, Any],
        context: Callable[[str, str, datetime], JobContext],
        failing: dict[str, _Failing],
    ) -> None:
        try:
            await contained(self._function(context(self.name, id, at), **arguments))
            await self._running().delete(id)
            failing.pop(id, None)
        except Exception as error:
            log.error("%s %s, put off to %s, failed", self.name, id, at, exc_info=error)
            times = failing[id].times + 1 if id in failing else 1
            wait = min(FIRST_WAIT * 2**times, LONGEST_WAIT)
            failing[id] = _Failing(times, self._now() + timedelta(seconds=wait))
            if times >= GIVEN_UP:
                log.error("%s %s is given up after %d failures", self.name, id, times)
                del failing[id]
                await self._forget(id)

    async def _forget(self, id: str) -> None:
        try:
            await self._running().delete(id)
        except StorageUnavailable as error:
            log.warning("%s %s cannot be forgotten: %s", self.name, id, error)


@define
class _Failing:
    times: int
    not_before: datetime
