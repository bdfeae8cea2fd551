"""What a bot keeps over a restart: how far it has got in each room, who it is, and a small store of its own.

Laws: what was saved is on disk when the call returns; a bot reads only what is its own; values are JSON.
"""

from __future__ import annotations

import json
import os
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import trio

from chatkit.bot.progress import Progress
from chatkit.client.local_store import LocalStore
from chatkit.errors import StorageUnreadable, UsageError

SCHEMA = """
CREATE TABLE IF NOT EXISTS bot_progress (
    bot TEXT NOT NULL, room TEXT NOT NULL, epoch TEXT NOT NULL, seq INTEGER NOT NULL, ahead TEXT NOT NULL,
    PRIMARY KEY (bot, room)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS bot_memory (
    bot TEXT NOT NULL, shelf TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (bot, shelf, key)
) WITHOUT ROWID;
"""


class Memory(ABC):
    """Where a bot keeps things. `FileMemory` is a file; `RamMemory` lasts as long as the object.

    Values are JSON texts here; `Shelf` is what handlers use. Every method raises `StorageUnavailable` if it cannot.
    """

    @abstractmethod
    async def progress(self, bot: str) -> dict[str, Progress]:
        """Return how far a bot has got, by room."""

    @abstractmethod
    async def save_progress(self, bot: str, progress: Mapping[str, Progress]) -> None:
        """Keep how far a bot has got in these rooms, all or none."""

    @abstractmethod
    async def read(self, bot: str, shelf: str, key: str) -> str | None:
        """Return a value; None if there is none."""

    @abstractmethod
    async def write(self, bot: str, shelf: str, key: str, value: str | None) -> None:
        """Keep a value; None takes it away."""

    @abstractmethod
    async def items(self, bot: str, shelf: str) -> dict[str, str]:
        """Return everything on a shelf, by key."""

    async def aclose(self) -> None:  # noqa: B027 - what lies in memory has nothing to close
        """Let go of what is open. A second call does nothing."""


class RamMemory(Memory):
    """Keeps everything for as long as the object lives: for tests, and for bots that may forget."""

    def __init__(self) -> None:
        self._progress: dict[tuple[str, str], Progress] = {}
        self._values: dict[tuple[str, str], dict[str, str]] = {}

    async def progress(self, bot: str) -> dict[str, Progress]:
        """Return how far a bot has got, by room."""
        return {room: progress.copy() for (whose, room), progress in self._progress.items() if whose == bot}

    async def save_progress(self, bot: str, progress: Mapping[str, Progress]) -> None:
        """Keep how far a bot has got in these rooms."""
        self._progress |= {(bot, room): one.copy() for room, one in progress.items()}

    async def read(self, bot: str, shelf: str, key: str) -> str | None:
        """Return a value; None if there is none."""
        return self._values.get((bot, shelf), {}).get(key)

    async def write(self, bot: str, shelf: str, key: str, value: str | None) -> None:
        """Keep a value; None takes it away."""
        values = self._values.setdefault((bot, shelf), {})
        if value is None:
            values.pop(key, None)
        else:
            values[key] = value

    async def items(self, bot: str, shelf: str) -> dict[str, str]:
        """Return everything on a shelf, by key."""
        return dict(sorted(self._values.get((bot, shelf), {}).items()))


