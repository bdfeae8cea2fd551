"""Requests of one client: sent on the link there is, or waiting for the next one.

Laws: requests go out in the order they were made; what a lost link left unanswered comes before what waits already,
if it is safe to repeat, and ends if it is not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from attrs import evolve

from chatkit.client.calls import Answer, Call
from chatkit.client.link import Link
from chatkit.client.pacing import Pacing
from chatkit.client.status import Closed, Standing
from chatkit.errors import Disconnected, UsageError
from chatkit.protocol import messages as m
from chatkit.protocol.codec import Codec

R = TypeVar("R")
LONGEST_REF = 2**53
"""Stands in for a request's ref where its size is reckoned."""


class Asking:
    """What a client asks, over as many links as it takes."""

    def __init__(self, codec: Codec, standing: Standing) -> None:
        self.link: Link | None = None
        """Where requests go at once; None while they wait."""
        self.pacing = Pacing()
        self._codec = codec
        self._standing = standing
        self._waiting: deque[Call] = deque()

    async def ask(self, request: m.Request[R], on_reply: Callable[[R], object] | None) -> Answer[R]:
        """Ask once, when it is this request's turn. Raises `RequestFailed`, `Disconnected`."""
        if self.link is not None:
            await self._wait_turn(request)
        call = Call(request, on_reply)
        try:
            if self.link is None:
                self._standing.check_alive()
                self._waiting.append(call)
            else:
                with suppress(Disconnected):
                    await self.link.send(call)
            return await call.wait()
        finally:
            self._forget(call)

    async def _wait_turn(self, request: m.Request[Any]) -> None:
        size = 0
        if self.pacing.counts_bytes:
            with suppress(UsageError):  # which sending it will tell
                size = len(self._codec.encode_request(request, LONGEST_REF))
        await self.pacing.wait_turn(request, size)

    def _forget(self, call: Call) -> None:
        if call.done:
            return
        with suppress(ValueError):
            self._waiting.remove(call)
        if self.link is not None:
            self.link.forget(call)

    async def go_on(self, link: Link) -> None:
        """Send what waits on a new link, and from then on everything at once."""
        with suppress(Disconnected):
            while self._waiting:
                await self._wait_turn(self._waiting[0].request)
                if self._waiting:  # nobody may wait any more for what was first
                    await link.send(self._waiting.popleft())
            self.link = link

    def carry_over(self, link: Link) -> None:
        """What the link left unanswered waits for the next one if it is safe to repeat, before what waits already."""
        self.link = None
        left = link.left_over()
        for call in left:
            if not call.repeatable:
                call.finish(Disconnected())
        self._waiting.extendleft(reversed([call for call in left if call.repeatable]))

    def give_up(self, closed: Closed) -> None:
        """End what waits: there will be no other link."""
        while self._waiting:
            self._waiting.popleft().finish(closed.again())

    def follow_names(self, names: Mapping[str, str]) -> None:
        """Let what waits go to the rooms it was meant for, by the names they have now."""
        for call in self._waiting:
            request: Any = call.request
            if getattr(request, "room", None) in names:
                call.request = evolve(request, room=names[request.room])
