"""Reading the database: a page of a log, the directory, a stretch of the feed. Synchronous; each in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from heapq import merge
from itertools import groupby
from operator import itemgetter
from typing import Any

from chatkit.backend.facts import load_fact, load_record
from chatkit.backend.feed import Stretch, check_position, size_of
from chatkit.backend.paging import fill
from chatkit.backend.records import Batch, Fact, Member, Page, RoomRecord, Row, Snapshot

STRETCH_BATCHES = 500
STRETCH_BYTES = 2**20
"""Where a stretch of the feed ends, whichever comes first; a batch is never split."""

ROW = "room_id, seq, kind, author, name, time, body, op, about, thread"
HEAD = "coalesce((SELECT max(seq) FROM log WHERE log.room_id = rooms.room_id), first - 1)"
ROOM = (
    "room_id, epoch, name, key, topic, private, permanent, created_by, created_at, read_only, slow, closed, first, "
    + HEAD
)
POSITION = "SELECT max(coalesce((SELECT max(pos) FROM log), 0), coalesce((SELECT max(pos) FROM facts), 0))"

_Entry = tuple[int, int, Row | Fact]
"""Position, position of the batch, item."""


def load_row(values: tuple[Any, ...]) -> Row:
    """Return the row that the columns `ROW` stand for."""
    room_id, seq, kind, author, name, time, body, op, about, thread = values
    return Row(
        room_id=room_id,
        seq=seq,
        kind=kind,
        author=author,
        name=name,
        time=time,
        body=body,
        op=op,
        about=about,
        thread=thread,
    )


def load_room(values: tuple[Any, ...]) -> RoomRecord:
    """Return the room that the columns `ROOM` stand for."""
    (
        room_id,
        epoch,
        name,
        key,
        topic,
        private,
        permanent,
        created_by,
        created_at,
        read_only,
        slow,
        closed,
        first,
        head,
    ) = values
    return RoomRecord(
        room_id=room_id,
        epoch=epoch,
        name=name,
        key=key,
        topic=topic,
        private=bool(private),
        permanent=bool(permanent),
        created_by=created_by,
        created_at=created_at,
        read_only=bool(read_only),
        slow=slow,
        closed=bool(closed),
        first=first,
        head=head,
    )


def read_page(
    connection: sqlite3.Connection, room_id: str, start: int, forward: bool, limit: int, max_bytes: int
) -> Page:
    """Return the rows after or before a seq. Raises KeyError if there is no such room."""
    near = "seq > ? ORDER BY seq" if forward else "seq < ? ORDER BY seq DESC"
    with _reading(connection):
        room = connection.execute(f"SELECT first, {HEAD} FROM rooms WHERE room_id = ?", (room_id,)).fetchone()
        if room is None:
            raise KeyError(room_id)
        query = f"SELECT {ROW} FROM log WHERE room_id = ? AND {near} LIMIT ?"
        with closing(connection.execute(query, (room_id, start, limit))) as found:
            rows = fill(map(load_row, found), max_bytes)
    first, head = room
    return Page(rows=tuple(rows if forward else reversed(rows)), first=first, head=head)


def read_snapshot(connection: sqlite3.Connection) -> Snapshot:
    """Return the directory."""
    with _reading(connection):
        (position,) = connection.execute(POSITION).fetchone()
        rooms = connection.execute(f"SELECT {ROOM} FROM rooms ORDER BY rowid").fetchall()
        members = connection.execute("SELECT room_id, principal, role FROM members").fetchall()
        records = connection.execute("SELECT kind, body FROM records").fetchall()
    return Snapshot(
        position=position,
        rooms=tuple(load_room(values) for values in rooms),
        members=tuple(Member(room_id=room_id, principal=who, role=role) for room_id, who, role in members),
        records=tuple(load_record(kind, body) for kind, body in records),
    )


def read_since(connection: sqlite3.Connection, after: int) -> Stretch:
    """Return some batches after a position of the feed. Raises `StorageError` as `check_position` does."""
    with _reading(connection):
        (newest,) = connection.execute(POSITION).fetchone()
        (oldest,) = connection.execute("SELECT value FROM meta WHERE name = 'facts_after'").fetchone()
        check_position(after, oldest, newest)
        if after == newest:
            return Stretch((), newest, False)
        with (
            closing(
                connection.execute(f"SELECT pos, batch, {ROW} FROM log WHERE pos > ? ORDER BY pos", (after,))
            ) as log,
            closing(
                connection.execute("SELECT pos, batch, fact FROM facts WHERE pos > ? ORDER BY pos", (after,))
            ) as facts,
        ):
            rows: Iterator[_Entry] = ((values[0], values[1], load_row(values[2:])) for values in log)
            others: Iterator[_Entry] = ((pos, batch, load_fact(fact)) for pos, batch, fact in facts)
            return _stretch(merge(rows, others, key=itemgetter(0)), newest)


def _stretch(entries: Iterator[_Entry], newest: int) -> Stretch:
    batches: list[Batch] = []
    size = 0
    for position, group in groupby(entries, key=itemgetter(1)):
        if len(batches) >= STRETCH_BATCHES or size >= STRETCH_BYTES:
            return Stretch(tuple(batches), newest, True)
        batch = Batch(position, tuple(item for _, _, item in group))
        size += size_of(batch)
        batches.append(batch)
    return Stretch(tuple(batches), newest, False)


@contextmanager
def _reading(connection: sqlite3.Connection) -> Iterator[None]:
    """One consistent view of the database."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
