"""A store that fails, as people at the server see it: an honest answer, nobody disconnected, and it mends by itself."""

from __future__ import annotations

import resource
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, closing, contextmanager
from functools import partial
from pathlib import Path
from random import Random

import pytest
import trio

from chatkit import Client, RequestFailed, Room, connect, open_server
from chatkit.backend import Backend, open_backend
from chatkit.backend.sqlite import SqliteBackend
from chatkit.testing.simulation_store import FaultyBackend, StoreWeather

Failure = Callable[[Backend, Path], AbstractContextManager[None]]
LARGE = "x" * 50_000


@contextmanager
def full_disk(backend: Backend, path: Path) -> Iterator[None]:
    assert isinstance(backend, SqliteBackend)
    writer = backend._writer
    (pages,) = writer.execute("PRAGMA page_count").fetchone()
    writer.execute(f"PRAGMA max_page_count = {pages + 2}").close()
    yield
    writer.execute("PRAGMA max_page_count = 1000000").close()


@contextmanager
def io_error(backend: Backend, path: Path) -> Iterator[None]:
    """The device takes nothing beyond an offset: writing there fails with EFBIG."""
    sizes = [file.stat().st_size for file in path.parent.iterdir()]
    was = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (max(sizes) + 4096, was[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, was)
        signal.signal(signal.SIGXFSZ, handler)


@contextmanager
def locked(backend: Backend, path: Path) -> Iterator[None]:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatkit.backend.sqlite_schema.BUSY_TIMEOUT", 0.05)


@asynccontextmanager
async def two_people(path: Path) -> AsyncIterator[tuple[Backend, Client, Client]]:
    backend = await open_backend(f"sqlite:///{path}")
    async with (
        open_server(backend, listen=["tcp://127.0.0.1:0", "ws://127.0.0.1:0"]) as server,
        connect(server.addresses[0], user="ann", reconnect=False) as ann,
        connect(server.addresses[1], user="bob", reconnect=False) as bob,
    ):
        yield backend, ann, bob
    await backend.aclose()


async def refused(room: Room, said: str, op: str | None = None) -> str:
    with pytest.raises(RequestFailed) as failure:
        await room.send(said, op=op)
    return failure.value.code


@pytest.mark.parametrize("failure", [full_disk, io_error, locked])
async def test_a_failing_store_is_told_and_mends(failure: Failure, tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    async with two_people(path) as (backend, ann, bob):
        ours, theirs = ann.rooms["general"], bob.rooms["general"]
        await ours.send("before")
        with failure(backend, path), trio.fail_after(10):
            codes: list[str] = []

            async def try_to_say(number: int) -> None:
                codes.append(await refused(ours, f"{number} {LARGE}", op=f"op {number}"))

            async with trio.open_nursery() as nursery:
                for number in range(5):
                    nursery.start_soon(try_to_say, number)
            assert codes == ["storage_unavailable"] * 5
            assert ours.state.pending == {}
            # Reading and coming and going need no commit.
            assert [message.text for message in await theirs.past_messages()] == ["before"]
            await theirs.leave()
            assert [user.user for user in await ours.users()] == ["ann"]
            theirs = await bob.join("general", history=1)
        for number in range(5):
            sent = await ours.send(f"{number} {LARGE}", op=f"op {number}")
            again = await ours.send(f"{number} {LARGE}", op=f"op {number}")
            assert again.seq == sent.seq
        heard = theirs.messages()
        with trio.fail_after(10):
            said = [(await anext(heard)).text for _ in range(6)]
        assert said == ["before", *(f"{number} {LARGE}" for number in range(5))]
    backend = await open_backend(f"sqlite:///{path}")
    kept = (await backend.directory.snapshot()).rooms
    room = next(room for room in kept if room.name == "general")
    assert room.head == 6
    await backend.aclose()


async def test_no_room_comes_to_be_in_a_store_that_fails(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    async with two_people(path) as (backend, ann, bob):
        with locked(backend, path), pytest.raises(RequestFailed) as failure:
            await ann.create("new")
        assert failure.value.code == "storage_unavailable"
        assert "new" not in bob.state.rooms
        room = await ann.create("new")
        assert (await room.send("first")).seq == 1


async def test_a_commit_that_took_effect_though_it_failed() -> None:
    """`storage_unavailable` says that the outcome is unknown, and here it was kept: the repeat finds it."""
    backend = FaultyBackend(await open_backend("memory://"), Random(1), StoreWeather(slowest=0.001))
    async with open_server(backend, listen=()) as server, server.connect(user="ann") as ann:
        room = ann.rooms["general"]
        backend.weather = StoreWeather(slowest=0.001, fails_after=1.0)
        assert await refused(room, "hello", op="o") == "storage_unavailable"
        backend.weather = StoreWeather(slowest=0.001, fails_before=1.0)
        assert await refused(room, "more", op="p") == "storage_unavailable"
        backend.weather = StoreWeather(slowest=0.001)
        stream = room.messages()
        with trio.fail_after(5):
            assert (await anext(stream)).text == "hello"  # kept, so everybody sees it
        sent = [await room.send("hello", op="o"), await room.send("more", op="p"), await room.send("more", op="p")]
        assert [message.seq for message in sent] == [1, 2, 2]
        assert await refused(room, "something else", op="o") == "op_conflict"
        assert [message.text for message in await room.past_messages()] == ["hello", "more"]


async def test_a_history_that_cannot_be_read_is_told(autojump_clock: trio.testing.MockClock) -> None:
    backend = FaultyBackend(await open_backend("memory://"), Random(1), StoreWeather())
    async with open_server(backend, listen=()) as server, server.connect(user="ann") as ann:
        room = ann.rooms["general"]
        await room.send("hello")
        backend.weather = StoreWeather(read_fails=1.0)
        for ask in (room.history, partial(ann.join, "general", history=5)):
            with pytest.raises(RequestFailed) as failure:
                await ask()
            assert failure.value.code == "storage_unavailable"
        backend.weather = StoreWeather()
        assert len((await room.history()).events) == 1
