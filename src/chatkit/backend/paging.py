"""The bounds of a page of rows, the same for every backend."""

from __future__ import annotations

from collections.abc import Iterable

from chatkit.backend.records import Row
from chatkit.backend.storable import INTEGER_MAX
from chatkit.errors import UsageError


def bounds(after: int | None, before: int | None, limit: int) -> tuple[int, bool, int]:
    """Return where a page starts (exclusive), whether it goes forward, and its limit, all in a database's range.

    Raises `UsageError` unless exactly one of ``after`` and ``before`` is given and ``limit`` is at least 1.
    """
    if limit < 1:
        raise UsageError(f"limit must be at least 1, not {limit}")
    if after is not None and before is None:
        start, forward = after, True
    elif before is not None and after is None:
        start, forward = before, False
    else:
        raise UsageError("a page needs exactly one of after and before")
    return max(0, min(start, INTEGER_MAX)), forward, min(limit, INTEGER_MAX)


def fill(rows: Iterable[Row], max_bytes: int) -> list[Row]:
    """Take rows until the next one would go over ``max_bytes``; at least one, if there is any."""
    page: list[Row] = []
    size = 0
    for row in rows:
        size += row.size
        if page and size > max_bytes:
            break
        page.append(row)
    return page
