"""What keeps a client connected: one link after the other, each logged in and caught up with what was missed.

Laws: after a lost link every room goes on from its position; there is never more than one link; when there will be no
other, whoever waits is told why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import trio

from chatkit.client.asking import Asking
from chatkit.client.calls import TRY_AGAIN, Call
from chatkit.client.dial import Dial
from chatkit.client.entrance import Entrance
from chatkit.client.following import Following
from chatkit.client.link import Link
from chatkit.client.state import MOST_ROOMS
from chatkit.client.status import Closed, Connected, Reconnecting, Standing
from chatkit.errors import ChatError, ConnectFailed, Disconnected, RequestFailed
from chatkit.private import private_nursery
from chatkit.protocol import messages as m

REFETCHED = 50
"""Entries fetched anew for a room whose log is another one after a reconnect."""
STABLE = 1.0
"""A conversation of at least this many seconds makes the backoff begin anew."""
HEARTBEATS = (1.0, 300.0)
"""The shortest and the longest heartbeat a client believes, in seconds."""


class Lifeline:
    """What runs in the background of a client. Made and run by `connect`."""

    def __init__(
        self, dial: Dial, entrance: Entrance, standing: Standing, asking: Asking, following: Following
    ) -> None:
        self._dial = dial
        self._entrance = entrance
        self._standing = standing
        self._asking = asking
        self._following = following
        self._talked_for = 0.0

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Stay connected until `Client.leave`, or until the link is gone for good. Raises what the first try raises."""
        try:
            why = await self._stay_connected(await self._converse(task_status.started))
        except BaseException:
            self._close(Disconnected(1006, "the client was cancelled", reconnect=False))
            raise
        self._close(why)

    def _close(self, why: ChatError) -> None:
        closed = Closed(why)
        self._standing.become(closed)
        self._asking.give_up(closed)
        self._following.wake()

    async def _stay_connected(self, why: ChatError) -> ChatError:
        """Begin one conversation after the other; return why there is no sense in another try."""
        backoff = self._dial.backoff
        tries: Iterator[tuple[int, float]] = iter(())
        tried = False
        while backoff is not None and not self._standing.leaving and _worth_a_try(why):
            if self._talked_for >= STABLE or not tried:
                tried = True
                tries = enumerate(backoff.delays(self._dial.entropy.random), start=1)
            attempt, delay = next(tries, (0, 0.0))
            if not attempt:
                break
            self._standing.become(Reconnecting(why=why, attempt=attempt, next_try=trio.current_time() + delay))
            await trio.sleep(delay)
            try:
                why = await self._converse(lambda: None)
            except ChatError as error:
                why = error
        return why

    async def _converse(self, begun: Callable[[], None]) -> Disconnected:
        """Connect, log in, say that it has begun, and return why the link ended. Raises `ConnectFailed`,
        `RequestFailed`, `Disconnected` if it did not begin."""
        self._talked_for = 0.0  # also where nobody answers: else every try would be the first after a long talk
        async with private_nursery(lambda nursery: nursery.cancel_scope.cancel()) as nursery:
            link = await self._dial.connect(nursery, self._following.happened)
            ended: list[Disconnected] = []
            over = trio.Event()
            try:
                with self._dial.patience() as patience:
                    self._standing.hello = await link.hello()
                    self._asking.pacing.announce(self._standing.hello.limits)
                    nursery.start_soon(_receive, link, ended, over)
                    await self._log_in(link)
                if patience.cancelled_caught:
                    raise self._dial.too_slow()
                nursery.start_soon(_keep_heartbeat, link, self._standing.hello.heartbeat)
                began_at = trio.current_time()
                self._standing.become(Connected())
                begun()
                await self._asking.go_on(link)
                await over.wait()
                self._talked_for = trio.current_time() - began_at
            finally:
                self._asking.carry_over(link)
                link.connection.abort()
            return ended[0]
        raise AssertionError("unreachable")

    async def _log_in(self, link: Link) -> None:
        state = self._following.state
        anew: list[str] = []
        await _ask(link, Call(self._entrance.words(state), lambda reply: anew.extend(self._let_in(reply)), once=True))
        await self._list_rooms(link)
        for name in anew:
            room = state.rooms.get(name)
            if room is not None and room.joined:
                page = await _ask(link, Call(m.History(room=name, limit=REFETCHED), None, once=True))
                state.fetched(room, page.events)
        self._following.wake_rooms()

    def _let_in(self, reply: m.LoggedIn) -> list[str]:
        anew = self._following.logged_in(reply)
        self._entrance.let_in(reply, role=self._following.state.role)
        return anew

    async def _list_rooms(self, link: Link) -> None:
        asked = 0
        last: str | None = None

        def goes_on(page: m.Rooms) -> bool:
            return page.more and bool(page.rooms) and page.rooms[-1].room != last and asked < MOST_ROOMS

        def take(page: m.Rooms) -> None:
            nonlocal asked
            asked += len(page.rooms)
            self._following.state.listed(page.rooms, first=last is None, more=goes_on(page))

        while True:
            page: m.Rooms = await _ask(link, Call(m.ListRooms(after=last), take, once=True))
            if not goes_on(page):
                return
            last = page.rooms[-1].room


async def _receive(link: Link, ended: list[Disconnected], over: trio.Event) -> None:
    ended.append(await link.run())
    for call in link.left_over():
        if not call.repeatable:
            call.finish(Disconnected(ended[0].code, ended[0].reason, reconnect=ended[0].reconnect))
    over.set()


async def _keep_heartbeat(link: Link, interval: float) -> None:
    """End a link on which the server has been silent for too long, though it was asked for a sign of life."""
    connection, asked = link.connection, False
    interval = min(max(interval, HEARTBEATS[0]), HEARTBEATS[1])
    while True:
        await trio.sleep(interval / 3)
        silent = trio.current_time() - connection.last_heard
        if silent < interval:
            asked = False
        elif asked and silent > interval * 4 / 3:
            connection.abort()
        else:
            await connection.ping()
            asked = True


async def _ask(link: Link, call: Call) -> Any:
    """Make a call of logging in, on this link or not at all."""
    try:
        await link.send(call)
        return (await call.wait()).reply
    finally:
        link.forget(call)


def _worth_a_try(why: ChatError) -> bool:
    if isinstance(why, Disconnected):
        return why.reconnect
    return isinstance(why, ConnectFailed) or (isinstance(why, RequestFailed) and why.code in TRY_AGAIN)
