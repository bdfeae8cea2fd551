"""Whether a client is connected, and what it does if it is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import trio
from attrs import frozen

from chatkit.errors import ChatError, Disconnected


@frozen
class Connected:
    """Logged in and live."""


@frozen(kw_only=True)
class Reconnecting:
    """The link was lost, and the client tries again by itself."""

    why: ChatError
    """What ended the link, or made the last try fail."""
    attempt: int
    """Which try comes next, from 1."""
    next_try: float
    """When, by `trio.current_time`."""


@frozen
class Closed:
    """The link is gone for good."""

    why: ChatError

    def again(self) -> ChatError:
        """Return the reason as a new exception: one object raised in two tasks would mix up their tracebacks."""
        why = self.why
        if isinstance(why, Disconnected):
            return Disconnected(why.code, why.reason, reconnect=why.reconnect)
        again = Disconnected(1000, str(why), reconnect=False)
        again.__cause__ = why
        return again


Status: TypeAlias = Connected | Reconnecting | Closed


class StatusStream:
    """An iterator over what a client's status is and becomes. Made by `Client.statuses`."""

    def __init__(self, now: Callable[[], tuple[Status, trio.Event]]) -> None:
        self._now = now
        self._last: Status | None = None

    def __aiter__(self) -> StatusStream:
        return self

    async def __anext__(self) -> Status:
        await trio.lowlevel.checkpoint()
        if isinstance(self._last, Closed):
            raise StopAsyncIteration
        while (now := self._now())[0] is self._last:
            await now[1].wait()
        self._last = now[0]
        return now[0]
