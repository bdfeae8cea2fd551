"""Databases of older versions: they are brought up to date when opened, and nothing in them is lost."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from attrs import evolve
from stores import ROOM, bodies, opened, post

from chatkit.backend.records import (
    Account,
    Appended,
    Ban,
    CreateRoom,
    Member,
    Put,
    PutMember,
    RoomRecord,
    Row,
    Trim,
    UpdateRoom,
)
from chatkit.backend.sqlite_schema import APPLICATION_ID, MIGRATIONS

VERSION_1 = """
    CREATE TABLE rooms (
        room_id TEXT NOT NULL PRIMARY KEY, epoch TEXT NOT NULL, name TEXT NOT NULL, key TEXT NOT NULL UNIQUE,
        topic TEXT NOT NULL, private INTEGER NOT NULL, permanent INTEGER NOT NULL,
        created_by TEXT NOT NULL, created_at INTEGER NOT NULL, first INTEGER NOT NULL DEFAULT 1
    );
    CREATE TABLE members (
        room_id TEXT NOT NULL, principal TEXT NOT NULL, role TEXT NOT NULL, PRIMARY KEY (room_id, principal)
    ) WITHOUT ROWID;
    CREATE TABLE log (
        pos INTEGER NOT NULL PRIMARY KEY, batch INTEGER NOT NULL, room_id TEXT NOT NULL, seq INTEGER NOT NULL,
        kind TEXT NOT NULL, author TEXT NOT NULL, name TEXT NOT NULL, time INTEGER NOT NULL,
        op TEXT, about INTEGER, thread INTEGER, body
    );
    CREATE UNIQUE INDEX log_by_seq ON log (room_id, seq);
    CREATE UNIQUE INDEX log_by_op ON log (room_id, author, op) WHERE op IS NOT NULL;
    CREATE TABLE facts (pos INTEGER NOT NULL PRIMARY KEY, batch INTEGER NOT NULL, fact TEXT NOT NULL);
    CREATE TABLE meta (name TEXT NOT NULL PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    INSERT INTO meta VALUES ('facts_after', 0);
"""
CONTENT_1 = """
    INSERT INTO rooms VALUES ('r', 'e', 'R', 'r', 'old', 0, 1, 'ann', 7, 2);
    INSERT INTO members VALUES ('r', 'ann', 'owner');
    INSERT INTO facts VALUES (1, 1, '["create_room",{"room":{"room_id":"r","epoch":"e","name":"R","key":"r",'
        || '"topic":"old","private":false,"permanent":true,"created_by":"ann","created_at":7,"head":0,"first":1},'
        || '"owner":null}]');
    INSERT INTO facts VALUES (2, 2, '["put_member",{"member":{"room_id":"r","principal":"ann","role":"owner"}}]');
    INSERT INTO log VALUES (4, 4, 'r', 2, 'message', 'ann', 'Ann', 1, 'o', NULL, NULL, 'kept');
    INSERT INTO facts VALUES (5, 5, '["trim",{"room_id":"r","first":2}]');
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database as version 1 left it."""
    path = tmp_path / "store.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL").close()
        connection.executescript(VERSION_1 + CONTENT_1)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}").close()
        connection.execute("PRAGMA user_version = 1").close()
    return path


ROOM_1 = RoomRecord(
    room_id="r", epoch="e", name="R", key="r", topic="old", permanent=True, created_by="ann", created_at=7
)
OWNER = Member(room_id="r", principal="ann", role="owner")


async def test_version_1_is_brought_up_to_date(path: Path) -> None:
    account = Account(id="a", name="Ann", key="ann")
    async with opened(path) as backend:
        snapshot = await backend.directory.snapshot()
        assert snapshot.position == 5
        assert snapshot.rooms == (evolve(ROOM_1, head=2, first=2),)
        assert (snapshot.members, snapshot.records) == ((OWNER,), ())
        async with backend.log.tail(0) as feed:
            items = [item for _ in range(4) for item in (await anext(feed)).items]
        row = Row(room_id="r", seq=2, kind="message", author="ann", name="Ann", time=1, op="o", body="kept")
        assert items == [CreateRoom(room=ROOM_1), PutMember(member=OWNER), row, Trim(room_id="r", first=2)]
        slow = evolve(ROOM_1, slow=2.5, read_only=True)
        again, new, *_ = await backend.commit(
            [post("kept", op="o"), post("new"), UpdateRoom(room=slow, was=ROOM_1), Put(record=account)]
        )
        assert again == Appended(row, "e", True)
        assert isinstance(new, Appended)
        assert new.row.seq == 3
    async with opened(path) as backend:
        snapshot = await backend.directory.snapshot()
        assert snapshot.rooms == (evolve(slow, head=3, first=2),)
        assert snapshot.records == (account,)
        assert snapshot.position == 8


async def test_every_version_leads_to_the_same_tables(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "new.db"
    schemas = []
    for one in (path, other):
        async with opened(one):
            pass
        with closing(sqlite3.connect(one)) as connection:
            assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
            schemas.append(
                {" ".join(str(sql).split()) for (sql,) in connection.execute("SELECT sql FROM sqlite_master")}
            )
    assert schemas[0] == schemas[1]


async def test_it_can_be_read_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    ban = Ban(id="b", room_id="r", kind="address", value="::1", by="ann", reason="spam")
    async with opened(path, ROOM, post("hello"), Put(record=Account(id="a", name="Änn", key="änn")), Put(record=ban)):
        pass
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute(
            "SELECT id, key, json_extract(body, '$.name') FROM records WHERE kind = 'account'"
        ).fetchall()
        assert found == [("a", "änn", "Änn")]
        found = connection.execute(
            "SELECT rooms.name, json_extract(body, '$.value'), json_extract(body, '$.reason') FROM records "
            "JOIN rooms ON rooms.room_id = json_extract(body, '$.room_id') WHERE kind = 'ban'"
        ).fetchall()
        assert found == [("R", "::1", "spam")]
        assert connection.execute("SELECT read_only, slow, closed FROM rooms").fetchall() == [(0, 0.0, 0)]
    async with opened(path) as backend:
        assert await bodies(backend) == ["hello"]
