"""Group commit: what sessions propose gathers, is committed as one batch, and is answered in one sweep.

Laws: `submit` never waits; changes are committed in the order they were submitted; every submitted change is
resolved exactly once, with an outcome or with the error that left it unknown.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence

import trio

from chatkit.backend.interface import Backend
from chatkit.backend.records import Change, Outcome
from chatkit.errors import StorageUnavailable
from chatkit.server.config import ServerConfig
from chatkit.server.logbook import Logbook
from chatkit.server.statistics import Counters

CROWD = 4
"""Changes in one commit that show that many people speak at once …"""
CROWD_LASTS = 0.1
"""… and for how many seconds that is taken to go on; a lone message never waits."""
BURST_ROUNDS = 50
"""Rounds of the event loop that a growing burst may delay its first message: well below a millisecond."""
log = Logbook("chatkit.server.commit")


class Ticket(ABC):
    """One submitted change and who waits for it."""

    __slots__ = ("change", "size")

    def __init__(self, change: Change, size: int) -> None:
        self.change = change
        self.size = size

    @abstractmethod
    def resolve(self, outcome: Outcome | StorageUnavailable) -> None:
        """Take the outcome; must not raise."""

    def finish(self) -> None:
        """Called once the whole batch is resolved, for work that is done once for several tickets."""
        return


class Waiting(Ticket):
    """A ticket for a task that awaits the outcome."""

    __slots__ = ("_done", "_outcome")

    def __init__(self, change: Change, size: int = 0) -> None:
        super().__init__(change, size)
        self._done = trio.Event()
        self._outcome: Outcome | StorageUnavailable | None = None

    def resolve(self, outcome: Outcome | StorageUnavailable) -> None:
        self._outcome = outcome
        self._done.set()

    async def outcome(self) -> Outcome:
        """Wait for the outcome. Raises `StorageUnavailable`. Cancelling waits no longer; the change stands."""
        await self._done.wait()
        if isinstance(self._outcome, StorageUnavailable) or self._outcome is None:
            raise StorageUnavailable("the outcome of this change is unknown") from self._outcome
        return self._outcome


class Committer:
    """The one task that commits."""

    def __init__(self, backend: Backend, config: ServerConfig, counters: Counters) -> None:
        self.healthy = True
        """Whether the last commit succeeded."""
        self._counters = counters
        self._backend = backend
        self._config = config
        self._queue: deque[Ticket] = deque()
        self._bytes = 0
        self._crowd = 0.0
        self._last_end = -math.inf
        self._arrived = trio.Event()
        self._capacity = trio.Event()
        self._idle = trio.Event()
        self._idle.set()

    def submit(self, ticket: Ticket) -> None:
        """Queue a change for the next commit."""
        self._queue.append(ticket)
        self._bytes += ticket.size
        self._idle = trio.Event() if self._idle.is_set() else self._idle
        self._arrived.set()

    async def commit(self, change: Change) -> Outcome:
        """Submit a change and wait for its outcome. Raises `StorageUnavailable`."""
        ticket = Waiting(change)
        self.submit(ticket)
        return await ticket.outcome()

    @property
    def waiting(self) -> int:
        """Changes submitted whose commit has not begun."""
        return len(self._queue)

    @property
    def full(self) -> bool:
        """Whether more waits than may; whoever submits more should `wait_capacity` first."""
        return self._bytes >= self._config.in_flight_total_bytes

    async def wait_capacity(self) -> None:
        """Return once less waits than may."""
        while self.full:
            await self._capacity.wait()

    async def wait_idle(self) -> None:
        """Return once nothing is waiting or under way."""
        await self._idle.wait()

    async def run(self) -> None:
        """Commit whatever is submitted, until cancelled."""
        while True:
            if self._queue:
                await self._gather()
            else:
                self._idle.set()
                self._arrived = trio.Event()
                await self._arrived.wait()
                await self._let_burst_in()
            await self._commit_some()

    async def _gather(self) -> None:
        """Wait a moment from when everybody has got what the last commit brought: that is when they say more."""
        await trio.lowlevel.checkpoint()
        await trio.sleep_until(self._last_end + self._config.commit_gather)

    def published(self) -> None:
        """What was committed has just been handed to everybody."""
        self._last_end = trio.current_time()

    async def _let_burst_in(self) -> None:
        """What arrives together is read by several tasks one after the other, each when the loop comes round to it:
        wait as long as every round brings more, so that a burst is one commit and one write to each member."""
        if self._crowd >= CROWD and trio.current_time() < self._last_end + CROWD_LASTS:
            # Many were under way a moment ago: what comes now is the first of as many.
            await trio.sleep(self._config.commit_gather)
            return
        for _ in range(BURST_ROUNDS):
            before = len(self._queue)
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
            if len(self._queue) == before:
                return

    async def _commit_some(self) -> None:
        tickets = [self._queue.popleft() for _ in range(min(len(self._queue), self._config.commit_changes))]
        began = trio.current_time()
        outcomes = await self._outcomes([ticket.change for ticket in tickets])
        self._counters.committed(len(tickets), trio.current_time() - began)
        for ticket, outcome in zip(tickets, outcomes, strict=True):
            self._bytes -= ticket.size
            ticket.resolve(outcome)
        for ticket in tickets:
            ticket.finish()
        self._crowd = max(len(tickets), self._crowd / 2)
        if not self.full:
            self._capacity.set()
            self._capacity = trio.Event()

    async def _outcomes(self, changes: list[Change]) -> Sequence[Outcome | StorageUnavailable]:
        try:
            outcomes = await self._backend.commit(changes)
        except StorageUnavailable as error:
            log.error(
                "a commit of %d changes failed, their outcome is unknown: %s",
                len(changes),
                error,
                event="commit_failed",
            )
            unknown = error
        except Exception as error:
            log.exception(
                "the backend broke its contract in a commit of %d changes", len(changes), event="commit_failed"
            )
            unknown = StorageUnavailable(str(error))
        else:
            self.healthy = True
            return outcomes
        self.healthy = False
        self._counters.commit_failures += 1
        return [unknown] * len(changes)
