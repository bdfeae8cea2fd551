"""A small SQLite file beside a program, used from a worker thread: for the outbox and for cursors."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import trio

from chatkit.errors import StorageUnavailable, StorageUnreadable

T = TypeVar("T")


class LocalStore:
    """One file, one connection, one operation at a time. An operation that has begun is finished, even if whoever
    waits for it is cancelled."""

    def __init__(self, path: str | Path, schema: str) -> None:
        self._path = str(path)
        self._schema = schema
        self._connection: sqlite3.Connection | None = None
        self._limiter = trio.CapacityLimiter(1)

    async def run(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        """Run an operation in a transaction of its own.

        Raises `StorageUnreadable` if the file cannot be opened, `StorageUnavailable` if the operation fails.
        """
        return await trio.to_thread.run_sync(self._in_thread, operation, limiter=self._limiter)

    async def aclose(self) -> None:
        """Close the file. A second call does nothing."""
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._close, limiter=self._limiter)

    def _in_thread(self, operation: Callable[[sqlite3.Connection], Any]) -> Any:
        connection = self._opened()
        try:
            with connection:
                return operation(connection)
        except sqlite3.Error as error:
            raise StorageUnavailable(f"{self._path}: {error}") from error

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            try:
                connection = sqlite3.connect(self._path, timeout=5.0, check_same_thread=False)
            except sqlite3.Error as error:
                raise StorageUnreadable(f"{self._path}: {error}") from error
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                connection.executescript(self._schema)
            except sqlite3.Error as error:
                connection.close()
                raise StorageUnreadable(f"{self._path}: {error}") from error
            self._connection = connection
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
