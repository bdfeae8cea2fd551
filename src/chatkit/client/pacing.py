"""Going no faster than the server allows, by oneself.

A client waits its turn rather than being refused: it keeps to the rates that the server's ``hello`` announces. If it
is refused all the same (others share its allowance, say), it waits as long as it was told and asks again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import trio

from chatkit.protocol import messages as m
from chatkit.protocol.rates import Bucket, Rate

READS = (m.History, m.ListRooms, m.ListUsers, m.JoinRoom)
CAUTION = 0.95
"""How much of the announced rates a client uses: the two ends' clocks and the network are not exact."""


class Pacing:
    """The rates of one server, as one client keeps to them."""

    def __init__(self) -> None:
        self._buckets: dict[str, Bucket] = {}
        self._turns: dict[str, trio.Lock] = {}

    @property
    def counts_bytes(self) -> bool:
        """Whether the size of a request matters."""
        return "bytes" in self._buckets

    def announce(self, limits: Mapping[str, int]) -> None:
        """Take in what a server's ``hello`` announces; buckets of an earlier link stay as full as they are."""
        for scope in ("messages", "reads", "requests", "bytes"):
            burst, per_second = limits.get(f"{scope}_burst", 0), limits.get(f"{scope}_per_second", 0)
            if burst <= 0 or per_second <= 0:
                self._buckets.pop(scope, None)
                continue
            rate = Rate(max(1.0, burst * CAUTION), per_second * CAUTION)
            if scope not in self._buckets or self._buckets[scope].rate != rate:
                self._buckets[scope] = Bucket(rate)

    async def wait_turn(self, request: m.Request[Any], size: int = 0) -> None:
        """Return when a request of ``size`` bytes may be sent. First come, first served, within a scope."""
        scope = _scope_of(request)
        if scope not in self._buckets and not size:
            return
        async with self._turns.setdefault(scope, trio.Lock()):
            await self._wait(scope, 1)
            if size:
                async with self._turns.setdefault("bytes", trio.Lock()):
                    await self._wait("bytes", size)

    async def _wait(self, scope: str, amount: int) -> None:
        while bucket := self._buckets.get(scope):
            wait = bucket.take(trio.current_time(), amount)
            if not wait:
                return
            await trio.sleep(wait)


def _scope_of(request: m.Request[Any]) -> str:
    if isinstance(request, m.SendMessage):
        return "messages"
    return "reads" if isinstance(request, READS) else "requests"
