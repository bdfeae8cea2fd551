"""Passwords being compared: who may begin, who waits for another's to end, and who is told to come back later."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import trio
from attrs import Factory, define

from chatkit.flag import Pulse
from chatkit.server.throttle import Throttle


@define(eq=False)
class Try:
    """One comparison under way; ``right`` once the password was."""

    right: bool = False


@define(eq=False)
class Tries:
    """Lets as many compare as the throttle allows.

    A right password gives its try back. So whoever finds none left waits for those under way, from the same address or
    for the same name, before they are told to come back later: many who come at once from one place all get in.
    """

    _throttle: Throttle
    _under_way: Counter[tuple[str, str | None]] = Factory(Counter)
    _ended: Pulse = Factory(Pulse)

    async def wait_turn(self, address: str | None, key: str | None) -> float | None:
        """Return None once a password may be compared, for the name ``key`` or as a new one; or the seconds after which
        to come back."""
        while (wait := self._throttle.check(address, key, trio.current_time())) is not None:
            if key is None or not (self._under_way["address", address] or self._under_way["key", key]):
                return wait
            await self._ended.wait()
        return None

    @contextmanager
    def under_way(self, address: str | None, key: str) -> Iterator[Try]:
        """Compare within this block, after `wait_turn`; say in it whether the password was right."""
        mine = Try()
        counted: tuple[tuple[str, str | None], ...] = (("address", address), ("key", key))
        self._under_way.update(counted)
        try:
            yield mine
        finally:
            self._under_way = self._under_way - Counter(counted)
            if mine.right:
                self._throttle.succeeded(address, key, trio.current_time())
            self._ended.wake()
