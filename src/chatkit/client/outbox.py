"""Messages that are to be sent whatever happens to the program: kept in a file until the server has kept them.

Laws: a message is in the file before it is sent; it is sent again, under the same op, until the server has kept or
refused it; messages go out in the order they were put in.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from attrs import frozen

from chatkit.client.local_store import LocalStore

SCHEMA = """
CREATE TABLE IF NOT EXISTS outbox (
    number INTEGER PRIMARY KEY AUTOINCREMENT, op TEXT NOT NULL UNIQUE, room TEXT NOT NULL, said BLOB NOT NULL,
    reply_to INTEGER, refused TEXT
)
"""


@frozen(kw_only=True)
class Unsent:
    """A message that waits in an outbox. ``refused`` is the server's reason, if it said no."""

    op: str
    room: str
    said: str | bytes
    reply_to: int | None = None
    refused: str | None = None


class Outbox:
    """A file of unsent messages. Every method raises `StorageUnreadable` or `StorageUnavailable` if it cannot."""

    def __init__(self, path: str | Path) -> None:
        self._store = LocalStore(path, SCHEMA)

    async def put(self, unsent: Unsent) -> None:
        """Keep a message; putting the same op again changes nothing."""
        row = (unsent.op, unsent.room, unsent.said, unsent.reply_to)

        def write(db: sqlite3.Connection) -> None:
            db.execute("INSERT OR IGNORE INTO outbox (op, room, said, reply_to) VALUES (?, ?, ?, ?)", row)

        await self._store.run(write)

    async def sent(self, op: str) -> None:
        """Let go of a message: the server keeps it."""

        def delete(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM outbox WHERE op = ?", (op,))

        await self._store.run(delete)

    async def refuse(self, op: str, reason: str) -> None:
        """Try a message no more, but keep it with the server's reason."""

        def update(db: sqlite3.Connection) -> None:
            db.execute("UPDATE outbox SET refused = ? WHERE op = ?", (reason, op))

        await self._store.run(update)

    async def waiting(self, *, refused: bool = False) -> list[Unsent]:
        """Return what waits to be sent, in order; with ``refused`` what the server refused instead."""
        condition = "IS NOT NULL" if refused else "IS NULL"
        query = f"SELECT op, room, said, reply_to, refused FROM outbox WHERE refused {condition} ORDER BY number"

        def read(db: sqlite3.Connection) -> list[Unsent]:
            return [
                Unsent(op=op, room=room, said=said, reply_to=reply_to, refused=reason)
                for op, room, said, reply_to, reason in db.execute(query)
            ]

        return await self._store.run(read)

    async def aclose(self) -> None:
        """Close the file. A second call does nothing."""
        await self._store.aclose()
