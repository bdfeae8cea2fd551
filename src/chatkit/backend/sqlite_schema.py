"""The database file: its tables, how older ones are brought up to date, and when one is refused.

Every committed item, a log row or a directory change, takes the next position of one counter; ``batch`` is the last
position of the commit it belongs to. Positions only grow: the newest item is never removed without a newer one. A room
holds the seqs from ``first`` on; its head is that of its newest row, or ``first - 1``. Records (accounts, tokens, bans,
invitations) are JSON in one table for all kinds; ``key`` is what is unique within a kind.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

from chatkit.errors import StorageUnreadable

APPLICATION_ID = 0x43484B54
"""``CHKT`` in the header of the file: this database is chatkit's."""
BUSY_TIMEOUT = 5.0
"""Seconds to wait while another program writes to the database."""
CHECKED_BYTES = 16 * 2**20
"""Up to this size the whole file is checked for damage at opening (about 50 ms); above it, only what is read anyway."""

_VERSION_1 = (
    """
    CREATE TABLE rooms (
        room_id TEXT NOT NULL PRIMARY KEY, epoch TEXT NOT NULL, name TEXT NOT NULL, key TEXT NOT NULL UNIQUE,
        topic TEXT NOT NULL, private INTEGER NOT NULL, permanent INTEGER NOT NULL,
        created_by TEXT NOT NULL, created_at INTEGER NOT NULL, first INTEGER NOT NULL DEFAULT 1
    )""",
    """
    CREATE TABLE members (
        room_id TEXT NOT NULL, principal TEXT NOT NULL, role TEXT NOT NULL, PRIMARY KEY (room_id, principal)
    ) WITHOUT ROWID""",
    """
    CREATE TABLE log (
        pos INTEGER NOT NULL PRIMARY KEY, batch INTEGER NOT NULL, room_id TEXT NOT NULL, seq INTEGER NOT NULL,
        kind TEXT NOT NULL, author TEXT NOT NULL, name TEXT NOT NULL, time INTEGER NOT NULL,
        op TEXT, about INTEGER, thread INTEGER, body
    )""",
    "CREATE UNIQUE INDEX log_by_seq ON log (room_id, seq)",
    "CREATE UNIQUE INDEX log_by_op ON log (room_id, author, op) WHERE op IS NOT NULL",
    "CREATE TABLE facts (pos INTEGER NOT NULL PRIMARY KEY, batch INTEGER NOT NULL, fact TEXT NOT NULL)",
    "CREATE TABLE meta (name TEXT NOT NULL PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
    "INSERT INTO meta VALUES ('facts_after', 0)",
)

_VERSION_2 = (
    "ALTER TABLE rooms ADD COLUMN read_only INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE rooms ADD COLUMN slow REAL NOT NULL DEFAULT 0",
    "ALTER TABLE rooms ADD COLUMN closed INTEGER NOT NULL DEFAULT 0",
    """
    CREATE TABLE records (
        kind TEXT NOT NULL, id TEXT NOT NULL, key TEXT, body TEXT NOT NULL, PRIMARY KEY (kind, id)
    ) WITHOUT ROWID""",
    "CREATE UNIQUE INDEX records_by_key ON records (kind, key) WHERE key IS NOT NULL",
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_VERSION_1, _VERSION_2)
"""The statements that lead from each version (``PRAGMA user_version``) to the next. Never changed, only added to."""

_REASONS = {
    sqlite3.SQLITE_NOTADB: "it is not a chatkit database, or its first page is damaged",
    sqlite3.SQLITE_CORRUPT: "it is damaged",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check the permissions of the file and its directory",
    sqlite3.SQLITE_PERM: "permission denied",
    sqlite3.SQLITE_READONLY: "it cannot be written to; check the permissions of the file and its directory",
    sqlite3.SQLITE_BUSY: "another program has locked it",
    sqlite3.SQLITE_LOCKED: "another program has locked it",
    sqlite3.SQLITE_FULL: "the disk is full",
}


