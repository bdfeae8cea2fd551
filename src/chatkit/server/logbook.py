"""The server's log: standard loggers whose lines know their connection, and of which a flood leaves only a few.

Laws: a line written in a connection's tasks carries the connection's fields, whoever writes it; of one kind of line
from one address only so many a second are written, and then how many were not; what a person said, and what is
secret, is never handed to a logger.

The fields are attributes of the record, for any handler: ``event``, ``connection``, ``address``, ``user``, ``count``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextvars import ContextVar
from typing import Any

import trio
from attrs import Factory, define

from chatkit.server.door import address_of

WINDOW = 1.0
"""Seconds over which lines of one kind are counted."""
MOST_WARNINGS = 5
"""Lines of one kind, of level warning or above, from one address in a window."""
MOST_NOTES = 50
"""Lines of one kind below warning from one address in a window."""
ALL_ADDRESSES = 10
"""Times as many from all addresses together, since an attacker may have a thousand."""

_bound: ContextVar[Mapping[str, Any]] = ContextVar("chatkit log fields", default={})  # noqa: B039 - never changed


def bind(**fields: Any) -> None:
    """Give every line that this task and the tasks it starts write from now on these fields as well."""
    _bound.set({**_bound.get(), **fields})


@define(eq=False)
class Flood:
    """Lines of one kind in one window."""

    level: int
    event: str
    since: float
    passed: int = 0
    held: int = 0


@define(eq=False)
class Thinner:
    """Decides which lines are written. Pure; time is an argument."""

    _floods: dict[tuple[object, str | None], Flood] = Factory(dict)

    def admit(self, kind: object, event: str, address: str | None, level: int, now: float) -> bool:
        """Count a line; say whether it is written."""
        most = MOST_WARNINGS if level >= logging.WARNING else MOST_NOTES
        return self._take((kind, address or ""), event, level, most, now) and self._take(
            (kind, None), event, level, most * ALL_ADDRESSES, now
        )

    def _take(self, key: tuple[object, str | None], event: str, level: int, most: int, now: float) -> bool:
        flood = self._floods.get(key)
        if flood is None:
            flood = self._floods[key] = Flood(level, event, now)
        elif now - flood.since >= WINDOW and not flood.held:
            flood.since, flood.passed = now, 0
        if flood.passed < most:
            flood.passed += 1
            return True
        flood.held += 1
        return False

    def summaries(self, now: float, *, everything: bool = False) -> Iterator[tuple[str | None, Flood]]:
        """Give what was held back in windows that are over, by address (None: all of them), and forget it."""
        for key, flood in list(self._floods.items()):
            if everything or now - flood.since >= WINDOW:
                del self._floods[key]
                if flood.held:
                    yield key[1], flood


_thinner = Thinner()


class Logbook(logging.LoggerAdapter[logging.Logger]):
    """A logger for the server's modules. Its methods also take ``event``, what happened as one word for programs."""

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(logging.getLogger(name))
        self._clock = clock

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Write a line, unless its level is off or it is one too many of its kind."""
        if not self.isEnabledFor(level):
            return
        message, options = self.process(msg, kwargs)
        extra = options["extra"]
        address = address_of(str(extra.get("address", "")))
        if level < logging.INFO or _thinner.admit(msg, extra.get("event", ""), address, level, self._clock()):
            self.logger.log(level, message, *args, **options)

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Add the fields of the connection at work, and the event."""
        event = kwargs.pop("event", None)
        fields = {**_bound.get(), **(kwargs.get("extra") or {})}
        if event is not None:
            fields["event"] = event
        kwargs["extra"] = fields
        return msg, kwargs


log = Logbook("chatkit.server")


def say_what_was_held(*, everything: bool = False) -> None:
    """Write one line for each flood that is over."""
    for address, flood in _thinner.summaries(time.monotonic(), everything=everything):
        fields = {"event": flood.event, "count": flood.held} | ({"address": address} if address else {})
        whence = f" from {address}" if address else " from many addresses" if address is None else ""
        log.logger.log(flood.level, "%d more like it%s: %s", flood.held, whence, flood.event, extra=fields)


async def keep_log() -> None:
    """Sum floods up, once a second, until cancelled."""
    try:
        while True:
            await trio.sleep(WINDOW)
            say_what_was_held()
    finally:
        say_what_was_held(everything=True)
