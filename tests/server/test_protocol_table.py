"""The protocol's tables, row by row, as they stand on the wire of every binding."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import trio
from wires import Site, Wire, site

from chatkit.version import __version__

SUMMARY = {"room", "topic", "users", "head", "epoch", "private"}


def without(data: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key not in keys}


async def ann_and_bob(here: Site, kind: str) -> tuple[Wire, Wire]:
    ann, bob = await here.user("ann", kind), await here.user("bob", kind)
    await ann.event("user_joined", user="bob")
    await bob.sync()
    bob.events.clear()
    return ann, bob


# ── the session ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_hello_comes_first(kind: str) -> None:
    async with site() as here:
        hello = await (await here.wire(kind, hello=False)).receive()
    assert hello["action"] == "hello"
    data = hello["data"]
    assert set(data) == {"protocol", "server", "auth", "limits", "heartbeat"}
    assert data["protocol"] == 1
    assert data["server"] == f"chatkit/{__version__}"
    assert data["auth"] == ["guest", "password", "token", "register"]
    assert data["limits"]["max_message_bytes"] == 65_536
    assert all(isinstance(value, int) for value in data["limits"].values())
    assert data["heartbeat"] == 25


async def test_login(kind: str) -> None:
    async with site() as here:
        wire = await here.wire(kind)
        reply = await wire.ask("login", ref=1, user="Ann")
        assert (reply["action"], reply["ref"]) == ("success", 1)
        data = reply["data"]
        assert set(data) == {"user", "role", "token", "rooms"}
        assert (data["user"], data["role"]) == ("Ann", "guest")
        assert isinstance(data["token"], str)
        assert len(data["token"]) >= 32
        (general,) = data["rooms"]
        assert set(general) == SUMMARY
        assert without(general, "epoch") == {
            "room": "general",
            "topic": "",
            "users": 1,
            "head": 0,
            "private": False,
        }
        welcome = await wire.event("system")
        assert set(welcome["data"]) == {"text"}
        assert (await wire.event("room_updated"))["data"] == general


async def test_nothing_is_accepted_before_login(kind: str) -> None:
    async with site() as here:
        wire = await here.wire(kind)
        for action, data in REQUESTS.items():
            assert await wire.code(action, **data) == "not_logged_in", action


REQUESTS: dict[str, dict[str, Any]] = {
    "create_room": {"room": "tea"},
    "join_room": {"room": "general"},
    "leave_room": {"room": "general"},
    "delete_room": {"room": "general"},
    "list_rooms": {},
    "list_users": {"room": "general"},
    "rename": {"user": "bob"},
    "send_message": {"room": "general", "text": "hello"},
    "history": {"room": "general"},
}


async def test_a_refused_login_leaves_another_try(kind: str) -> None:
    async with site() as here:
        await here.user("ann", kind)
        wire = await here.wire(kind)
        assert await wire.code("login", user="ANN") == "name_taken"
        assert await wire.code("login", user="") == "bad_name"
        assert await wire.code("login", user="x" * 33) == "bad_name"
        assert await wire.code("login", user="eve", password="secret") == "bad_credentials"
        assert await wire.code("login") == "bad_request"
        assert (await wire.data("login", user="eve"))["user"] == "eve"
        assert await wire.code("login", user="eve") == "already_logged_in"


async def test_an_unknown_token_with_a_free_name_is_a_plain_login(kind: str) -> None:
    async with site() as here:
        wire = await here.wire(kind)
        token = "0123456789abcdef" * 3
        assert (await wire.data("login", user="ann", token=token))["token"] == token
        other = await here.wire(kind)
        assert len((await other.data("login", user="bob", token="short"))["token"]) >= 32


async def test_resume_goes_on_from_a_position_or_says_reset(kind: str) -> None:
    async with site() as here:
        ann, bob = await ann_and_bob(here, kind)
        for text in ("one", "two", "three"):
            sent = await ann.data("send_message", room="general", text=text)
        await bob.aclose()
        wire = await here.wire(kind)
        at = {"epoch": sent["epoch"], "seq": 1}
        data = await wire.data("login", user="bob", token=bob.token, resume={"general": at, "nowhere": at})
        assert data["resume"] == {"general": "ok"}
        assert [room["room"] for room in data["rooms"]] == ["general"]
        assert await wire.texts("three") == [(2, "two"), (3, "three")]
        assert (await wire.event("caught_up"))["data"] == {"room": "general", "seq": 3}
        again = await here.wire(kind)
        for position in ({"epoch": "other", "seq": 1}, {"epoch": sent["epoch"], "seq": 4}):
            data = await again.data("login", user=f"cid{position['seq']}", resume={"general": position})
            assert data["resume"] == {"general": "reset"}
            assert (await again.event("caught_up"))["data"] == {"room": "general", "seq": 3}
            await again.aclose()
            again = await here.wire(kind)


# ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_create_room(kind: str) -> None:
    async with site() as here:
        ann, bob = await ann_and_bob(here, kind)
        room = await ann.data("create_room", room="Tea", topic="leaves")
        assert set(room) == SUMMARY
        assert without(room, "epoch") == {"room": "Tea", "topic": "leaves", "users": 1, "head": 0, "private": False}
        created = (await bob.event("room_created"))["data"]
        assert set(created) == SUMMARY
        assert without(created, "users") == without(room, "users")
        assert (await bob.event("room_updated", room="Tea"))["data"] == room
        assert (await ann.data("send_message", room="tea", text="mine"))["room"] == "Tea"
        assert await bob.code("create_room", room="tea") == "room_exists"
        assert await bob.code("create_room", room="a b") == "bad_name"
        assert await bob.code("create_room") == "bad_request"
        assert await bob.code("create_room", room="x", topic="y" * 513) == "too_large"


async def test_a_private_room_is_told_to_nobody(kind: str) -> None:
    async with site() as here:
        ann, bob = await ann_and_bob(here, kind)
        assert (await ann.data("create_room", room="den", private=True))["private"] is True
        for action in ("join_room", "leave_room", "delete_room", "list_users", "history"):
            assert await bob.code(action, room="den") == "no_such_room", action
        assert await bob.code("send_message", room="den", text="hello") == "no_such_room"
        assert [room["room"] for room in (await bob.data("list_rooms"))["rooms"]] == ["general"]
        assert [room["room"] for room in (await ann.data("list_rooms"))["rooms"]] == ["den", "general"]
        await ann.data("delete_room", room="den")
        await ann.event("room_deleted", room="den")
        await bob.sync()
        assert not [event for event in bob.events if event["data"].get("room") == "den"]


async def test_join_room(kind: str) -> None:
    async with site() as here:
        ann, bob = await ann_and_bob(here, kind)
        await ann.data("create_room", room="tea")
        for text in ("one", "two", "three"):
            await ann.data("send_message", room="tea", text=text)
        joined = await bob.data("join_room", room="tea", last=2)
        assert set(joined) == SUMMARY | {"members", "members_more", "events", "more_after", "reset"}
        assert (joined["users"], joined["head"], joined["members_more"], joined["more_after"]) == (2, 3, False, False)
        assert joined["members"] == [
            {"user": "ann", "role": "owner", "presence": "online"},
            {"user": "bob", "role": "guest", "presence": "online"},
        ]
        assert [event["data"]["seq"] for event in joined["events"]] == [2, 3]
        came = (await ann.event("user_joined", room="tea"))["data"]
        assert {key: came[key] for key in ("room", "user", "users")} == {"room": "tea", "user": "bob", "users": 2}
        again = await bob.data("join_room", room="TEA", after=0)
        assert [event["data"]["seq"] for event in again["events"]] == [1, 2, 3]
        assert await bob.code("join_room", room="nowhere") == "no_such_room"
        assert await bob.code("join_room", room="tea", after=1, last=1) == "bad_request"
        assert await bob.code("join_room", room="tea", last=1001) == "bad_request"
        assert await bob.code("join_room", room="tea", after=-1) == "bad_request"


async def test_leave_room(kind: str) -> None:
    async with site() as here:
        ann, bob = await ann_and_bob(here, kind)
        assert await ann.data("leave_room", room="general") == {}
        assert (await bob.event("user_left"))["data"] == {"room": "general", "user": "ann", "users": 1}
        assert await ann.code("leave_room", room="general") == "not_in_room"
        assert await ann.code("send_message", room="general", text="hello") == "not_in_room"
        assert await ann.code("history", room="general") == "not_in_room"
        await bob.data("send_message", room="general", text="alone")
        await ann.sync()
        assert not [event for event in ann.events if event["action"] == "receive_message"]
        await ann.data("join_room", room="general")
        await bob.event("user_joined", user="ann", users=2)


async def test_delete_room(kind: str) -> None:
    async with site() as here:
        ann, bob = await ann_and_bob(here, kind)
        assert await ann.code("delete_room", room="general") == "forbidden"
        await ann.data("create_room", room="tea")
        assert await bob.code("delete_room", room="tea") == "forbidden"
        assert await bob.code("delete_room", room="nowhere") == "no_such_room"
        await bob.data("join_room", room="tea")
        assert await ann.data("delete_room", room="tea") == {}
        assert (await bob.event("room_deleted"))["data"] == {"room": "tea"}
        assert await bob.code("send_message", room="tea", text="hello") == "no_such_room"
        old = await bob.data("create_room", room="tea")
        assert (old["head"], old["users"]) == (0, 1)


async def test_list_rooms_and_list_users(kind: str) -> None:
    async with site() as here:
        ann, _ = await ann_and_bob(here, kind)
        await ann.data("create_room", room="Tea")
        rooms = await ann.data("list_rooms")
        assert set(rooms) == {"rooms", "more"}
        assert rooms["more"] is False
        assert all(set(room) == SUMMARY for room in rooms["rooms"])
        assert [(room["room"], room["users"]) for room in rooms["rooms"]] == [("general", 2), ("Tea", 1)]
        page = await ann.data("list_rooms", limit=1)
        assert (page["rooms"][0]["room"], page["more"]) == ("general", True)
        page = await ann.data("list_rooms", limit=1, after="general")
        assert (page["rooms"][0]["room"], page["more"]) == ("Tea", False)
        users = await ann.data("list_users", room="general")
        assert users == {
            "users": [{"user": name, "role": "guest", "presence": "online"} for name in ("ann", "bob")],
            "more": False,
        }
        assert (await ann.data("list_users", room="general", limit=1))["more"] is True
        assert await ann.code("list_users", room="general", limit=0) == "bad_request"
        assert await ann.code("list_rooms", limit=1001) == "bad_request"


async def test_rename(kind: str) -> None:
    async with site() as here:
        ann, bob = await ann_and_bob(here, kind)
        assert await ann.code("rename", user="bob") == "name_taken"
        assert await ann.data("rename", user="Eve") == {"user": "Eve"}
        assert (await bob.event("user_renamed"))["data"] == {"user": "Eve", "was": "ann"}
        await ann.data("send_message", room="general", text="it is me")
        assert (await bob.event("receive_message"))["data"]["user"] == "Eve"
        assert (await bob.data("rename", user="ann"))["user"] == "ann"


async def test_send_message(kind: str) -> None:
    async with site() as here:
        ann, bob = await ann_and_bob(here, kind)
        sent = await ann.ask("send_message", ref="a", room="General", text="hello", op="x")
        assert without(sent, "timestamp", "data") == {"action": "success", "ref": "a"}
        assert without(sent["data"], "epoch") == {"room": "general", "seq": 1, "duplicate": False}
        for wire in (ann, bob):
            event = await wire.event("receive_message")
            assert event["data"] == {"room": "general", "seq": 1, "user": "ann", "text": "hello", "op": "x"}
            assert event["timestamp"] == sent["timestamp"]
        assert (await ann.data("send_message", room="general", text="hello", op="x"))["duplicate"] is True
        assert await ann.code("send_message", room="general", text="other", op="x") == "op_conflict"
        await bob.data("send_message", room="general", text="yes", reply_to=1)
        assert (await ann.event("receive_message"))["data"] == {
            "room": "general",
            "seq": 2,
            "user": "bob",
            "text": "yes",
            "reply_to": 1,
        }


@pytest.mark.parametrize("empty", ["", " ", "\t\n", "\u3000\u2003"])
async def test_an_empty_message_is_refused(empty: str) -> None:
    async with site() as here:
        ann = await here.user("ann")
        assert await ann.code("send_message", room="general", text=empty) == "empty_message"


async def test_binary_messages_arrive_unchanged_in_every_encoding(kind: str) -> None:
    async with site() as here:
        ann, bob = await ann_and_bob(here, kind)
        every = bytes(range(256))
        packed = kind == "msgpack"
        await ann.data("send_message", room="general", binary=every if packed else base64.b64encode(every).decode())
        got = (await bob.event("receive_message"))["data"]["binary"]
        assert (got if packed else base64.b64decode(got)) == every
        assert await ann.code("send_message", room="general", binary=b"" if packed else "") == "empty_message"
        bad = "not bytes" if packed else "not base64!"
        assert await ann.code("send_message", room="general", binary=bad) == "bad_request"


async def test_send_message_asks_for_one_place_and_one_body(kind: str) -> None:
    async with site() as here:
        ann = await here.user("ann", kind)
        for fields in (
            {"room": "general"},
            {"room": "general", "text": "a", "binary": b"b" if kind == "msgpack" else "Yg=="},
            {"text": "a"},
            {"to": "ann", "text": "a"},
            {"room": 1, "text": "a"},
            {"room": "general", "text": ["a"]},
            {"room": "general", "text": "a", "op": ""},
            {"room": "general", "text": "a", "op": "x" * 65},
            {"room": "general", "text": "a", "op": 1},
            {"room": "general", "text": "a", "reply_to": 0},
            {"room": "general", "text": "a", "reply_to": 1},
            {"room": "general", "text": "a", "reply_to": True},
        ):
            assert await ann.code("send_message", **fields) == "bad_request", fields


async def test_history(kind: str) -> None:
    async with site() as here:
        ann, _ = await ann_and_bob(here, kind)
        for number in range(1, 61):
            await ann.data("send_message", room="general", text=str(number))
        live = [await ann.event("receive_message") for _ in range(60)]

        async def page(**bounds: Any) -> tuple[int, int, bool, bool]:
            data = await ann.data("history", room="general", **bounds)
            assert set(data) == {"epoch", "events", "more_before", "more_after"}
            seqs = [event["data"]["seq"] for event in data["events"]]
            assert data["events"] == live[seqs[0] - 1 : seqs[-1]] if seqs else True
            return (seqs[0], seqs[-1], data["more_before"], data["more_after"]) if seqs else (0, 0, *more(data))

        def more(data: dict[str, Any]) -> tuple[bool, bool]:
            return data["more_before"], data["more_after"]

        assert await page() == (11, 60, True, False)
        assert await page(limit=1000) == (1, 60, False, False)
        assert await page(before=11) == (1, 10, False, True)
        assert await page(before=61, limit=1) == (60, 60, True, False)
        assert await page(before=1) == (0, 0, False, True)
        assert await page(after=0, limit=2) == (1, 2, False, True)
        assert await page(after=59) == (60, 60, True, False)
        assert await page(after=60) == (0, 0, True, False)
        assert await page(around=30, limit=5) == (28, 32, True, True)
        assert await page(around=1, limit=3) == (1, 3, False, True)
        assert await page(around=60, limit=3) == (58, 60, True, False)
        assert await page(around=30, limit=1) == (30, 30, True, True)
        for bad in ({"limit": 0}, {"limit": 1001}, {"before": 1, "after": 1}, {"before": -1}, {"around": "1"}):
            assert await ann.code("history", room="general", **bad) == "bad_request", bad
        assert await ann.code("history", room="nowhere") == "no_such_room"


async def test_a_page_ends_at_its_bytes_with_at_least_one_event(kind: str) -> None:
    async with site() as here:
        ann = await here.user("ann", kind)
        text = "x" * 60_000
        for _ in range(6):
            await ann.data("send_message", room="general", text=text)
        data = await ann.data("history", room="general", after=0)
        assert [event["data"]["seq"] for event in data["events"]] == [1, 2, 3, 4]
        assert data["more_after"] is True
        data = await ann.data("history", room="general")
        assert [event["data"]["seq"] for event in data["events"]] == [3, 4, 5, 6]
        assert data["more_before"] is True
        bob = await here.user("bob", kind)
        await bob.data("leave_room", room="general")
        joined = await bob.data("join_room", room="general", after=0)
        assert [event["data"]["seq"] for event in joined["events"]] == [1, 2, 3, 4]
        assert joined["more_after"] is True
        assert [(await bob.event("receive_message"))["data"]["seq"] for _ in range(2)] == [5, 6]
        assert (await bob.event("caught_up"))["data"] == {"room": "general", "seq": 6}


@pytest.mark.parametrize("said", ["\U0001f600" * 15_000, "\x01" * 10_000, '"' * 30_000, b"\x00" * 45_000])
async def test_a_page_ends_at_its_bytes_whatever_they_are_as_text(said: str | bytes) -> None:
    async with site() as here:
        ann = await here.user("ann")
        field = {"text": said} if isinstance(said, str) else {"binary": base64.b64encode(said).decode()}
        for _ in range(12):
            await ann.data("send_message", room="general", **field)
            ann.events.clear()
        await ann.send("history", room="general")
        with trio.fail_after(5):
            while b'"more_before"' not in (raw := str(await ann.receive_raw()).encode()):
                pass
        assert 150_000 < len(raw) <= 262_144 + 1000


@pytest.mark.parametrize(
    "action",
    ["edit_message", "react", "typing", "mark_read", "set_presence", "search", "upload", "download"],
)
async def test_reserved_actions_are_unknown_until_they_come(action: str) -> None:
    async with site() as here:
        assert await (await here.user("ann")).code(action, room="general") == "unknown_action"
