"""Whether a client is connected, and what it does if it is not."""

from __future__ import annotations

from typing import TypeAlias

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
