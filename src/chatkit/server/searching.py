"""Looking for entries of a log: one by its seq, what somebody said, what moderators did. Newest first, bounded."""

from __future__ import annotations

from collections.abc import Callable

from chatkit.backend.interface import Log
from chatkit.backend.records import Row
from chatkit.engine.audit import AUDITED, entry_of, facts_of
from chatkit.engine.talking import MESSAGE
from chatkit.protocol.moderation import AuditPage
from chatkit.server.history import END

PAGE = 500
"""Rows read at a time."""
LOOKED_AT = 20_000
"""Rows that one request may make the server look at."""
AT_ONCE = 100
"""Messages that one request removes: each is two changes in one commit."""


async def row_at(log: Log, room_id: str, seq: int) -> Row | None:
    """Return the row at a seq; None if there is none (any more). Raises KeyError if the room is gone."""
    page = await log.read(room_id, after=seq - 1, limit=1)
    return page.rows[0] if page.rows and page.rows[0].seq == seq else None


async def said_by(log: Log, room_id: str, author: str) -> tuple[list[int], bool]:
    """Return the seqs of what an author said in a room and is still there, newest first, as many as one request may
    remove, and whether there may be more. Raises KeyError if the room is gone."""

    def wanted(row: Row) -> bool:
        return row.kind == MESSAGE and row.author == author and row.body is not None

    rows, more = await _newest(log, room_id, END, AT_ONCE, wanted)
    return [row.seq for row in rows], more


async def audit_page(log: Log, audit_log: str, room_id: str | None, before: int | None, limit: int) -> AuditPage:
    """Return acts of moderation in a room, or all of them, newest first. Raises KeyError if the log is gone."""

    def wanted(row: Row) -> bool:
        return row.kind == AUDITED and (room_id is None or facts_of(row).get("room_id") == room_id)

    rows, more = await _newest(log, audit_log, END if before is None else before, limit, wanted)
    return AuditPage(entries=tuple(entry_of(row) for row in rows), more=more)


async def _newest(
    log: Log, room_id: str, before: int, most: int, wanted: Callable[[Row], bool]
) -> tuple[list[Row], bool]:
    found: list[Row] = []
    looked_at = 0
    while looked_at < LOOKED_AT:
        page = await log.read(room_id, before=before, limit=PAGE)
        if not page.rows:
            return found, False
        for row in reversed(page.rows):
            if wanted(row):
                if len(found) == most:
                    return found, True
                found.append(row)
        looked_at += len(page.rows)
        before = page.rows[0].seq
    return found, True
