"""What is in the outbox is sent whatever happens to the program: once, in order, or kept with the reason it was not."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from functools import partial
from pathlib import Path
from random import Random

import pytest
import trio

from chatkit import ConnectFailed, RequestFailed, connect, open_server
from chatkit.backend import open_backend
from chatkit.client import Outbox, Unsent
from chatkit.testing.simulation_store import FaultyBackend, StoreWeather

PROGRAM = str(Path(__file__).parent / "outbox_program.py")


async def said_in(path: Path) -> list[str]:
    backend = await open_backend(f"sqlite:///{path}")
    kept = (await backend.directory.snapshot()).rooms
    room = next(room for room in kept if room.name == "general")
    rows = (await backend.log.read(room.room_id, after=0, limit=100)).rows
    await backend.aclose()
    return [str(row.body) for row in rows]


@pytest.mark.parametrize("lives_to_connect", [True, False])
async def test_a_program_killed_before_its_answer(lives_to_connect: bool, tmp_path: Path) -> None:
    """Killed while the server waits for a locked store with the first message, or before it has got as far."""
    store, outbox, texts = tmp_path / "chat.db", tmp_path / "outbox.db", ["one", "two", "three"]
    async with open_server(f"sqlite:///{store}", listen=["tcp://127.0.0.1:0"]) as server:
        command = [sys.executable, PROGRAM, server.addresses[0], str(outbox)]
        with closing(sqlite3.connect(store, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            async with trio.open_nursery() as nursery:
                run = partial(trio.run_process, [*command, *texts], stdout=subprocess.PIPE, check=False)
                process: trio.Process = await nursery.start(run)
                with trio.fail_after(20):
                    assert process.stdout is not None
                    assert await process.stdout.receive_some()  # it is connected
                    while lives_to_connect and not server._core.committer._bytes:
                        await trio.lowlevel.checkpoint()
                process.kill()
                assert await process.wait() == -signal.SIGKILL
            other.execute("ROLLBACK")
        for _ in range(2):
            with trio.fail_after(20):
                await trio.run_process(command, capture_stdout=True)
    assert await said_in(store) == [*texts, "the end", "the end"]


async def test_what_the_server_refuses_is_kept_with_the_reason(tmp_path: Path) -> None:
    async with open_server("memory://", listen=()) as server:
        async with server.connect(user="ann", outbox=tmp_path / "outbox.db") as ann:
            assert ann.outbox is not None
            with pytest.raises(RequestFailed, match="empty"):
                await ann.rooms["general"].send(" ", op="o")
            await ann.rooms["general"].send("fine")
            assert await ann.outbox.waiting() == []
            refused = Unsent(op="o", room="general", said=" ", refused="empty_message")
            assert await ann.outbox.waiting(refused=True) == [refused]
        async with server.connect(user="bob", outbox=tmp_path / "outbox.db") as bob:  # it is not tried again
            await bob.rooms["general"].send("still fine")
            assert bob.outbox is not None
            assert await bob.outbox.waiting(refused=True) == [refused]
            assert len((await bob.rooms["general"].history()).events) == 2


async def test_the_server_is_down_at_first(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "outbox.db")
    for number in range(3):
        await box.put(Unsent(op=str(number), room="general", said=f"{number}"))
    await box.put(Unsent(op="1", room="general", said="the same op again"))
    await box.aclose()
    async with open_server("memory://", listen=["tcp://127.0.0.1:0"]) as server:
        (url,) = server.addresses
    with pytest.raises(ConnectFailed):
        async with connect(url, user="ann", outbox=tmp_path / "outbox.db"):
            pass
    async with (
        open_server("memory://", listen=[url]),
        connect(url, user="ann", outbox=tmp_path / "outbox.db") as ann,
    ):
        await ann.rooms["general"].send("and now")
        said = [message.text for message in await ann.rooms["general"].past_messages()]
        assert said == ["0", "1", "2", "and now"]


async def test_a_server_that_cannot_keep_anything_for_a_while(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    autojump_clock.autojump_threshold = 0.002  # the outbox works in a thread: time is not to fly meanwhile
    backend = FaultyBackend(await open_backend("memory://"), Random(1), StoreWeather(fails_before=0.4, fails_after=0.4))
    box = Outbox(tmp_path / "outbox.db")
    for number in range(5):
        await box.put(Unsent(op=str(number), room="general", said=str(number)))
    await box.aclose()
    async with (
        open_server(backend, listen=()) as server,
        server.connect(user="ann", outbox=tmp_path / "outbox.db") as ann,
    ):
        for number in range(5, 10):
            await ann.rooms["general"].send(str(number))
        assert ann.outbox is not None
        assert await ann.outbox.waiting() == []
        said = [message.text for message in await ann.rooms["general"].past_messages()]
        assert said == [str(number) for number in range(10)]


async def test_a_message_for_a_room_one_is_not_in_yet(tmp_path: Path) -> None:
    async with open_server("memory://", listen=()) as server, server.connect(user="bob") as bob:
        room = await bob.create("elsewhere")
        box = Outbox(tmp_path / "outbox.db")
        await box.put(Unsent(op="o", room="elsewhere", said=b"\x00\xff", reply_to=None))
        await box.put(Unsent(op="p", room="nowhere", said="lost"))
        await box.aclose()
        async with server.connect(user="ann", outbox=tmp_path / "outbox.db") as ann:
            with trio.fail_after(5):
                assert (await anext(room.messages())).binary == b"\x00\xff"
            await ann.rooms["general"].send("after what waits")
            assert ann.outbox is not None
            assert await ann.outbox.waiting() == []
            assert [unsent.refused for unsent in await ann.outbox.waiting(refused=True)] == ["no_such_room"]
