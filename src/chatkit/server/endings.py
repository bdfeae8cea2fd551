"""Ending logins at the moment they run out, and letting go of what has: one task each, for all sessions.

Laws: a link is ended when its login runs out, whether the store can be reached or not; nothing is done per message, and
per login something only if it ends before the next look at all of them.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

import trio

from chatkit.errors import StorageUnavailable

if TYPE_CHECKING:
    from chatkit.server.core import Core

LOOKS = 4
"""Looks at what has run out within the life of a login, at least: one in use is refreshed before it ends."""


class Endings:
    """Knows which of those who are logged in run out next. Times of day are in milliseconds since 1970."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._every = min(core.config.sweep_interval, core.config.engine.session_life / LOOKS)
        self._soon: list[tuple[int, int]] = []
        """When sessions run out, and which, the first first; of those after `_horizon` nothing is held."""
        self._horizon = 0
        self._sooner = trio.Event()

    def watch(self, session: int) -> None:
        """Let a session that has just logged in be ended in time."""
        end = self._core.engine.end_of(session)
        if end is not None and end <= self._horizon:
            heapq.heappush(self._soon, (end, session))
            self._sooner.set()

    async def end_in_time(self) -> None:
        """End every session when its login runs out, until cancelled."""
        while True:
            self._look_at_all()
            # A clock on the wall that is set anew is believed at the next look.
            with trio.move_on_after(self._every):
                while True:
                    self._sooner = trio.Event()
                    await self._wait_for_next(self._end_those_due())

    def _look_at_all(self) -> None:
        engine = self._core.engine
        self._horizon = self._core.now_ms() + int(self._every * 1000)
        ends = ((engine.end_of(session), session) for session in engine.sessions)
        self._soon = [(end, session) for end, session in ends if end is not None and end <= self._horizon]
        heapq.heapify(self._soon)

    def _end_those_due(self) -> float:
        """End whoever has run out; return in how many seconds somebody else will."""
        now = self._core.now_ms()
        while self._soon and self._soon[0][0] <= now:
            _, session = heapq.heappop(self._soon)
            over = self._core.engine.run_out_of(session, now)
            self._core.carry_out(over)
            if not over:
                self.watch(session)  # it has been refreshed meanwhile
        return (self._soon[0][0] - now) / 1000 if self._soon else self._every

    async def _wait_for_next(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await self._sooner.wait()

    async def let_go(self) -> None:
        """Let go of what has run out, and refresh the logins that are in use, until cancelled."""
        core = self._core
        while True:
            for change in core.engine.run_out(core.now_ms()):
                try:
                    await core.commit(change)
                except StorageUnavailable:
                    break
            await trio.sleep(self._every)
