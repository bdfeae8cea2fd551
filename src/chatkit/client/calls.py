"""Requests that wait for their replies, in the order they were made, over as many links as it takes.

Laws: a call ends exactly once: with its answer, with the server's refusal, or with `Disconnected`; a call that is
safe to repeat outlives its link, and is sent again in its place in the order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import trio
from attrs import frozen

from chatkit.errors import ChatError
from chatkit.protocol import accounts as acc
from chatkit.protocol import messages as m
from chatkit.protocol import moderation as mod

R = TypeVar("R")
OnReply = Callable[[Any], object]
REPEATABLE = (m.History, m.ListRooms, m.ListUsers, m.JoinRoom, acc.Sessions, mod.ListBans, mod.Audit)
"""Requests that change nothing when they are repeated. Any request with an ``op`` is safe besides."""
TRY_AGAIN = frozenset({"storage_unavailable", "rate_limited", "internal_error"})
"""Refusals that say nothing about the request itself: worth another try later."""


@frozen
class Answer(Generic[R]):
    """A reply, with the server's time in milliseconds since 1970."""

    reply: R
    timestamp: int


class Call:
    """A request that waits for its reply. One for a single link (``once``) does not outlive it."""

    __slots__ = ("_done", "_result", "on_reply", "once", "ref", "request")

    def __init__(self, request: m.Request[Any], on_reply: OnReply | None, *, once: bool = False) -> None:
        self.request = request
        self.once = once
        self.on_reply = on_reply
        self.ref = 0
        self._done = trio.Event()
        self._result: Answer[Any] | ChatError | None = None

    @property
    def repeatable(self) -> bool:
        """Whether the request may be sent again when its first outcome is unknown."""
        if self.once:
            return False
        return isinstance(self.request, REPEATABLE) or getattr(self.request, "op", None) is not None

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self._result is not None

    def finish(self, result: Answer[Any] | ChatError) -> None:
        """End the call; the first end counts."""
        if self._result is None:
            self._result = result
            self._done.set()

    async def wait(self) -> Answer[Any]:
        """Return the answer. Raises `RequestFailed`, `Disconnected`."""
        await self._done.wait()
        if not isinstance(self._result, Answer):
            raise self._result or AssertionError("a call ended without a result")
        return self._result
