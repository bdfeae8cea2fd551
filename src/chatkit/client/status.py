"""Whether a client is connected, and what it does if it is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import trio
from attrs import frozen

from chatkit.errors import ChatError, Disconnected
from chatkit.protocol import messages as m


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


class Standing:
    """How a client stands with its server: whether it is connected, what the server said of itself."""

    def __init__(self) -> None:
        self.hello: m.Hello
        """The server's first word on the newest link; there is none before the first."""
        self.status: Status = Connected()
        self.changed = trio.Event()
        """Set at the next change of the status; there is another one then."""
        self.leaving = False
        """Whether the client is about to go: then a lost link is not made anew."""

    def become(self, status: Status) -> None:
        """Let the status be another one, and wake whoever waits for that."""
        self.status = status
        self.changed.set()
        self.changed = trio.Event()

    def failure(self) -> ChatError | None:
        """Return why the link is gone for good, as a new exception; None if it is not."""
        return self.status.again() if isinstance(self.status, Closed) else None

    def check_alive(self) -> None:
        """Raises `Disconnected` if the link is gone for good, else does nothing."""
        failure = self.failure()
        if failure is not None:
            raise failure


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