def open_writer(path: Path) -> sqlite3.Connection:
    """Open the database for writing; make it, or bring it up to date, first. What is made here, its owner alone may
    read: it will hold what people say, and hashes of their passwords.

    Raises `StorageUnreadable` with a sentence that names the path. A database that is not chatkit's is not touched.
    """
    _look(path)
    _make(path)
    try:
        connection = _connect(path, "rw")
        try:
            _check_owner(path, connection)
            _configure(path, connection)
            _migrate(path, connection)
            _check_health(path, connection)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise unreadable(path, reason_of(error)) from error
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """Open the database, which a writer has opened before, for reading only. Raises `StorageUnreadable`."""
    try:
        connection = _connect(path, "ro")
        connection.execute("PRAGMA trusted_schema = OFF").close()
    except sqlite3.Error as error:
        raise unreadable(path, reason_of(error)) from error
    return connection


def empty_log(connection: sqlite3.Connection) -> bool:
    """Bring the write-ahead log home and empty it: it repeats what the database has overwritten. Return whether that
    was possible; it is not while somebody else reads or writes, and is not waited for."""
    connection.execute("PRAGMA busy_timeout = 0").close()
    try:
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy
    except sqlite3.Error:
        return False
    finally:
        connection.execute(f"PRAGMA busy_timeout = {round(BUSY_TIMEOUT * 1000)}").close()


def unreadable(path: Path, reason: str) -> StorageUnreadable:
    """Return the error that says why a store cannot be opened."""
    return StorageUnreadable(f"cannot open the store {path}: {reason}")


def reason_of(error: sqlite3.Error) -> str:
    """Say in words what went wrong."""
    code = getattr(error, "sqlite_errorcode", None)
    return _REASONS.get(code & 0xFF, str(error)) if isinstance(code, int) else str(error)


def _look(path: Path) -> None:
    """Refuse what SQLite would only call "unable to open database file"."""
    effective = os.access in os.supports_effective_ids
    try:
        if path.is_dir():
            raise unreadable(path, "it is a directory")
        if not path.parent.is_dir():
            raise unreadable(path, f"there is no directory {path.parent}")
        if path.exists() and not os.access(path, os.R_OK | os.W_OK, effective_ids=effective):
            raise unreadable(path, "permission denied")
        if not os.access(path.parent, os.W_OK | os.X_OK, effective_ids=effective):
            raise unreadable(path, f"permission denied for the directory {path.parent}")
    except PermissionError as error:
        raise unreadable(path, "permission denied") from error
    except (OSError, ValueError) as error:
        raise unreadable(path, str(error)) from error


def _make(path: Path) -> None:
    """Make an empty file, private, where there is none. SQLite gives its journals the same permissions."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise unreadable(path, error.strerror or str(error)) from error


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"file:{quote(os.path.abspath(path))}?mode={mode}",
        uri=True,
        timeout=BUSY_TIMEOUT,
        isolation_level=None,
        check_same_thread=False,
    )


def _number(connection: sqlite3.Connection, query: str) -> int:
    (value,) = connection.execute(query).fetchone()
    return int(value)


def _check_owner(path: Path, connection: sqlite3.Connection) -> None:
    owner = _number(connection, "PRAGMA application_id")
    if owner == APPLICATION_ID:
        _check_version(path, connection)
    elif owner != 0 or _number(connection, "SELECT count(*) FROM sqlite_master") > 0:
        raise unreadable(path, "it is another program's database")


def _check_version(path: Path, connection: sqlite3.Connection) -> int:
    version = _number(connection, "PRAGMA user_version")
    if version > len(MIGRATIONS):
        raise unreadable(
            path, f"a newer chatkit wrote it (version {version} of the database; this one knows {len(MIGRATIONS)})"
        )
    return version


def _configure(path: Path, connection: sqlite3.Connection) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise unreadable(path, "its file system cannot share memory, which a write-ahead log needs")
    for pragma in (
        "synchronous = FULL",
        "trusted_schema = OFF",
        "secure_delete = ON",  # what is redacted is overwritten, not only let go
        "cache_size = -16384",  # KiB: the index of ops is hit at random
        "wal_autocheckpoint = 4000",  # pages, 16 MB
        "journal_size_limit = 67108864",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _migrate(path: Path, connection: sqlite3.Connection) -> None:
    """Bring the database to this version, in one transaction: another process may be doing the same."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _check_version(path, connection)
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement)
        if version < len(MIGRATIONS):
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _check_health(path: Path, connection: sqlite3.Connection) -> None:
    if path.stat().st_size <= CHECKED_BYTES:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise unreadable(path, f"it is damaged ({' '.join(str(found).split())})")
