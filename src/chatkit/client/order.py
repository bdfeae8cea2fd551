"""What keeping order knows: bans and mutes, and what was done by whom. Times are aware, in UTC."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import trio
from attrs import frozen

from chatkit.errors import UsageError
from chatkit.protocol import moderation as mod
from chatkit.protocol import times

LONGEST_TERM = 2**31
"""Seconds; some 68 years."""


@frozen(kw_only=True)
class BanInfo:
    """Somebody kept out of a room, or of the server (``room`` None); or silenced, if it is a ``mute``.

    ``kind`` says what it is tied to: ``account``, ``name`` or ``address``; ``value`` is the name or the address.
    Without ``until`` it is for good. ``by`` is who did it.
    """

    id: str
    room: str | None = None
    kind: str
    value: str
    by: str
    reason: str
    at: datetime
    until: datetime | None = None
    mute: bool = False

    @classmethod
    def of(cls, told: mod.BanInfo) -> BanInfo:
        """Return what the server told."""
        return cls(
            id=told.id,
            room=told.room,
            kind=told.kind,
            value=told.value,
            by=told.by,
            reason=told.reason,
            at=moment(told.at),
            until=None if told.until is None else moment(told.until),
            mute=bool(told.mute),
        )


@frozen(kw_only=True)
class AuditEntry:
    """One thing that was done to keep order: who did it, to whom, when and why.

    ``act`` is the request's name (``ban``, ``set_role``, …), ``room`` what the room was called then, None for the
    server; ``details`` say more, such as the ``seconds`` of a ban.
    """

    seq: int
    at: datetime
    by: str
    act: str
    whom: str
    room: str | None = None
    reason: str
    details: Mapping[str, Any]

    @classmethod
    def of(cls, told: mod.AuditEntry) -> AuditEntry:
        """Return what the server told."""
        return cls(
            seq=told.seq,
            at=moment(told.at),
            by=told.by,
            act=told.act,
            whom=told.whom,
            room=told.room,
            reason=told.reason,
            details=told.details,
        )


class AuditStream:
    """An iterator over what was done, newest first, fetched page by page. Made by `Room.audit` and `Client.audit`.

    Iterating raises `RequestFailed` (``forbidden``), `Disconnected`. Cancelling loses nothing.
    """

    def __init__(self, fetch: Callable[[int | None], Awaitable[mod.AuditPage]]) -> None:
        self._fetch = fetch
        self._waiting: deque[mod.AuditEntry] = deque()
        self._before: int | None = None
        self._more = True

    def __aiter__(self) -> AuditStream:
        return self

    async def __anext__(self) -> AuditEntry:
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._waiting:
            if not self._more:
                raise StopAsyncIteration
            self._take(await self._fetch(self._before))
        return AuditEntry.of(self._waiting.popleft())

    def _take(self, page: mod.AuditPage) -> None:
        older = [one for one in page.entries if self._before is None or one.seq < self._before]
        self._more = page.more and bool(older)
        self._before = older[-1].seq if older else self._before
        self._waiting.extend(older)


def moment(milliseconds: int) -> datetime:
    """Return a time of the server's; one that no calendar holds becomes the nearest that one does."""
    return times.to_datetime(min(max(milliseconds, 0), times.LAST))


def seconds_of(term: timedelta | None) -> int | None:
    """Return a term in whole seconds, rounded up. Raises `UsageError` if it is not a second to 68 years."""
    if term is None:
        return None
    seconds = math.ceil(term.total_seconds())
    if not 1 <= seconds <= LONGEST_TERM:
        raise UsageError(f"a term is between a second and 68 years, not {term}")
    return seconds


def pause_of(pause: timedelta | float) -> int:
    """Return the pause between two messages in whole seconds, rounded up; 0 for none. Raises `UsageError` if it is not
    between 0 and a day."""
    seconds = pause.total_seconds() if isinstance(pause, timedelta) else float(pause)
    if not 0 <= seconds <= 86_400:
        raise UsageError(f"a room's slowness is between 0 seconds and a day, not {pause}")
    return math.ceil(seconds)