class FileMemory(Memory):
    """Keeps everything in a SQLite file, readable by its owner only; several bots may share one."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._store = LocalStore(path, SCHEMA)

    def __repr__(self) -> str:
        return f"FileMemory({str(self.path)!r})"

    async def _run(self, operation: Callable[[sqlite3.Connection], Any]) -> Any:
        if not self.path.exists():
            self._create()
        return await self._store.run(operation)

    def _create(self) -> None:
        # The bot's token is in there: nobody else is to read it, from the first moment on.
        try:
            with suppress(FileExistsError):
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except OSError as error:
            raise StorageUnreadable(f"{self.path}: {error.strerror}") from error

    async def progress(self, bot: str) -> dict[str, Progress]:
        """Return how far a bot has got, by room."""

        def read(db: sqlite3.Connection) -> dict[str, Progress]:
            rows = db.execute("SELECT room, epoch, seq, ahead FROM bot_progress WHERE bot = ?", (bot,))
            return {room: Progress(epoch, seq, json.loads(ahead)) for room, epoch, seq, ahead in rows}

        found: dict[str, Progress] = await self._run(read)
        return found

    async def save_progress(self, bot: str, progress: Mapping[str, Progress]) -> None:
        """Keep how far a bot has got in these rooms, in one transaction."""
        rows = [(bot, room, one.epoch, one.seq, json.dumps(one.ahead)) for room, one in progress.items()]

        def write(db: sqlite3.Connection) -> None:
            db.executemany("INSERT OR REPLACE INTO bot_progress VALUES (?, ?, ?, ?, ?)", rows)

        await self._run(write)

    async def read(self, bot: str, shelf: str, key: str) -> str | None:
        """Return a value; None if there is none."""
        where = (bot, shelf, key)

        def read(db: sqlite3.Connection) -> str | None:
            query = "SELECT value FROM bot_memory WHERE bot = ? AND shelf = ? AND key = ?"
            row = db.execute(query, where).fetchone()
            return row[0] if row else None

        found: str | None = await self._run(read)
        return found

    async def write(self, bot: str, shelf: str, key: str, value: str | None) -> None:
        """Keep a value; None takes it away."""

        def write(db: sqlite3.Connection) -> None:
            if value is None:
                db.execute("DELETE FROM bot_memory WHERE bot = ? AND shelf = ? AND key = ?", (bot, shelf, key))
            else:
                db.execute("INSERT OR REPLACE INTO bot_memory VALUES (?, ?, ?, ?)", (bot, shelf, key, value))

        await self._run(write)

    async def items(self, bot: str, shelf: str) -> dict[str, str]:
        """Return everything on a shelf, by key."""

        def read(db: sqlite3.Connection) -> dict[str, str]:
            query = "SELECT key, value FROM bot_memory WHERE bot = ? AND shelf = ? ORDER BY key"
            return dict(db.execute(query, (bot, shelf)).fetchall())

        found: dict[str, str] = await self._run(read)
        return found

    async def aclose(self) -> None:
        """Close the file. A second call does nothing."""
        await self._store.aclose()


class Shelf:
    """A small store of keys and JSON values: a bot's own, a room's, or a person's.

    ::

        score = await ctx.user_memory.get("score", 0)
        await ctx.user_memory.set("score", score + 1)

    What `set` or `update` was given is kept when the call returns. Every method raises `StorageUnavailable` if the
    memory cannot be read or written.
    """

    def __init__(self, memory: Memory, bot: str, name: str, lock: trio.Lock) -> None:
        self._memory = memory
        self._bot = bot
        self._name = name
        self._lock = lock

    async def get(self, key: str, default: Any = None) -> Any:
        """Return the value under a key, or the default."""
        found = await self._memory.read(self._bot, self._name, key)
        return default if found is None else json.loads(found)

    async def set(self, key: str, value: Any) -> None:
        """Keep a value under a key. Raises `UsageError` if it is no JSON value."""
        await self._memory.write(self._bot, self._name, key, _as_json(key, value))

    async def delete(self, key: str) -> None:
        """Forget what is under a key, if anything is."""
        await self._memory.write(self._bot, self._name, key, None)

    async def items(self) -> dict[str, Any]:
        """Return everything, by key."""
        found = await self._memory.items(self._bot, self._name)
        return {key: json.loads(value) for key, value in found.items()}

    async def update(self, key: str, change: Callable[[Any], Any], default: Any = None) -> Any:
        """Replace a value by what ``change`` makes of it, with no other update in between; return the new one."""
        async with self._lock:
            value = change(await self.get(key, default))
            await self.set(key, value)
        return value


def _as_json(key: str, value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{key!r} cannot be kept: {error}") from error
