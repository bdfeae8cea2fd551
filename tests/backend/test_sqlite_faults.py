"""Full disks, I/O errors, locks, other writers, kills and cancellation, on real files."""

from __future__ import annotations

import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import trio.testing
from attrs import evolve
from stores import ROOM, bodies, opened, post

from chatkit.backend.interface import Backend
from chatkit.backend.records import Account, Appended, Batch, DeleteRoom, Fact, Member, Put, PutMember, Refused, Row
from chatkit.backend.sqlite import SqliteBackend
from chatkit.errors import StorageUnavailable

HERE = Path(__file__).parent


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def writer(backend: Backend) -> sqlite3.Connection:
    assert isinstance(backend, SqliteBackend)
    assert backend._writer._connection is not None
    return backend._writer._connection


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A device that takes no more: writing beyond this offset fails with EFBIG."""
    was = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, was[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, was)
        signal.signal(signal.SIGXFSZ, handler)


async def test_commits_are_synced(path: Path) -> None:
    async with opened(path) as backend:
        assert writer(backend).execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


async def test_a_full_disk(path: Path) -> None:
    async with opened(path, ROOM, post("before")) as backend:
        position = (await backend.directory.snapshot()).position
        async with backend.log.tail(position) as feed:
            (pages,) = writer(backend).execute("PRAGMA page_count").fetchone()
            writer(backend).execute(f"PRAGMA max_page_count = {pages + 5}").close()
            for _ in range(3):
                with pytest.raises(StorageUnavailable, match=r"the commit failed: the disk is full") as caught:
                    await backend.commit([post("small"), post("x" * 100_000, op="o")])
                assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
                assert await bodies(backend) == ["before"]
            writer(backend).execute("PRAGMA max_page_count = 1000000").close()
            first, again = await backend.commit([post("x", op="o"), post("x", op="o")])
            assert isinstance(first, Appended)
            assert isinstance(again, Appended)
            assert (first.row.seq, first.duplicate, again.duplicate) == (2, False, True)
            assert await anext(feed) == Batch(position + 1, (first.row,))
    async with opened(path) as backend:
        assert await bodies(backend) == ["before", "x"]


async def test_an_io_error(path: Path) -> None:
    async with opened(path, ROOM, post("before")) as backend:
        with files_of_at_most(200_000):
            for _ in range(3):
                with pytest.raises(StorageUnavailable, match="the commit failed"):
                    await backend.commit([post("x" * 60_000) for _ in range(10)])
                assert await bodies(backend) == ["before"]
        await backend.commit([post("after")])
        assert await bodies(backend) == ["before", "after"]
    async with opened(path) as backend:
        assert await bodies(backend) == ["before", "after"]


async def test_a_locked_database(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatkit.backend.sqlite_schema.BUSY_TIMEOUT", 0.01)
    async with opened(path, ROOM) as backend:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StorageUnavailable, match="another program has locked it"):
                await backend.commit([post("lost")])
            assert await bodies(backend) == []
            other.execute("ROLLBACK")
        await backend.commit([post("kept")])
        assert await bodies(backend) == ["kept"]


async def test_damage_found_while_reading(path: Path) -> None:
    async with opened(path, ROOM, *[post("x" * 1000) for _ in range(200)]):
        pass
    async with opened(path) as backend:
        with path.open("r+b") as file:
            file.seek(4096 * 3)
            file.write(b"\xff" * 4096 * 100)
        with pytest.raises(StorageUnavailable, match=r"the store cannot be read: it is damaged") as caught:
            await bodies(backend)
        assert isinstance(caught.value.__cause__, sqlite3.DatabaseError)


async def test_a_damaged_record(path: Path) -> None:
    account = Account(id="a", name="Ann", key="ann")
    async with opened(path, ROOM, Put(record=account)) as backend:
        for statement in (
            "UPDATE records SET body = '{}'",
            "UPDATE records SET kind = 'x'",
            "UPDATE facts SET fact = 1",
        ):
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute(statement)
            if "records" in statement:
                with pytest.raises(StorageUnavailable, match="the store is damaged: a record that cannot be read"):
                    await backend.directory.snapshot()
            else:
                with pytest.raises(StorageUnavailable, match="the store is damaged: a directory change"):
                    async with backend.log.tail(0):
                        pass
            await backend.commit([post("goes on")])
        assert await bodies(backend) == ["goes on"] * 3


async def test_another_process_writes_beside_us(path: Path) -> None:
    async with opened(path, ROOM) as backend:
        position = (await backend.directory.snapshot()).position
        async with backend.log.tail(position) as feed:
            outcomes = await backend.commit([post("ours 1", op="o1")])
            command = [sys.executable, str(HERE / "beside.py"), str(path), "30"]
            process = await trio.run_process(command, capture_stdout=True)
            assert process.stdout == b"done\n"
            with trio.fail_after(10):  # seen without a commit of our own
                found = [await anext(feed) for _ in range(31)]
            outcomes += await backend.commit([post("ours 2"), post("beside 3", op="beside 3"), post("ours 1", op="o1")])
            found.append(await anext(feed))
        rows = [item for batch in found for item in batch.items]
        assert [row.seq for row in rows if isinstance(row, Row)] == list(range(1, 63))
        assert [len(batch.items) for batch in found] == [1, *[2] * 30, 1]
        assert [row.body for row in rows if isinstance(row, Row)] == await bodies(backend)
        ours, more, theirs, again = outcomes
        assert isinstance(more, Appended)
        assert isinstance(theirs, Appended)
        assert (more.row.seq, theirs.row.seq, theirs.duplicate) == (62, 8, True)
        assert again == Appended(ours.row, "e", True) if isinstance(ours, Appended) else False


async def test_two_processes_write_at_once(path: Path) -> None:
    async with opened(path, ROOM) as backend:
        position = (await backend.directory.snapshot()).position
        live: list[Batch] = []
        async with trio.open_nursery() as nursery, backend.log.tail(position) as feed:
            command = [sys.executable, str(HERE / "beside.py"), str(path), "100"]
            nursery.start_soon(trio.run_process, command)
            nursery.start_soon(_post_many, backend, 100)
            with trio.fail_after(30):
                while sum(len(batch.items) for batch in live) < 400:
                    live.append(await anext(feed))
        async with backend.log.tail(position) as feed:
            assert [await anext(feed) for _ in live] == live
        assert [row.seq for batch in live for row in batch.items if isinstance(row, Row)] == list(range(1, 401))


async def test_writers_take_turns(path: Path) -> None:
    """Two openings of one file: neither trusts what it remembers, and a feed sees what lies between its own commits."""
    async with opened(path, ROOM) as ours, opened(path) as theirs, ours.log.tail(1) as feed:
        expected: list[Row | Fact] = []
        for number in range(10):
            await ours.commit([post(f"ours {number}", op=f"ours {number}")])
            member = PutMember(member=Member(room_id="r", principal=str(number)))
            await theirs.commit([member])
            outcomes = await ours.commit([post(f"ours {number}, again")])
            outcomes += await theirs.commit([post(f"theirs {number}"), post(f"ours {number}", op=f"ours {number}")])
            first, second, again = (outcome.row for outcome in outcomes if isinstance(outcome, Appended))
            assert (first.seq, second.seq, again.seq) == (3 * number + 2, 3 * number + 3, 3 * number + 1)
            expected += [again, member, first, second]
        await theirs.commit([DeleteRoom(room_id="r"), evolve(ROOM, room=evolve(ROOM.room, room_id="s"))])
        assert await ours.commit([post("gone")]) == [Refused("no_such_room", "there is no such room")]
        (outcome,) = await ours.commit([post("new", room_id="s")])
        assert isinstance(outcome, Appended)
        position = (await theirs.directory.snapshot()).position
        found: list[Batch] = []
        while not found or found[-1].position < position:
            found.append(await anext(feed))
        facts = [item for item in expected if not isinstance(item, Row)]
        assert [item for batch in found for item in batch.items if not isinstance(item, Row)][:10] == facts
        assert found[-1].items == (outcome.row,)
        assert len({batch.position for batch in found}) == len(found)


async def test_a_gap_is_read_from_the_file(path: Path) -> None:
    async with opened(path, ROOM) as ours, opened(path) as theirs, ours.log.tail(1) as feed:
        for number in range(5):
            await theirs.commit([post(f"{number} theirs"), post(f"{number} theirs too")])
            await ours.commit([post(f"{number} ours")])
        found = [await anext(feed) for _ in range(10)]
        assert [len(batch.items) for batch in found] == [2, 1] * 5
        assert [row.seq for batch in found for row in batch.items if isinstance(row, Row)] == list(range(1, 16))


async def test_a_snapshot_is_of_one_moment(path: Path) -> None:
    async with opened(path, ROOM) as backend, trio.open_nursery() as nursery:
        nursery.start_soon(_post_many, backend, 200)
        head = 0
        while head < 400:
            snapshot = await backend.directory.snapshot()
            head = snapshot.rooms[0].head
            assert snapshot.position == head + 1


async def _post_many(backend: Backend, times: int) -> None:
    for number in range(times):
        await backend.commit([post(f"ours {number}"), post(f"ours {number} more")])


def killed_after(acknowledged: int, path: Path) -> list[list[bytes]]:
    """Let a process write, kill it after so many answers, and return all it gave."""
    command = [sys.executable, str(HERE / "beside.py"), str(path), "1000000", "tell"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        acked = [process.stdout.readline().split() for _ in range(acknowledged)]
        process.kill()
        acked += [line.split() for line in process.stdout if line.endswith(b"\n")]
    assert process.returncode == -signal.SIGKILL
    return acked


@pytest.mark.parametrize("acknowledged", [1, 7, 120])
async def test_what_was_acknowledged_survives_a_kill(path: Path, acknowledged: int) -> None:
    async with opened(path, ROOM):
        pass
    acked = killed_after(acknowledged, path)
    async with opened(path) as backend:
        kept = await bodies(backend)
        assert len(kept) % 2 == 0  # whole commits
        assert len(kept) >= 2 * len(acked)
        for seq, body in acked:
            assert kept[int(seq) - 1] == f"beside {body.decode()}"
        assert len(set(kept)) == len(kept)
        (outcome,) = await backend.commit([post("next")])
        assert isinstance(outcome, Appended)
        assert outcome.row.seq == len(kept) + 1


async def test_a_feed_behind_a_deleted_room(path: Path) -> None:
    async with opened(path, ROOM, post("a"), post("b")) as backend:
        await backend.commit([post("c"), DeleteRoom(room_id="r")])
        newest = (await backend.directory.snapshot()).position
        async with backend.log.tail(0) as feed:
            assert [await anext(feed), await anext(feed)] == [
                Batch(3, (ROOM,)),
                Batch(newest, (DeleteRoom(room_id="r"),)),
            ]


async def test_closing_under_cancellation_closes(path: Path) -> None:
    with trio.CancelScope() as scope:
        async with opened(path, ROOM):
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert sorted(file.name for file in path.parent.iterdir()) == ["store.db"]


async def test_closing_finishes_what_was_called_before(path: Path) -> None:
    async with opened(path, ROOM) as backend, trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(backend.commit, [post(str(number))])
        await trio.testing.wait_all_tasks_blocked()
        await backend.aclose()
    async with opened(path) as backend:
        assert len(await bodies(backend)) == 20
