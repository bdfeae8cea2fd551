"""What others write into the same store, and what this server does not understand."""

from __future__ import annotations

import pytest
from wires import site

from chatkit.backend import open_backend
from chatkit.backend.records import Append


def post(room_id: str, body: str | bytes | None, kind: str = "message") -> Append:
    return Append(room_id=room_id, kind=kind, author="else", name="else", time=1_700_000_000_000, body=body)


async def test_what_others_append_counts_though_nobody_is_there() -> None:
    backend = await open_backend("memory://")
    async with site(backend) as here:
        kept = (await backend.directory.snapshot()).rooms
        room = next(room for room in kept if room.name == "general")
        await backend.commit([post(room.room_id, "one"), post(room.room_id, "two")])
        ann = await here.wire()
        assert (await ann.data("login", user="ann"))["rooms"][0]["head"] == 2
        joined = await ann.data("join_room", room="general", last=5)
        assert (joined["head"], [event["data"]["text"] for event in joined["events"]]) == (2, ["one", "two"])
        await backend.commit([post(room.room_id, "three")])
        assert await ann.texts("three") == [(3, "three")]
    await backend.aclose()


@pytest.mark.parametrize(
    ("kind", "body", "action"),
    [
        ("game.move", '{"x": 1}', "game.move"),
        ("game.move", None, "game.move"),
        ("game.move", "no json", "unreadable_entry"),
        ("game.move", "[1]", "unreadable_entry"),
        ("game.move", b"\x00", "unreadable_entry"),
        ("user_joined", '{"user": 1}', "unreadable_entry"),
        ("system", "{}", "unreadable_entry"),
    ],
)
async def test_entries_a_server_cannot_read_keep_their_place(kind: str, body: str | bytes | None, action: str) -> None:
    backend = await open_backend("memory://")
    async with site(backend) as here, here.server.connect(user="eve") as eve:
        ann = await here.user("ann")
        kept = (await backend.directory.snapshot()).rooms
        room = next(room for room in kept if room.name == "general")
        await backend.commit([post(room.room_id, body, kind), post(room.room_id, "after it")])
        data = (await ann.event(action))["data"]
        assert (data["room"], data["seq"]) == ("general", 1)
        assert await ann.texts("after it") == [(2, "after it")]
        page = await ann.data("history", room="general")
        assert [event["data"]["seq"] for event in page["events"]] == [1, 2]
        assert page["events"][0]["data"] == data
        async for message in eve.rooms["general"].messages():
            assert (message.seq, message.text) == (2, "after it")
            break
    await backend.aclose()


async def test_a_deleted_room_leaves_nothing_behind() -> None:
    async with site() as here:
        ann = await here.user("ann")
        for number in range(3):
            await ann.data("create_room", room=f"tea{number}")
            if number % 2:
                await ann.data("leave_room", room=f"tea{number}")
            await ann.data("delete_room", room=f"tea{number}")
        core = here.server._core
        assert set(core.channels) == set(core.engine.rooms)
