"""A reader's position that outlives the program."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from chatkit.client.local_store import LocalStore
from chatkit.protocol.positions import Position

SCHEMA = """
CREATE TABLE IF NOT EXISTS cursors (
    name TEXT NOT NULL, room TEXT NOT NULL, epoch TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (name, room)
) WITHOUT ROWID
"""


class Cursor:
    """Where a program stands in each room, kept in a file.

    ::

        async with Cursor("bot.db") as cursor:
            async for message in room.messages(cursor=cursor):
                await handle(message)      # committed when the loop asks for the next one

    A message whose handler did not come to its end is given again after a restart: at least once, in order. ``name``
    tells several readers in one file apart. Positions are on disk (fsynced) when `commit` returns.
    """

    def __init__(self, path: str | Path, name: str = "main") -> None:
        self._store = LocalStore(path, SCHEMA)
        self._name = name

    async def __aenter__(self) -> Cursor:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def position(self, room: str, epoch: str | None = None) -> Position | None:
        """Return where the program stands in a room; None if it has never been there.

        ``epoch`` names the room's log: a room that was called otherwise when the program was there is known by it.
        Raises `StorageUnreadable`, `StorageUnavailable`."""

        def read(db: sqlite3.Connection) -> Position | None:
            query = "SELECT epoch, seq FROM cursors WHERE name = ?"
            row = db.execute(f"{query} AND room = ?", (self._name, room)).fetchone()
            if epoch is not None and (row is None or row[0] != epoch):
                newest = f"{query} AND epoch = ? ORDER BY seq DESC LIMIT 1"
                row = db.execute(newest, (self._name, epoch)).fetchone() or row
            return Position(*row) if row else None

        return await self._store.run(read)

    async def commit(self, room: str, position: Position) -> None:
        """Remember that everything up to a position has been dealt with. Raises `StorageUnavailable`. Cancelling
        does not take back a commit that has begun."""
        row = (self._name, room, position.epoch, position.seq)

        def write(db: sqlite3.Connection) -> None:
            db.execute("INSERT OR REPLACE INTO cursors VALUES (?, ?, ?, ?)", row)

        await self._store.run(write)

    async def aclose(self) -> None:
        """Close the file. A second call does nothing."""
        await self._store.aclose()
