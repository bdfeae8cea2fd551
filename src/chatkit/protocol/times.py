"""Times on the wire: RFC 3339, UTC, milliseconds. In memory: whole milliseconds since 1970."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache

LAST = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z, the last instant RFC 3339 can say
_WIRE = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)


@lru_cache(maxsize=8)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")


def to_wire(milliseconds: int) -> str:
    """Format a time, such as ``2026-11-20T10:30:00.123Z``. Takes 0 to `LAST`."""
    second, rest = divmod(milliseconds, 1000)
    return f"{_second(second)}.{rest:03d}Z"


def from_wire(text: str) -> int:
    """Parse an RFC 3339 time; digits past the millisecond are dropped. Raises ValueError."""
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
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
