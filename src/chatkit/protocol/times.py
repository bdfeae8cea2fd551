"""Times on the wire: RFC 3339, UTC, milliseconds. In memory: whole milliseconds since 1970."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from chatkit.errors import UsageError

LAST = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z, the last instant RFC 3339 can say
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WIRE = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):([0-5]\d|60)(?:\.(\d{1,9}))?(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))",
    re.ASCII,
)


@lru_cache(maxsize=8)
def _second(second: int) -> str:
    if not 0 <= second <= LAST // 1000:
        raise UsageError("a time is milliseconds since 1970 and before the year 10000")
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


@lru_cache(maxsize=64)  # a message's time is said to whoever sent it and to everybody, and many share it
def to_wire(milliseconds: int) -> str:
    """Format a time, such as ``2026-11-20T10:30:00.123Z``. Takes 0 to `LAST`, else raises `UsageError`."""
    second, rest = divmod(milliseconds, 1000)
    return f"{_second(second)}.{rest:03d}Z"


def from_wire(text: str) -> int:
    """Parse an RFC 3339 time from 1970 on; digits past the millisecond are dropped, a leap second counts as the second
    before it. Raises ValueError."""
    match = _WIRE.fullmatch(text)
    if match is None:
        raise ValueError("expected an RFC 3339 time such as 2026-11-20T10:30:00.123Z")
    *whole, fraction, sign, hours, minutes = match.groups()
    year, month, day, hour, minute, second = map(int, whole)
    moment = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
    offset = (int(hours) * 60 + int(minutes)) * (60 if sign == "+" else -60) if sign else 0
    milliseconds = int((fraction or "0").ljust(3, "0")[:3])
    result = (int(moment.timestamp()) - offset) * 1000 + milliseconds
    if not 0 <= result <= LAST:
        raise ValueError("expected a time between 1970 and 9999")
    return result


def to_datetime(milliseconds: int) -> datetime:
    """Return the time as an aware `datetime` in UTC."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def from_datetime(moment: datetime) -> int:
    """Return an aware `datetime` in milliseconds since 1970, rounded down. Raises `UsageError` for a naive one: it
    names no moment."""
    if moment.utcoffset() is None:
        raise UsageError(f"{moment!r} has no time zone: give one, such as datetime.UTC")
    return (moment - _EPOCH) // timedelta(milliseconds=1)
