"""Group commit: what sessions propose gathers, is committed as one batch, and is answered in one sweep.

Laws: `submit` never waits; changes are committed in the order they were submitted; every submitted change is
resolved exactly once, with an outcome or with the error that left it unknown; behind a change that takes rights away
nothing that has to do with them is committed before that change has been applied and what waits has been judged again;
everybody else's goes on.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import trio

from chatkit.backend.interface import Backend
from chatkit.backend.records import Applied, Change, Outcome, Refused
from chatkit.engine.decisions import EVERYBODY
from chatkit.errors import StorageUnavailable
from chatkit.server.config import ServerConfig
from chatkit.server.logbook import Logbook
from chatkit.server.statistics import Counters

CROWD = 4
"""Changes in one commit that show that many people speak at once …"""
CROWD_LASTS = 0.1
"""… and for how many seconds that is taken to go on; a lone message never waits."""
LOOK = 8
"""Every so many commits of a crowd, one is waited for longer, to see whether the crowd is larger than it seems: two
halves that take turns would never meet otherwise."""
Judge: TypeAlias = Callable[[], Refused | None]
log = Logbook("chatkit.server.commit")


class Ticket(ABC):
    """One submitted change and who waits for it."""

    __slots__ = ("change", "fence", "size")

    def __init__(self, change: Change, size: int, *, fence: tuple[str, ...] = ()) -> None:
        self.change = change
        self.size = size
        self.fence = fence
        """Whose rights it takes away, or where."""

    @abstractmethod
    def resolve(self, outcome: Outcome | StorageUnavailable) -> None:
        """Take the outcome; must not raise."""

    def touches(self) -> tuple[str, ...]:
        """Return what it has to do with: who submitted it, on which link, in which room; must not raise."""
        return ()

    def judge_again(self) -> Refused | None:
        """Return the refusal if who submitted this may no longer do so; must not raise."""
        return None

    def finish(self) -> None:
        """Called once the whole batch is resolved, for work that is done once for several tickets."""
        return


class Waiting(Ticket):
    """A ticket for a task that awaits the outcome."""

    __slots__ = ("_done", "_judge", "_outcome", "_touches")

    def __init__(
        self, change: Change, *, fence: tuple[str, ...], touches: tuple[str, ...], judge: Judge | None
    ) -> None:
        super().__init__(change, 0, fence=fence)
        self._touches = touches
        self._judge = judge
        self._done = trio.Event()
        self._outcome: Outcome | StorageUnavailable | None = None

    def resolve(self, outcome: Outcome | StorageUnavailable) -> None:
        self._outcome = outcome
        self._done.set()

    def touches(self) -> tuple[str, ...]:
        return self._touches

    def judge_again(self) -> Refused | None:
        return None if self._judge is None else self._judge()

    async def outcome(self) -> Outcome:
        """Wait for the outcome. Raises `StorageUnavailable`. Cancelling waits no longer; the change stands."""
        await self._done.wait()
        if isinstance(self._outcome, StorageUnavailable) or self._outcome is None:
            raise StorageUnavailable("the outcome of this change is unknown") from self._outcome
        return self._outcome


class Committer:
    """The one task that commits."""

    def __init__(
        self,
        backend: Backend,
        config: ServerConfig,
        counters: Counters,
        publish: Callable[[], None],
        reached: Callable[[int], Awaitable[None]],
    ) -> None:
        """``publish`` takes in what the feed has at hand; ``reached`` returns once it has been taken in up to a
        position."""
        self.healthy = True
        """Whether the last commit succeeded."""
        self._publish = publish
        self._reached = reached
        self._counters = counters
        self._backend = backend
        self._config = config
        self._queue: deque[Ticket] = deque()
        self._bytes = 0
        self._crowd = 0
        """Changes to expect in the next commit."""
        self._commits = 0
        self._last_end = -math.inf
        self._arrived = trio.Event()
        self._wanted = 1
        """Changes that have arrived when `_arrived` is set."""
        self._capacity = trio.Event()
        self._idle = trio.Event()
        self._idle.set()

    def submit(self, ticket: Ticket) -> None:
        """Queue a change for the next commit."""
        self._queue.append(ticket)
        self._bytes += ticket.size
        self._idle = trio.Event() if self._idle.is_set() else self._idle
        if len(self._queue) >= self._wanted:
            self._arrived.set()

    async def commit(
        self,
        change: Change,
        *,
        fence: tuple[str, ...] = (),
        touches: tuple[str, ...] = (),
        judge: Judge | None = None,
    ) -> Outcome:
        """Submit a change and wait for its outcome. Raises `StorageUnavailable`. It takes rights away from what is in
        ``fence``; ``judge`` says whether another change like that, to any of what it ``touches``, has made this one
        unlawful while it waited."""
        ticket = Waiting(change, fence=fence, touches=touches, judge=judge)
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
            if not self._queue:
                self._idle.set()
                await self._wait_for(1)
            await self._gather()
            if self._queue:  # what waited may have been refused meanwhile
                await self._commit_some()

    async def _gather(self) -> None:
        """While many people speak at once, wait a moment until as many have spoken as did before: a burst is one
        commit and one write to each member. They speak again when they have got what the last commit brought."""
        now = trio.current_time()
        if self._crowd < CROWD or now > self._last_end + CROWD_LASTS:
            return
        looking = self._commits % LOOK == 0
        if looking or len(self._queue) < self._crowd:
            with trio.move_on_at(max(now, self._last_end) + self._config.commit_gather):
                await self._wait_for(self._config.commit_changes if looking else self._crowd)

    async def _wait_for(self, changes: int) -> None:
        self._wanted, self._arrived = changes, trio.Event()
        await self._arrived.wait()

    def published(self) -> None:
        """What was committed has just been handed to everybody."""
        self._last_end = trio.current_time()

    async def _commit_some(self) -> None:
        tickets = self._next_tickets()
        began = trio.current_time()
        outcomes = await self._outcomes([ticket.change for ticket in tickets])
        self._counters.committed(len(tickets), trio.current_time() - began)
        self._publish()
        for ticket, outcome in zip(tickets, outcomes, strict=True):
            self._bytes -= ticket.size
            ticket.resolve(outcome)
        for ticket in tickets:
            ticket.finish()
        self._crowd = max(len(tickets), self._crowd // 2)
        self._commits += 1
        fences = [
            outcome.position
            for ticket, outcome in zip(tickets, outcomes, strict=True)
            if ticket.fence and isinstance(outcome, Applied)
        ]
        if fences:
            await self._reached(max(fences))
            self.judge_again()
        self._wake_waiting()

    def _wake_waiting(self) -> None:
        if not self.full:
            self._capacity.set()
            self._capacity = trio.Event()

    def _next_tickets(self) -> list[Ticket]:
        """Take what is to be committed together: nothing behind a change that takes rights away and has to do with
        what it takes them from, and nothing that somebody asked for behind what has to wait."""
        tickets: list[Ticket] = []
        waiting: list[Ticket] = []
        fenced: set[str] = set()
        while self._queue and len(tickets) < self._config.commit_changes:
            ticket = self._queue.popleft()
            if fenced and (touched := ticket.touches()) and (EVERYBODY in fenced or not fenced.isdisjoint(touched)):
                waiting.append(ticket)
                fenced.add(touched[0])
                continue
            tickets.append(ticket)
            fenced.update(ticket.fence)
        self._queue.extendleft(reversed(waiting))
        return tickets

    def judge_again(self) -> None:
        """Refuse what is waiting and may not be any more."""
        waiting, self._queue = self._queue, deque()
        refused: list[Ticket] = []
        for ticket in waiting:
            refusal = ticket.judge_again()
            if refusal is None:
                self._queue.append(ticket)
                continue
            self._bytes -= ticket.size
            ticket.resolve(refusal)
            refused.append(ticket)
        for ticket in refused:
            ticket.finish()
        if refused:
            self._wake_waiting()  # it may be all there was: then no commit follows that would

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
