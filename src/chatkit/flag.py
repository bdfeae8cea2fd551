"""An event that costs next to nothing until somebody waits for it: a server has several per idle connection."""

from __future__ import annotations

import trio


class Flag:
    """As `trio.Event`; the event itself is made when it is first waited for."""

    __slots__ = ("_event", "_set")

    def __init__(self) -> None:
        self._set = False
        self._event: trio.Event | None = None

    def is_set(self) -> bool:
        """Whether `set` was called."""
        return self._set

    def set(self) -> None:
        """Wake everybody who waits, and let nobody wait any more."""
        self._set = True
        if self._event is not None:
            self._event.set()

    async def wait(self) -> None:
        """Return once it is set."""
        if self._set:
            await trio.lowlevel.checkpoint()
            return
        if self._event is None:
            self._event = trio.Event()
        await self._event.wait()


class Pulse:
    """Wakes whoever waits at that moment, again and again."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event: trio.Event | None = None

    def wake(self) -> None:
        """Wake everybody who waits now."""
        if self._event is not None:
            self._event.set()
            self._event = None

    async def wait(self) -> None:
        """Return at the next `wake`."""
        if self._event is None:
            self._event = trio.Event()
        await self._event.wait()
