"""A cursor goes on where the program stopped: every message at least once, in order, none left out."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from chatkit import Cursor, PositionLost, StorageUnavailable, StorageUnreadable, open_server
from chatkit.client import Position


async def test_a_program_that_stops_anywhere_goes_on_there(tmp_path: Path) -> None:
    """Every message is given; one whose handling did not end is given again, and no other."""
    path = tmp_path / "cursor.db"
    given: list[str | None] = []
    async with open_server("memory://", listen=()) as server, server.connect(user="ann") as ann:
        for number in range(20):
            await ann.rooms["general"].send(str(number))
        for run in range(9):
            async with server.connect(user="bob") as bob, Cursor(path) as cursor:
                room = await bob.join("general", after=0) if run == 0 else bob.rooms["general"]
                stream = room.messages(cursor=cursor)
                for _ in range(3):
                    given.append((await anext(stream)).text)
    assert given == [str(number) for run in range(9) for number in range(2 * run, 2 * run + 3)]


async def test_what_is_committed_is_not_given_again(tmp_path: Path) -> None:
    async with open_server("memory://", listen=()) as server, server.connect(user="ann") as ann:
        room = ann.rooms["general"]
        for number in range(4):
            await room.send(str(number))
        for expected in range(4):
            async with Cursor(tmp_path / "cursor.db") as cursor:
                stream = room.messages(after=0, cursor=cursor)
                assert (await anext(stream)).text == str(expected)
                await stream.commit()


async def test_cancelling_gives_the_same_message_next(tmp_path: Path) -> None:
    async with open_server("memory://", listen=()) as server, server.connect(user="ann") as ann:
        room = ann.rooms["general"]
        async with Cursor(tmp_path / "cursor.db") as cursor:
            stream = room.messages(cursor=cursor)
            for number in range(10):
                with trio.move_on_after(0.001):
                    await anext(stream)
                await room.send(str(number))
                assert (await anext(stream)).text == str(number)


async def test_readers_of_one_file_have_names(tmp_path: Path) -> None:
    path = tmp_path / "cursor.db"
    async with Cursor(path, "one") as one, Cursor(path, "two") as two:
        await one.commit("general", Position("e", 5))
        await two.commit("general", Position("e", 6))
        await two.commit("general", Position("e", 7))
        assert await one.position("general") == Position("e", 5)
        assert await two.position("general") == Position("e", 7)
        assert await two.position("elsewhere") is None


async def test_another_log_of_the_same_name(tmp_path: Path) -> None:
    async with Cursor(tmp_path / "cursor.db") as cursor:
        for run in range(2):
            async with open_server("memory://", listen=()) as server, server.connect(user="ann") as ann:
                room = ann.rooms["general"]
                for number in range(3):
                    await room.send(f"{run} {number}")
                stream = room.messages(cursor=cursor)
                if run == 1:
                    with pytest.raises(PositionLost) as lost:
                        await anext(stream)
                    assert lost.value.epoch != room.position.epoch
                assert [(await anext(stream)).text for _ in range(3)] == [f"{run} {number}" for number in range(3)]
                await stream.commit()


async def test_a_file_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "cursor.db"
    path.write_bytes(b"This is no database. " * 100)
    with pytest.raises(StorageUnreadable):
        await Cursor(path).position("general")
    with pytest.raises((StorageUnreadable, StorageUnavailable)):
        await Cursor(tmp_path / "none" / "cursor.db").position("general")
