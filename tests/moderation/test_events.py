"""What people are told when order is kept, and what is left of what was removed."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define, evolve, field
from places import PASSWORD, Place, place
from wires import Envelope, Wire

from chatkit.backend.records import Page
from chatkit.server import ServerConfig

NOW = 1_700_000_000_000
PERMANENT = [
    {"name": "lobby"},
    {"private": True},
    {"closed": True},
]


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'chat.db'}"


async def den(here: Place, *names: str, kind: str = "tcp", **room: Any) -> list[Wire]:
    """An owner of a room and others who are in it, with nothing unread."""
    own = await here.account("own")
    await own.data("create_room", room="den", **room)
    wires = [own]
    for name in names:
        wire = await here.account(name, kind)
        if room.get("private"):
            await own.data("invite", room="den", user=name)
        await wire.data("join_room", room="den")
        wires.append(wire)
    for wire in wires:
        await wire.sync()
        wire.events.clear()
    return wires


async def told(wire: Wire) -> list[tuple[str, dict[str, Any]]]:
    """Everything a link was told so far but how many are in which room, and the welcome."""
    await wire.sync()
    found = [(one["action"], one["data"]) for one in wire.events if one["action"] not in ("room_updated", "system")]
    wire.events.clear()
    return found


# ── being sent out, silenced, promoted ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["tcp", "msgpack"])
async def test_whoever_is_sent_out_is_told_by_whom_and_why(kind: str) -> None:
    async with place() as here:
        own, eve, bob = await den(here, "eve", "bob", kind=kind)
        for action, banned in (("kick", False), ("ban", True)):
            await own.data(action, room="den", user="eve", reason="noise")
            removed = {"room": "den", "by": "own", "reason": "noise", "banned": banned}
            assert await told(eve) == [("removed_from_room", removed)]
            assert await told(bob) == [("user_left", {"room": "den", "user": "eve", "users": 2})]
            if not banned:
                await eve.data("join_room", room="den")
                await told(eve), await told(bob)
        assert await eve.code("join_room", room="den") == "banned"
        await own.data("unban", room="den", user="eve")
        await eve.data("join_room", room="den")


async def test_whoever_is_muted_is_told_and_nobody_else() -> None:
    async with place(config=ServerConfig(rate_limits=False, now_ms=lambda: NOW)) as here:
        own, eve, bob = await den(here, "eve", "bob")
        await own.data("mute", room="den", user="eve", seconds=60, reason="noise")
        muted = {"room": "den", "by": "own", "reason": "noise", "until": NOW + 60_000}
        assert await told(eve) == [("muted", muted)]
        reply = await eve.ask("send_message", room="den", text="hi")
        assert reply["data"]["code"] == "muted"
        assert "noise" in reply["data"]["message"]
        await eve.data("history", room="den")
        await own.data("unmute", room="den", user="eve")
        assert await told(eve) == [("unmuted", {"room": "den"})]
        await eve.data("send_message", room="den", text="thanks")
        assert [action for action, _ in await told(bob)] == ["receive_message"]


async def test_a_guest_is_told_once_and_stays_muted_under_another_name_and_on_another_link() -> None:
    async with place() as here:
        (own,) = await den(here)
        gus = await here.site.user("gus")
        await gus.data("join_room", room="den")
        await told(gus)
        await own.data("mute", room="den", user="gus")
        assert [action for action, _ in await told(gus)] == ["muted"]
        await gus.data("rename", user="august")
        assert await gus.code("send_message", room="den", text="hi") == "muted"
        again = await here.site.user("sly", token=gus.token)
        await again.data("join_room", room="den")
        assert await again.code("send_message", room="den", text="hi") == "muted"
        stranger = await here.site.user("gus")
        await stranger.data("join_room", room="den")
        assert await stranger.code("send_message", room="den", text="hi") == "muted"
        await told(gus), await told(again), await told(stranger)
        await own.data("unmute", room="den", user="gus")
        for wire in (gus, again, stranger):
            assert [action for action, _ in await told(wire)] == ["unmuted"]
        for wire in (gus, again, stranger):
            await wire.data("send_message", room="den", text="hi")


async def test_a_guest_is_told_of_another_mute_in_the_same_millisecond() -> None:
    async with place(config=ServerConfig(rate_limits=False, now_ms=lambda: NOW)) as here:
        (own,) = await den(here)
        gus = await here.site.user("gus")
        await gus.data("join_room", room="den")
        await told(gus)
        for seconds in (60, 90):
            await own.data("mute", room="den", user="gus", seconds=seconds)
            assert [data["until"] for _, data in await told(gus)] == [NOW + seconds * 1000]


@pytest.mark.parametrize("how", ["resume", "join", "another device"])
async def test_whoever_was_muted_while_they_were_away_is_told_when_they_are_back(how: str) -> None:
    async with place(config=ServerConfig(rate_limits=False, now_ms=lambda: NOW)) as here:
        own, eve = await den(here, "eve")
        first = {"room": "general", "by": "root", "reason": ""}
        later = {"room": "den", "by": "own", "reason": "noise", "until": NOW + 60_000}
        root = await here.account("root", role="admin")
        if how != "another device":
            await eve.aclose()
        await own.data("mute", room="den", user="eve", seconds=60, reason="noise")
        await root.data("mute", room="general", user="eve")
        again = await here.site.wire()
        resume = {"den": {"epoch": "x", "seq": 0}, "general": {"epoch": "x", "seq": 0}}
        if how == "resume":
            await again.data("login", user="eve", token=eve.token, resume=resume)
            muted = sorted(data["room"] for action, data in await told(again) if action == "muted")
            assert muted == ["den", "general"]
            assert await again.code("send_message", room="den", text="hi") == "muted"
            return
        await again.data("login", user="eve", password=PASSWORD)
        assert await told(again) == [("muted", first)]
        await again.data("join_room", room="den")
        assert await told(again) == [("muted", later)]
        await again.data("join_room", room="den")
        assert await told(again) == []


async def test_whoever_may_speak_again_is_told_nothing() -> None:
    clock = {"now": NOW}
    async with place(config=ServerConfig(rate_limits=False, now_ms=lambda: clock["now"])) as here:
        own, eve, bob = await den(here, "eve", "bob")
        root = await here.account("root")
        for wire in (eve, bob):
            await wire.aclose()
        await own.data("mute", room="den", user="eve", seconds=60)
        await own.data("mute", room="den", user="bob")
        await own.data("mute", room="den", user="root")
        await own.data("unmute", room="den", user="bob")
        await here.put(evolve(here.record("root"), role="admin"), here.record("root"))
        await root.data("join_room", room="den")
        await root.data("send_message", room="den", text="an admin is not bound by it")
        assert "muted" not in [action for action, _ in await told(root)]
        clock["now"] += 60_000
        for wire in (eve, bob):
            again = await here.site.wire()
            resume = {"den": {"epoch": "x", "seq": 0}}
            await again.data("login", user="any", token=wire.token, resume=resume)
            assert "muted" not in [action for action, _ in await told(again)]


async def test_a_guest_who_is_muted_by_name_and_token_is_told_once_when_they_are_back() -> None:
    async with place() as here:
        (own,) = await den(here)
        gus = await here.site.user("gus")
        await own.data("mute", room="den", user="gus", reason="noise")
        again = await here.site.user("gus", token=gus.token)
        await told(again)
        await again.data("join_room", room="den")
        assert await told(again) == [("muted", {"room": "den", "by": "own", "reason": "noise"})]


async def test_a_mute_and_a_ban_run_out() -> None:
    clock = {"now": NOW}
    async with place(config=ServerConfig(rate_limits=False, now_ms=lambda: clock["now"])) as here:
        own, eve, bob = await den(here, "eve", "bob")
        await own.data("mute", room="den", user="eve", seconds=60)
        await own.data("ban", room="den", user="bob", seconds=60)
        clock["now"] += 59_999
        assert await eve.code("send_message", room="den", text="hi") == "muted"
        assert await bob.code("join_room", room="den") == "banned"
        clock["now"] += 1
        await eve.data("send_message", room="den", text="hi")
        await bob.data("join_room", room="den")
        assert not (await own.data("list_bans", room="den")).get("bans")


async def test_everybody_in_the_room_hears_of_a_role() -> None:
    async with place() as here:
        own, mod, bob = await den(here, "mod", "bob")
        for role in ("moderator", "owner"):
            await own.data("set_role", room="den", user="mod", role=role)
            for wire in (own, mod, bob):
                assert await told(wire) == [("role_changed", {"room": "den", "user": "mod", "role": role})]
        users = {one["user"]: one["role"] for one in (await bob.data("list_users", room="den"))["users"]}
        assert users == {"own": "owner", "mod": "owner", "bob": "member"}
        await mod.data("set_role", room="den", user="mod", role="member")
        assert await told(bob) == [("role_changed", {"room": "den", "user": "mod", "role": "member"})]
        assert await mod.code("kick", room="den", user="bob") == "forbidden"


async def test_whoever_is_invited_is_told_and_the_room_is_in_their_list() -> None:
    async with place() as here:
        (own,) = await den(here, private=True)
        eve, other, bob = await here.account("eve"), await here.device("eve", "ws"), await here.site.user("bob")
        assert await eve.code("join_room", room="den") == "no_such_room"
        await told(eve), await told(other)
        await own.data("invite", room="den", user="Eve")
        for wire in (eve, other):
            ((action, data),) = await told(wire)
            assert (action, data["room"], data["private"]) == ("invited", "den", True)
        assert not await told(bob)
        assert [one["room"] for one in (await eve.data("list_rooms"))["rooms"]] == ["den", "general"]
        await eve.data("join_room", room="den")
        await own.data("withdraw", room="den", user="eve")
        assert [action for action, _ in await told(eve)] == ["removed_from_room"]
        assert await told(other) == [("room_deleted", {"room": "den"})]
        for wire in (eve, other):
            assert [one["room"] for one in (await wire.data("list_rooms"))["rooms"]] == ["general"]
        assert await eve.code("join_room", room="den") == "no_such_room"
        assert await own.code("withdraw", room="den", user="eve") == "no_such_user"
        assert await own.code("invite", room="den", user="nobody") == "no_such_user"


async def test_whoever_is_banned_from_a_private_room_is_unbanned_before_they_are_invited() -> None:
    async with place() as here:
        own, _ = await den(here, "eve", private=True)
        await own.data("ban", room="den", user="eve")
        assert await own.code("invite", room="den", user="eve") == "banned"
        await own.data("unban", room="den", user="eve")
        await own.data("invite", room="den", user="eve")


# ── rooms that change ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_renamed_room_goes_on_under_its_new_name(store: str) -> None:
    async with place(store) as here:
        own, eve = await den(here, "eve")
        elsewhere = await here.site.user("elsewhere")
        await eve.data("send_message", room="den", text="before")
        epoch = (await eve.data("join_room", room="den"))["epoch"]
        await told(eve)
        reply = await own.data("update_room", room="den", name="Lair")
        assert (reply["room"], reply["epoch"], reply["head"]) == ("Lair", epoch, 1)
        for wire in (eve, elsewhere):
            assert ("room_renamed", {"room": "Lair", "was": "den"}) in await told(wire)
        sent = await eve.data("send_message", room="lair", text="after")
        assert (sent["room"], sent["seq"]) == ("Lair", 2)
        assert await own.texts("after", "Lair")
        assert await eve.code("send_message", room="den", text="x") == "no_such_room"
        # Whoever was away knows it under its old name, and by its epoch.
        eve.cut()
        again = await here.site.wire("ws")
        reply = await again.data("login", user="eve", token=eve.token, resume={"den": {"epoch": epoch, "seq": 0}})
        assert reply["resume"] == {"den": "ok"}
        assert await again.texts("after", "Lair") == [(1, "before"), (2, "after")]
        assert (await again.event("caught_up"))["data"] == {"room": "Lair", "seq": 2}
        # The name is free.
        await own.data("create_room", room="den")
        assert await own.code("update_room", room="lair", name="DEN") == "room_exists"
        await own.data("update_room", room="lair", name="LAIR")


async def test_a_room_that_turns_private_keeps_those_who_are_in_it() -> None:
    async with place() as here:
        own, eve = await den(here, "eve")
        bob = await here.site.user("bob")
        await told(eve)
        await own.data("update_room", room="den", private=True)
        assert await told(bob) == [("room_deleted", {"room": "den"})]
        assert not await told(eve)
        await eve.data("send_message", room="den", text="still here")
        assert [one["room"] for one in (await bob.data("list_rooms"))["rooms"]] == ["general"]
        assert await bob.code("join_room", room="den") == "no_such_room"
        eve.cut()
        again = await here.site.wire()
        await again.data("login", user="eve", password=PASSWORD)
        await again.data("join_room", room="den")
        await own.data("update_room", room="den", private=False)
        ((action, data),) = await told(bob)
        assert (action, data["room"], data["users"]) == ("room_created", "den", 2)
        await bob.data("join_room", room="den")


async def test_a_closed_room_is_for_those_who_keep_order_there() -> None:
    async with place() as here:
        own, mod, eve = await den(here, "mod", "eve")
        await own.data("set_role", room="den", user="mod", role="moderator")
        await told(eve)
        await own.data("update_room", room="den", closed=True)
        assert ("removed_from_room", {"room": "den", "by": "", "reason": "the room is closed", "banned": False}) in (
            await told(eve)
        )
        await mod.data("send_message", room="den", text="we are alone")
        reply = await eve.ask("join_room", room="den")
        assert (reply["data"]["code"], reply["data"]["message"]) == ("forbidden", "the room 'den' is closed")
        rooms = {one["room"]: one.get("closed") for one in (await eve.data("list_rooms"))["rooms"]}
        assert rooms == {"den": True, "general": None}
        await own.data("update_room", room="den", closed=False)
        await eve.data("join_room", room="den")


async def test_in_a_slow_room_each_speaks_once_in_a_while(autojump_clock: trio.testing.MockClock) -> None:
    async with place(listen=("memory://",)) as here:
        # Guests: a password is compared in a thread, and this clock does not wait for threads.
        own, eve, bob = [await here.site.user(name, "memory") for name in ("own", "eve", "bob")]
        await own.data("create_room", room="den", topic="slow")
        await own.data("update_room", room="den", slow=30)
        for wire in (eve, bob):
            await wire.data("join_room", room="den")
            await wire.data("send_message", room="den", text="one")
        await trio.sleep(10)
        reply = await eve.ask("send_message", room="den", text="two")
        assert (reply["data"]["code"], reply["data"]["scope"]) == ("rate_limited", "room")
        assert 19 < reply["data"]["retry_after"] <= 20
        for _ in range(3):
            await own.data("send_message", room="den", text="owners do not wait")
        await trio.sleep(20)
        await eve.data("send_message", room="den", text="two")


async def test_a_deleted_room_is_gone_for_its_owners_elsewhere_too() -> None:
    async with place() as here:
        own, eve = await den(here, "eve", private=True)
        second, bob = await here.device("own", "ws"), await here.site.user("bob")
        await own.data("set_role", room="den", user="eve", role="owner")
        await told(own), await told(eve), await told(second)
        await own.data("leave_room", room="den")
        await eve.data("delete_room", room="den")
        for wire in (own, second, eve):
            assert ("room_deleted", {"room": "den"}) in await told(wire)
        assert not await told(bob)
        assert await own.code("join_room", room="den") == "no_such_room"


@pytest.mark.parametrize("change", PERMANENT, ids=str)
async def test_the_room_where_everybody_starts_stays(change: dict[str, Any]) -> None:
    async with place() as here:
        root = await here.account("root", role="admin")
        assert await root.code("delete_room", room="general") == "forbidden"
        assert await root.code("update_room", room="general", **change) == "forbidden"
        await root.data("update_room", room="general", read_only=True, topic="news")
        gus = await here.site.user("gus")
        assert await gus.code("send_message", room="general", text="hi") == "forbidden"


# ── what was removed ─────────────────────────────────────────────────────────────────────────────────────────────────

CANARY = "canary-5d1f0a-text"


def traces(store: str) -> list[str]:
    """The files of a store in which a text stands, and the tables."""
    path = Path(store.removeprefix("sqlite:///"))
    found = [file.name for file in path.parent.iterdir() if file.is_file() and CANARY.encode() in file.read_bytes()]
    with sqlite3.connect(path) as database:
        tables = [name for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
        for table in tables:
            rows = database.execute(f'select * from "{table}"').fetchall()
            found += [table for row in rows if CANARY in str(row)]
    database.close()
    return found


@pytest.mark.parametrize("by", ["its author", "a moderator", "all of them"])
async def test_what_is_deleted_is_gone_everywhere(by: str, store: str) -> None:
    async with place(store) as here:
        own, eve, bob = await den(here, "eve", "bob")
        for number in range(20):
            await eve.data("send_message", room="den", text=f"{CANARY} {number}" if number < 5 else f"{number}")
        await bob.texts("19", "den")
        for seq in range(1, 6):
            if by == "its author":
                await eve.data("delete_message", room="den", seq=seq)
            elif by == "a moderator":
                await own.data("delete_message", room="den", seq=seq, reason="noise")
        if by == "all of them":
            assert await own.data("delete_messages_of", room="den", user="eve") == {"count": 20, "more": False}
            assert await own.data("delete_messages_of", room="den", user="eve") == {"count": 0, "more": False}
        who = "eve" if by == "its author" else "own"
        about = set()
        for number in range(20 if by == "all of them" else 5):
            data = (await bob.event("message_deleted"))["data"]
            assert (data["room"], data["user"], data["seq"]) == ("den", who, 21 + number)
            about.add(data["about"])
        assert about >= {1, 2, 3, 4, 5}
        # Whoever comes now, from whatever position, sees that something was there.
        page = await bob.data("history", room="den", after=0, limit=100)
        for event in page["events"][:5]:
            assert event["data"]["deleted"] is True
            assert "text" not in event["data"]
        newcomer = await here.account("new", "ws")
        await newcomer.data("join_room", room="den", after=0)
        again = await here.site.wire()
        positions = {"den": {"epoch": page["epoch"], "seq": 0}}
        await again.data("login", user="bob", password=PASSWORD, resume=positions)
        await again.event("caught_up")
        for wire in (newcomer, again, eve):
            await wire.sync()
        assert CANARY not in str([newcomer.events, again.events, page])
        assert CANARY not in str(await here.rows("den"))
        if store != "memory://":
            assert traces(store) == []
        # It is deleted already; what is no message cannot be.
        await own.data("delete_message", room="den", seq=1)
        assert await own.code("delete_message", room="den", seq=21) == "no_such_message"
        assert await own.code("delete_message", room="den", seq=999) == "no_such_message"
        assert await bob.code("delete_message", room="den", seq=6) == "forbidden"


@define(eq=False)
class Held:
    """Holds up the answer to the next read of a log."""

    here: Place
    reading: trio.Event = field(factory=trio.Event)
    go_on: trio.Event = field(factory=trio.Event)

    def __attrs_post_init__(self) -> None:
        self.here.store.before_answer = self._wait

    async def _wait(self, page: Page) -> None:
        self.here.store.before_answer = None
        self.reading.set()
        await self.go_on.wait()


@pytest.mark.parametrize("way", ["history", "join", "resume"])
async def test_what_was_read_before_it_was_deleted_is_not_shown_after_it(way: str, store: str) -> None:
    async with place(store, config=ServerConfig(rate_limits=False, ring_events=1)) as here:
        own, eve, bob = await den(here, "eve", "bob")
        for number in range(5):
            await eve.data("send_message", room="den", text=f"{CANARY} {number}")
        epoch = (await bob.data("history", room="den"))["epoch"]
        wire = bob if way == "history" else await here.site.wire()
        if way == "join":
            await wire.data("login", user="new")
        held = Held(here)
        if way == "history":
            await bob.texts(f"{CANARY} 4", "den")
            await bob.send("history", room="den")
        elif way == "join":
            await wire.send("join_room", room="den", last=5)
        else:
            await wire.data("login", user="eve", password=PASSWORD, resume={"den": {"epoch": epoch, "seq": 0}})
        await held.reading.wait()
        await own.data("delete_messages_of", room="den", user="eve")
        held.go_on.set()
        got: list[Envelope] = []
        if way == "resume":
            while (envelope := await wire.receive())["action"] != "caught_up":
                got.append(envelope)
        else:
            got.append(await wire.reply())
        assert CANARY not in str(got)


# ── the audit log ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_every_act_is_kept_with_who_whom_when_and_why(store: str) -> None:
    async with place(store, config=ServerConfig(rate_limits=False, now_ms=lambda: NOW)) as here:
        own, eve = await den(here, "eve")
        root = await here.account("root", role="admin")
        seq = (await eve.data("send_message", room="den", text="noise"))["seq"]
        await own.data("set_role", room="den", user="eve", role="moderator")
        await own.data("set_role", room="den", user="eve", role="member")
        await own.data("mute", room="den", user="eve", seconds=60, reason="noise")
        await own.data("unmute", room="den", user="eve")
        await own.data("delete_message", room="den", seq=seq, reason="noise")
        await eve.data("send_message", room="den", text="more")
        await own.data("delete_messages_of", room="den", user="eve", reason="more noise")
        await own.data("kick", room="den", user="eve", reason="out")
        await own.data("ban", room="den", user="eve", seconds=3600, reason="out")
        await own.data("unban", room="den", user="eve")
        await own.data("update_room", room="den", name="lair", private=True)
        await own.data("invite", room="lair", user="eve")
        await own.data("withdraw", room="lair", user="eve")
        await root.data("ban", user="eve", reason="server")
        await root.data("unban", user="eve")
        await root.data("ban", address="192.0.2.1")
        await own.data("delete_room", room="lair")
        entries = (await root.data("audit"))["entries"]
        shown = [
            (one["act"], one["by"], one["whom"], one.get("room"), one["reason"], one["details"])
            for one in reversed(entries)
        ]
        assert shown == [
            ("set_role", "own", "eve", "den", "", {"role": "moderator", "was": None}),
            ("set_role", "own", "eve", "den", "", {"role": "member", "was": "moderator"}),
            ("mute", "own", "eve", "den", "noise", {"seconds": 60}),
            ("unmute", "own", "eve", "den", "", {}),
            ("delete_message", "own", "eve", "den", "noise", {"seq": seq}),
            ("delete_messages_of", "own", "eve", "den", "more noise", {"count": 1}),
            ("kick", "own", "eve", "den", "out", {}),
            ("ban", "own", "eve", "den", "out", {"seconds": 3600}),
            ("unban", "own", "eve", "den", "", {}),
            ("update_room", "own", "", "den", "", {"name": "lair", "private": True}),
            ("invite", "own", "eve", "lair", "", {}),
            ("withdraw", "own", "eve", "lair", "", {}),
            ("ban", "root", "eve", None, "server", {}),
            ("unban", "root", "eve", None, "", {}),
            ("ban", "root", "192.0.2.1/32", None, "", {}),
            ("delete_room", "own", "", "lair", "", {}),
        ]
        assert all(one["at"] == NOW for one in entries)
        pages, before = [], None
        while True:
            page = await root.data("audit", limit=5, **({} if before is None else {"before": before}))
            pages += page["entries"]
            if not page["more"]:
                break
            before = page["entries"][-1]["seq"]
        assert pages == entries


async def test_what_was_done_is_for_those_who_keep_order_there() -> None:
    async with place() as here:
        own, mod, eve = await den(here, "mod", "eve")
        root = await here.account("root", role="admin")
        other = await here.account("other")
        await other.data("create_room", room="else")
        await other.data("ban", room="else", user="eve", reason="elsewhere")
        await root.data("ban", address="192.0.2.1", reason="server")
        await own.data("set_role", room="den", user="mod", role="moderator")
        await own.data("mute", room="den", user="eve")
        for wire in (own, mod, root):
            entries = (await wire.data("audit", room="den"))["entries"]
            assert [one["act"] for one in entries] == ["mute", "set_role"]
            assert len((await wire.data("list_bans", room="den"))["bans"]) == 1
        for wire in (own, mod, eve):
            for action in ("audit", "list_bans"):
                assert await wire.code(action) == "forbidden"
                assert await wire.code(action, room="else") == "forbidden" if wire is not eve else True
        for action in ("audit", "list_bans"):
            assert await eve.code(action, room="den") == "forbidden"
            assert await eve.code(action, room="else") == "banned"
        # No request can name the log they stand in.
        for action in ("join_room", "history", "list_users", "delete_room"):
            assert await root.code(action, room="#audit") == "no_such_room"
        assert "#audit" not in str(await root.data("list_rooms"))
