"""What can be opened, and the one sentence said about what cannot."""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from stores import ROOM, bodies, opened, post

from chatkit.backend import open_backend
from chatkit.backend.sqlite import path_of
from chatkit.backend.sqlite_schema import APPLICATION_ID, MIGRATIONS
from chatkit.errors import StorageUnreadable, UsageError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


async def refused(path: Path, why: str) -> None:
    with pytest.raises(StorageUnreadable, match=f"^cannot open the store {re.escape(str(path))}: .*{why}"):
        await open_backend(f"sqlite:///{path}")


def run(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def write(path: Path, data: bytes, at: int = 0) -> None:
    with path.open("r+b" if path.exists() else "wb") as file:
        file.seek(at)
        file.write(data)


def read(path: Path) -> bytes:
    return path.read_bytes()


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///chat.db", "chat.db"),
        ("sqlite:///data/chat.db", "data/chat.db"),
        ("sqlite:////var/lib/chat.db", "/var/lib/chat.db"),
        ("sqlite:///what%3F%20100%25.db", "what? 100%.db"),
    ],
)
def test_a_url_names_a_path(url: str, path: str) -> None:
    assert path_of(url) == Path(path)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite://chat.db",
        "sqlite:///:memory:",
        "sqlite:///a.db?mode=ro",
        "sqlite:///a.db#x",
        "sqlite:///dir/",
    ],
)
async def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(UsageError, match="store 'sqlite:"):
        await open_backend(url)


async def test_a_relative_path_and_odd_characters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with opened("sqlite:///odd%3F%23%25%20n%C3%A4me.db", ROOM, post("x")):
        pass
    assert (tmp_path / "odd?#% näme.db").exists()
    async with opened("sqlite:///odd%3F%23%25%20n%C3%A4me.db") as backend:
        assert await bodies(backend) == ["x"]


async def test_it_is_durable_and_marked_as_ours(path: Path) -> None:
    async with opened(path) as backend:
        assert backend.durable
    with closing(sqlite3.connect(path)) as connection:
        pragmas = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("application_id", "user_version", "journal_mode")
        }
    assert pragmas == {"application_id": APPLICATION_ID, "user_version": len(MIGRATIONS), "journal_mode": "wal"}
    assert sorted(file.name for file in path.parent.iterdir()) == ["store.db"]


async def test_an_empty_file_becomes_a_store(path: Path) -> None:
    write(path, b"")
    async with opened(path, ROOM, post()) as backend:
        assert await bodies(backend) == ["hello"]


async def test_a_newer_version(path: Path) -> None:
    async with opened(path):
        pass
    run(path, "PRAGMA user_version = 99")
    await refused(path, f"a newer chatkit wrote it .version 99 of the database; this one knows {len(MIGRATIONS)}")


async def test_an_unfinished_migration_starts_again(path: Path) -> None:
    run(path, "PRAGMA journal_mode = WAL")
    async with opened(path, ROOM, post()) as backend:
        assert await bodies(backend) == ["hello"]


@pytest.mark.parametrize("statement", ["CREATE TABLE theirs (x)", "PRAGMA application_id = 7"])
async def test_another_programs_database_is_not_touched(path: Path, statement: str) -> None:
    run(path, statement)
    before = read(path)
    await refused(path, "it is another program's database")
    assert read(path) == before


async def test_a_text_file(path: Path) -> None:
    write(path, b"Dear diary, " * 1000)
    await refused(path, "it is not a chatkit database")


async def test_a_damaged_page(path: Path) -> None:
    async with opened(path, ROOM, *[post("x" * 1000) for _ in range(200)]):
        pass
    write(path, os.urandom(4096 * 4), at=4096 * 20)
    await refused(path, "it is damaged")


async def test_a_truncated_file(path: Path) -> None:
    async with opened(path, ROOM, *[post("x" * 1000) for _ in range(200)]):
        pass
    os.truncate(path, 4096 * 5)
    await refused(path, "it is damaged")


async def test_a_directory(tmp_path: Path) -> None:
    await refused(tmp_path, "it is a directory")


async def test_no_such_directory(tmp_path: Path) -> None:
    await refused(tmp_path / "missing" / "store.db", "there is no directory")


async def test_a_file_for_a_directory(path: Path) -> None:
    write(path, b"")
    await refused(path / "store.db", "there is no directory")


@pytest.mark.parametrize("what", ["the file", "the directory"])
async def test_no_permission(path: Path, what: str) -> None:
    async with opened(path):
        pass
    was = os.geteuid()
    target = path if what == "the file" else path.parent
    target.chmod(0)
    try:
        if was == 0:  # to root everything is permitted
            path.parent.parent.chmod(0o711)
            os.seteuid(65534)
        await refused(path, "permission denied")
    finally:
        os.seteuid(was)
        target.chmod(0o700)


async def test_a_locked_database(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatkit.backend.sqlite_schema.BUSY_TIMEOUT", 0.01)
    async with opened(path):
        pass
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        await refused(path, "another program has locked it")


def modes(directory: Path) -> set[int]:
    return {file.stat().st_mode & 0o777 for file in directory.iterdir()}


@pytest.mark.parametrize("mask", [0o022, 0o000])
async def test_what_is_made_is_private(path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        async with opened(path, ROOM, post()):
            assert modes(path.parent) == {0o600}
    finally:
        os.umask(before)


async def test_permissions_that_somebody_gave_stay(path: Path) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o640))
    async with opened(path, ROOM, post()):
        assert modes(path.parent) == {0o640}
