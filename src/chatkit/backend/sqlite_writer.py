"""The one who writes to the database. Synchronous; lives in one worker thread at a time.

Between commits it remembers the newest position and the heads of the rooms it met. What it remembers is dropped when
another process has written (``PRAGMA data_version``) and after any failure.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chatkit.backend.books import Place
from chatkit.backend.draft import Draft
from chatkit.backend.facts import dump_fact, load_record
from chatkit.backend.feed import FACTS_KEPT
from chatkit.backend.records import Batch, Change, DeleteRoom, Member, Outcome, Record, Redact, Row, Trim
from chatkit.backend.sqlite_apply import apply_fact
from chatkit.backend.sqlite_reader import POSITION, ROOM, ROW, load_room, load_row
from chatkit.backend.sqlite_schema import empty_log, open_writer, reason_of
from chatkit.errors import StorageUnavailable, StorageUnreadable

TRIM_EVERY = 1_000
"""Directory changes written between two trims of those kept for the feed."""
ROWS_PER_STATEMENT = (64, 8, 1)
"""Every statement hands the interpreter's lock to the event loop and waits for it again, so rows go in many at once;
few sizes, so that the statements stay prepared."""

_COLUMNS = 12
_INSERTS = {
    rows: "INSERT INTO log (pos, batch, room_id, seq, kind, author, name, time, op, about, thread, body) VALUES "
    + ", ".join(["(" + ", ".join("?" * _COLUMNS) + ")"] * rows)
    for rows in ROWS_PER_STATEMENT
}
_TAKEN_OR_UNFIT = (
    sqlite3.IntegrityError,
    sqlite3.ProgrammingError,
    sqlite3.InterfaceError,
    sqlite3.DataError,
    UnicodeEncodeError,
    OverflowError,
)


class SqliteWriter:
    """Commits changes, one call at a time."""

    def __init__(self, path: Path) -> None:
        """Open the database, as `open_writer` does."""
        self._path = path
        self._version: int | None = None
        self._position = 0
        self._places: dict[str, Place] = {}
        self._facts = TRIM_EVERY
        self._unclean = True  # the write-ahead log may hold redacted bodies, also those of a process that was killed
        self._connection: sqlite3.Connection | None = open_writer(path)

    def commit(self, changes: Sequence[Change]) -> tuple[list[Outcome], Batch | None]:
        """Commit changes in one transaction; return their outcomes and the batch. Raises `StorageUnavailable`."""
        try:
            try:
                return self._commit(changes, trusting=True)
            except _TAKEN_OR_UNFIT:
                self._roll_back()
                return self._commit(changes, trusting=False)
        except sqlite3.Error as error:
            raise StorageUnavailable(f"the commit failed: {reason_of(error)}") from error
        except StorageUnreadable as error:
            raise StorageUnavailable(str(error)) from error
        finally:
            self._roll_back()

    def close(self) -> None:
        """Let go of the database. What is committed is on disk whether or not the last checkpoint succeeds."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        """Run one statement on the connection that writes."""
        if self._connection is None:
            self._connection = open_writer(self._path)
        return self._connection.execute(sql, values)

    def _commit(self, changes: Sequence[Change], *, trusting: bool) -> tuple[list[Outcome], Batch | None]:
        self.execute("BEGIN IMMEDIATE")
        self._notice_others()
        draft = Draft(changes, self, self._position, trusting=trusting)
        batch = draft.batch
        if batch is not None:
            self._write(batch)
        self.execute("COMMIT")
        if batch is not None:
            self._position = batch.position
        self._remember(draft.places)
        if self._unclean and self._connection is not None:
            self._unclean = not empty_log(self._connection)
        return draft.outcomes, batch

    def _write(self, batch: Batch) -> None:
        end = batch.position
        rows: list[Any] = []
        waiting = 0
        for pos, item in enumerate(batch.items, end - len(batch.items) + 1):
            if type(item) is Row:
                rows += (
                    pos,
                    end,
                    item.room_id,
                    item.seq,
                    item.kind,
                    item.author,
                    item.name,
                    item.time,
                    item.op,
                    item.about,
                    item.thread,
                    item.body,
                )
                waiting += 1
                if waiting == ROWS_PER_STATEMENT[0]:
                    self._insert(rows)
                    rows, waiting = [], 0
            elif not isinstance(item, Row):
                if isinstance(item, DeleteRoom | Trim | Redact):  # about what came before it, not what comes after
                    self._insert(rows)
                    rows, waiting = [], 0
                self.execute("INSERT INTO facts VALUES (?, ?, ?)", pos, end, dump_fact(item))
                apply_fact(self.execute, item)
                self._facts += 1
                self._unclean = self._unclean or isinstance(item, Redact)
        self._insert(rows)
        if self._facts >= TRIM_EVERY:
            self._trim_facts()

    def _insert(self, rows: list[Any]) -> None:
        start = 0
        for size in ROWS_PER_STATEMENT:
            while len(rows) - start >= size * _COLUMNS:
                self.execute(_INSERTS[size], *rows[start : start + size * _COLUMNS])
                start += size * _COLUMNS

    def _trim_facts(self) -> None:
        """Forget the directory changes before the newest `FACTS_KEPT`, whole commits only, and remember up to where."""
        last = self.execute("SELECT batch FROM facts ORDER BY pos DESC LIMIT 1 OFFSET ?", FACTS_KEPT).fetchone()
        if last is not None:
            self.execute("DELETE FROM facts WHERE batch <= ?", *last)
            self.execute("UPDATE meta SET value = ? WHERE name = 'facts_after'", *last)
        self._facts = 0

    def place(self, room_id: str) -> Place | None:
        """See `Books`."""
        known = self._places.get(room_id)
        if known is None:
            found = self.execute(f"SELECT {ROOM} FROM rooms WHERE room_id = ?", room_id).fetchone()
            if found is not None:
                room = load_room(found)
                known = Place(room, room.head, room.first)
        return known

    def room_of(self, key: str) -> str | None:
        """See `Books`."""
        found = self.execute("SELECT room_id FROM rooms WHERE key = ?", key).fetchone()
        return found and str(found[0])

    def row_of(self, room_id: str, author: str, op: str) -> Row | None:
        """See `Books`."""
        found = self.execute(
            f"SELECT {ROW} FROM log WHERE room_id = ? AND author = ? AND op = ?", room_id, author, op
        ).fetchone()
        return found and load_row(found)

    def member(self, room_id: str, principal: str) -> Member | None:
        """See `Books`."""
        found = self.execute(
            "SELECT role FROM members WHERE room_id = ? AND principal = ?", room_id, principal
        ).fetchone()
        return found and Member(room_id=room_id, principal=principal, role=found[0])

    def record(self, kind: str, id_: str) -> Record | None:
        """See `Books`."""
        found = self.execute("SELECT body FROM records WHERE kind = ? AND id = ?", kind, id_).fetchone()
        return found and load_record(kind, *found)

    def holder(self, kind: str, key: str) -> str | None:
        """See `Books`."""
        found = self.execute("SELECT id FROM records WHERE kind = ? AND key = ?", kind, key).fetchone()
        return found and str(found[0])

    def _remember(self, places: dict[str, Place | None]) -> None:
        for room_id, place in places.items():
            if place is None:
                self._places.pop(room_id, None)
            else:
                self._places[room_id] = place

    def _notice_others(self) -> None:
        (version,) = self.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            self._forget()
            (self._position,) = self.execute(POSITION).fetchone()
            self._version = version

    def _forget(self) -> None:
        self._version = None
        self._places.clear()
        self._facts = TRIM_EVERY

    def _roll_back(self) -> None:
        """Leave no transaction open. If one was, something failed: what is known is read again."""
        connection = self._connection
        if connection is None or not connection.in_transaction:
            return
        self._forget()
        try:
            connection.execute("ROLLBACK")
        except sqlite3.Error:
            self.close()
