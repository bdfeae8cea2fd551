"""Checks of the bus."""

from __future__ import annotations

from collections.abc import AsyncIterator
from secrets import token_hex

from chatkit.backend.interface import Backend
from chatkit.testing.backend.tools import expect


async def the_bus_reaches_all(backend: Backend) -> None:
    """Everyone subscribed gets what is published, the sender included, and publishing never waits."""
    topic = token_hex(8)
    async with backend.bus.subscribe() as first, backend.bus.subscribe() as second:
        for number in range(3):
            await backend.bus.publish(topic, b"%d" % number)
        for subscription in (first, second):
            found = [(await _next_of(subscription, topic)) for _ in range(3)]
            expect("the signals", found, [b"0", b"1", b"2"])
        for number in range(2_500):
            await backend.bus.publish(topic, b"%d" % number)
        found = [await _next_of(first, topic)]
        while found[-1] != b"2499":
            found.append(await _next_of(first, topic))
        expect("the newest signals", found, [b"%d" % number for number in range(2_500)][-len(found) :])
        if len(found) > 1_000:
            raise AssertionError(f"{len(found)} signals waited for one subscriber; at most 1000 may")


async def _next_of(subscription: AsyncIterator[tuple[str, bytes]], topic: str) -> bytes:
    while True:
        found, data = await anext(subscription)
        if found == topic:
            return data
