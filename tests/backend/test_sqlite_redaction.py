"""What is redacted is in no file any more, as soon as nobody is reading."""

from __future__ import annotations

import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
import trio
from stores import ROOM, bodies, opened, post

from chatkit.backend.records import Change, CreateRoom, DeleteRoom, Redact, RoomRecord, Trim

SECRET = "the combination is 1-2-3-4-5"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def found_in(path: Path) -> set[str]:
    """Return the files beside a database, and itself, that hold the secret."""
    return {file.suffix for file in path.parent.iterdir() if SECRET.encode() in file.read_bytes()}


def redact(seq: int, room_id: str = "r") -> Redact:
    return Redact(room_id=room_id, seq=seq)


@pytest.mark.parametrize("size", [1, 500])  # within a page, over many
@pytest.mark.parametrize("home", [False, True])
async def test_nothing_is_left(path: Path, size: int, home: bool) -> None:
    async with opened(path, ROOM, *[post(f"{number}") for number in range(50)]) as backend:
        await backend.commit([post(SECRET * size, op="o"), post((SECRET * size).encode()), post("after")])
        if home:
            with closing(sqlite3.connect(path)) as other:
                other.execute("PRAGMA wal_checkpoint").close()
        assert found_in(path) == ({".db", ".db-wal"} if home else {".db-wal"})
        await backend.commit([redact(51), redact(52)])
        assert found_in(path) == set()
        assert (await bodies(backend))[49:] == ["49", None, None, "after"]
    assert found_in(path) == set()


async def test_a_secret_of_one_commit(path: Path) -> None:
    async with opened(path, ROOM) as backend:
        await backend.commit([post(SECRET), redact(1), post("after")])
        assert found_in(path) == set()
        assert await bodies(backend) == [None, "after"]


async def test_rows_that_have_been_moved_about(path: Path) -> None:
    """Deleting and trimming make SQLite move what stays from page to page."""
    other = CreateRoom(room=RoomRecord(room_id="s", epoch="f", name="S", key="s"))
    posts: list[Change] = []
    for number in range(600):
        posts += [post("x" * (number * 37 % 900)), post("y" * (number * 53 % 700), room_id="s")]
        if number % 10 == 0:
            posts.append(post(f"{SECRET} {number}"))
    async with opened(path, ROOM, other, *posts) as backend:
        await backend.commit([Trim(room_id="s", first=300)])
        await backend.commit([post("z"), DeleteRoom(room_id="s")])
        await backend.commit([Trim(room_id="r", first=30)])
        seqs = [seq for seq, body in enumerate(await bodies_from(path), 1) if SECRET in str(body)]
        await backend.commit([redact(seq) for seq in seqs])
        assert len(seqs) > 50
        assert found_in(path) == set()


async def bodies_from(path: Path) -> list[object]:
    with closing(sqlite3.connect(path)) as connection:
        rows = dict(connection.execute("SELECT seq, body FROM log WHERE room_id = 'r'").fetchall())
    return [rows.get(seq) for seq in range(1, max(rows) + 1)]


async def test_a_reader_only_delays_it(path: Path) -> None:
    async with opened(path, ROOM, post(SECRET)) as backend:
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            assert reader.execute("SELECT body FROM log").fetchall() == [(SECRET,)]
            await backend.commit([redact(1)])
            await backend.commit([post("meanwhile")])
            assert await bodies(backend) == [None, "meanwhile"]
            assert reader.execute("SELECT body FROM log").fetchall() == [(SECRET,)]
            reader.execute("ROLLBACK")
        await backend.commit([post("after")])
        assert found_in(path) == set()


REDACT_AND_DIE = """
import os, signal, sqlite3, sys, trio
from pathlib import Path
from stores import opened
from chatkit.backend.records import Redact

async def main():
    async with opened(Path(sys.argv[1])) as backend:
        reader = sqlite3.connect(sys.argv[1], isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM log").fetchall()
        await backend.commit([Redact(room_id="r", seq=1)])
        os.kill(os.getpid(), signal.SIGKILL)

trio.run(main)
"""


async def test_a_kill_only_delays_it(path: Path) -> None:
    async with opened(path, ROOM, post(SECRET)):
        pass
    command = [sys.executable, "-c", REDACT_AND_DIE, str(path)]
    process = await trio.run_process(command, check=False, cwd=Path(__file__).parent)
    assert process.returncode == -signal.SIGKILL
    assert found_in(path)
    async with opened(path) as backend:
        await backend.commit([post("after")])
        assert found_in(path) == set()
        assert await bodies(backend) == [None, "after"]
