"""Lengths of time as people write them: ``30s``, ``10m``, ``1h30m``, ``2 days``, ``1w``."""

from __future__ import annotations

import re
from datetime import timedelta

UNITS = {"w": 604_800, "d": 86_400, "h": 3600, "m": 60, "s": 1}
"""Seconds of each unit; further letters of its name may follow."""
EXAMPLES = "30s, 10m, 1h, 2d or 1w"
_SPAN = re.compile(r"(?:(\d{1,9}) ?([wdhms])[a-z]{0,6} ?){1,5}")
_PART = re.compile(r"(\d{1,9}) ?([wdhms])")


def term_of(text: str) -> timedelta:
    """Return the length of time somebody wrote. Raises ValueError."""
    words = text.strip().casefold()
    if not words or len(words) > 60 or not _SPAN.fullmatch(words):
        raise ValueError(f"expected a length of time such as {EXAMPLES}, not {text[:60]!r}")
    return timedelta(seconds=sum(int(number) * UNITS[unit] for number, unit in _PART.findall(words)))


def written(term: timedelta) -> str:
    """Write a length of time, in whole seconds, as `term_of` reads it."""
    seconds = int(term.total_seconds())
    parts = []
    for unit, size in UNITS.items():
        number, seconds = divmod(seconds, size)
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts) or "0s"
