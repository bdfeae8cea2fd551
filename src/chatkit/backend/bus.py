"""The bus of a deployment that is one process: signals go from task to task."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from types import TracebackType

import trio

from chatkit.backend.interface import Bus

MAX_SIGNALS = 1_000
"""Signals waiting for one subscriber before its oldest are dropped: ephemeral things age fast."""


class LocalBus(Bus):
    """A `Bus` within this process. Deterministic: subscribers are served in the order they came.

    A signal published before a subscription was entered is not seen by it. After `close`, what was waiting is still
    delivered, then every subscription ends; publishing does nothing.
    """

    def __init__(self) -> None:
        self._subscriptions: dict[Subscription, None] = {}
        self._closed = False

    async def publish(self, topic: str, data: bytes) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        for subscription in self._subscriptions:
            subscription.offer((topic, data))
        await trio.lowlevel.cancel_shielded_checkpoint()

    def subscribe(self) -> AbstractAsyncContextManager[AsyncIterator[tuple[str, bytes]]]:
        return Subscription(self)

    def close(self) -> None:
        """End every subscription. A second call does nothing."""
        self._closed = True
        for subscription in list(self._subscriptions):
            self.remove(subscription)

    def add(self, subscription: Subscription) -> None:
        """Take a subscription in; one that comes after `close` ends at once."""
        if self._closed:
            subscription.end()
        else:
            self._subscriptions[subscription] = None

    def remove(self, subscription: Subscription) -> None:
        """Let a subscription go and end it."""
        self._subscriptions.pop(subscription, None)
        subscription.end()


class Subscription(AsyncIterator[tuple[str, bytes]]):
    """What one subscriber has not taken yet."""

    def __init__(self, bus: LocalBus) -> None:
        self._bus = bus
        self._signals: deque[tuple[str, bytes]] = deque(maxlen=MAX_SIGNALS)
        self._news = trio.lowlevel.ParkingLot()
        self._ended = False

    def offer(self, signal: tuple[str, bytes]) -> None:
        """Put a signal in; the oldest falls out if there are too many."""
        self._signals.append(signal)
        self._news.unpark()

    def end(self) -> None:
        """Nothing more comes."""
        self._ended = True
        self._news.unpark_all()

    async def __aenter__(self) -> Subscription:
        await trio.lowlevel.checkpoint()
        self._bus.add(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bus.remove(self)

    async def __anext__(self) -> tuple[str, bytes]:
        if self._signals:
            await trio.lowlevel.checkpoint()
        while not self._signals:
            if self._ended:
                raise StopAsyncIteration
            await self._news.park()
        return self._signals.popleft()
