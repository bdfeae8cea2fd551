"""An act bites: once it is acknowledged, nothing of those whom it is about is accepted, and nothing reaches them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define, evolve, field, frozen
from places import PASSWORD, Place, game, place
from wires import Envelope, Wire

from chatkit.backend import open_backend
from chatkit.backend.records import Page, Put
from chatkit.server import ServerConfig

AFTER = "after the act"
Act = Callable[[Place, dict[str, Wire]], Awaitable[Any]]


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'chat.db'}"


@frozen
class Bite:
    """An act, and what it takes: everything (the link ends), the room, or only speech there."""

    act: Act
    takes: str
    of: tuple[str, ...] = ("eve 0", "eve 1", "eve 2")
    """Whose links lose it."""


def room_act(action: str, **data: Any) -> Act:
    async def act(here: Place, wires: dict[str, Wire]) -> Any:
        return await wires["own"].data(action, room="den", **data)

    return act


def server_act(action: str, **data: Any) -> Act:
    async def act(here: Place, wires: dict[str, Wire]) -> Any:
        return await wires["root"].data(action, **data)

    return act


async def disable(here: Place, wires: dict[str, Wire]) -> None:
    await here.put(evolve(here.record("eve"), disabled=True), here.record("eve"))
    # The store was told by somebody else: what was under way to it then is kept, what waited is not.
    await wires["own"].data("update_room", room="den", topic="behind it")


async def change_password(here: Place, wires: dict[str, Wire]) -> None:
    await wires["eve safe"].data("change_password", password=PASSWORD, new_password="another password")


async def revoke_others(here: Place, wires: dict[str, Wire]) -> None:
    await wires["eve safe"].data("revoke")


BITES = {
    "ban from the server": Bite(server_act("ban", user="eve"), "all", ("eve 0", "eve 1", "eve 2", "eve safe")),
    "kick off the server": Bite(server_act("kick", user="eve"), "all", ("eve 0", "eve 1", "eve 2", "eve safe")),
    "disable": Bite(disable, "all", ("eve 0", "eve 1", "eve 2", "eve safe")),
    "change the password": Bite(change_password, "all"),
    "revoke": Bite(revoke_others, "all"),
    "ban": Bite(room_act("ban", user="eve"), "room"),
    "kick": Bite(room_act("kick", user="eve"), "room"),
    "close": Bite(room_act("update_room", closed=True), "room"),
    "delete the room": Bite(room_act("delete_room"), "room"),
    "withdraw": Bite(room_act("withdraw", user="eve"), "room"),
    "mute": Bite(room_act("mute", user="eve"), "speech"),
    "read-only": Bite(room_act("update_room", read_only=True), "speech"),
}


@define(eq=False)
class Heard:
    """Everything one link got, in its order."""

    envelopes: list[Envelope] = field(factory=list)
    changed: trio.Event = field(factory=trio.Event)

    async def listen(self, wire: Wire) -> None:
        try:
            while (raw := await wire.receive_raw()) is not None:
                self.envelopes.append(wire.decode(raw))
                self.changed.set()
                self.changed = trio.Event()
        except (trio.ClosedResourceError, AssertionError):
            return

    async def until(self, count: int) -> None:
        with trio.fail_after(10):
            while len(self.envelopes) < count:
                await self.changed.wait()


async def torrent(wire: Wire) -> None:
    """Say and do everything, without waiting for answers, until the link ends."""
    number = 0
    try:
        while True:
            for _ in range(20):
                number += 1
                await wire.send("send_message", f"say {number}", room="den", text=f"{number}")
            await wire.send("game.move", f"move {number}", room="den", to="e4")
            if number % 100 == 0:
                await wire.send("create_room", f"make {number}", room=f"room{id(wire)}.{number}")
            await wire.send("history", f"read {number}", room="den")
            if number % 3 == 0:
                await wire.send("list_users", f"list {number}", room="den")
    except (trio.BrokenResourceError, trio.ClosedResourceError, ConnectionError):
        return
    except Exception as error:
        if type(error).__name__ not in ("ConnectionClosed", "Disconnected"):
            raise


ON_DISK = ("ban from the server", "change the password", "ban", "mute")
BITTEN = [("memory", what) for what in BITES] + [("sqlite", what) for what in ON_DISK]


@pytest.mark.parametrize(("store", "what"), BITTEN, indirect=["store"])
async def test_an_act_bites_a_torrent_from_several_devices(what: str, store: str) -> None:
    bite = BITES[what]
    config = ServerConfig(rate_limits=False)
    async with place(store, extensions=[game()], config=config) as here:
        wires = {"root": await here.account("root", "memory", role="admin"), "own": await here.account("own", "memory")}
        wires["eve safe"] = await here.account("eve", "memory")
        for number, kind in enumerate(("ws", "tcp", "tcp")):
            wires[f"eve {number}"] = await here.device("eve", kind)
        await wires["own"].data("create_room", room="den", private=what == "withdraw")
        if what == "withdraw":
            await wires["own"].data("invite", room="den", user="eve")
        heard = {}
        async with trio.open_nursery() as nursery:
            for name, wire in wires.items():
                if name.startswith("eve"):
                    await wire.data("join_room", room="den")
                if name != "eve safe":
                    await wire.sync()
            for name in ("eve 0", "eve 1", "eve 2"):
                heard[name] = Heard()
                nursery.start_soon(heard[name].listen, wires[name])
                nursery.start_soon(torrent, wires[name])
            for one in heard.values():
                await one.until(100)
            await bite.act(here, wires)
            room = here.site.server._core.engine.room_named("den")
            head = room.head if room else 0
            rooms = set(here.site.server._core.engine.rooms)
            # Everything that is under way goes its way; then the room's owner says something else.
            if room is not None:
                await wires["own"].data("send_message", room="den", text=AFTER)
            await trio.sleep(0.15)
            nursery.cancel_scope.cancel()
        kept = await here.rows("den") if room is not None else []
        later = [row for row in kept if row.seq > head and row.name == "eve"]
        assert not later, f"{len(later)} entries were accepted after the act"
        for name, one in heard.items():
            _check_silence(one, bite.takes, f"{what}, {name}")
        await wires["own"].sync()
        if bite.takes == "all":
            assert set(here.site.server._core.engine.rooms) == rooms, "a room was made after the act"


def _check_silence(heard: Heard, takes: str, where: str) -> None:
    """Look at what a victim's link got of the room behind the word that it is out."""
    actions = [one["action"] for one in heard.envelopes]
    signs = {"room": ("removed_from_room", "room_deleted"), "speech": ("muted",), "all": ("closing",)}[takes]
    marks = [
        index
        for index, one in enumerate(heard.envelopes)
        if one["action"] in signs and one["data"].get("room", "den") == "den"
    ]
    if takes == "all":
        assert not any(one["data"].get("text") == AFTER for one in heard.envelopes), where
        assert not marks or marks[-1] == len(actions) - 1, where
        return
    if takes == "speech":
        return
    assert marks, (where, actions[-5:])
    for one in heard.envelopes[marks[0] + 1 :]:
        ref = str(one.get("ref", ""))
        if one["action"] == "success":
            # What was kept before may still be answered, and who is in a public room may be asked; no more.
            assert not ref.startswith("read"), (where, one)
            continue
        assert not (one["action"] in ("receive_message", "game.moved") and one["data"]["room"] == "den"), (where, one)


# ── what is in flight ────────────────────────────────────────────────────────────────────────────────────────────────


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


async def den(here: Place, **room: Any) -> tuple[Wire, Wire]:
    """An owner, and somebody who may enter the owner's room, in which things were said."""
    own, eve = await here.account("own"), await here.account("eve")
    await own.data("create_room", room="den", **room)
    if room.get("private"):
        await own.data("invite", room="den", user="eve")
    for number in range(30):
        await own.data("send_message", room="den", text=f"secret {number}")
    return own, eve


OUT = {
    "ban": ({}, {"action": "ban", "user": "eve"}, "banned"),
    "withdraw": ({"private": True}, {"action": "withdraw", "user": "eve"}, "no_such_room"),
    "close": ({}, {"action": "update_room", "closed": True}, "forbidden"),
    "delete": ({}, {"action": "delete_room"}, "no_such_room"),
}


@pytest.mark.parametrize("act", OUT)
async def test_a_join_in_flight_is_refused(act: str, store: str) -> None:
    room, data, code = OUT[act]
    async with place(store) as here:
        own, eve = await den(here, **room)
        eve.events.clear()
        held = Held(here)
        await eve.send("join_room", room="den", last=10)
        await held.reading.wait()
        await own.data(data["action"], room="den", **{k: v for k, v in data.items() if k != "action"})
        held.go_on.set()
        reply = await eve.reply()
        assert (reply["action"], reply["data"]["code"]) == ("error", code)
        assert not any("secret" in str(one) for one in eve.events)
        assert await eve.code("send_message", room="den", text="hi") in ("not_in_room", "no_such_room")


async def test_whoever_is_kicked_while_they_join_again_is_out(store: str) -> None:
    async with place(store) as here:
        own, eve = await den(here)
        await eve.data("join_room", room="den")
        held = Held(here)
        await eve.send("join_room", room="den", after=3)
        await held.reading.wait()
        await own.data("kick", room="den", user="eve")
        held.go_on.set()
        reply = await eve.reply()
        assert (reply["action"], reply["data"]["code"]) == ("error", "not_in_room")
        assert await eve.code("send_message", room="den", text="hi") == "not_in_room"
        await eve.data("join_room", room="den")  # a kick is no ban


@pytest.mark.parametrize("act", OUT)
async def test_a_page_of_history_in_flight_is_refused(act: str, store: str) -> None:
    room, data, _ = OUT[act]
    async with place(store) as here:
        own, eve = await den(here, **room)
        await eve.data("join_room", room="den")
        held = Held(here)
        await eve.send("history", room="den")
        await held.reading.wait()
        await own.data(data["action"], room="den", **{k: v for k, v in data.items() if k != "action"})
        held.go_on.set()
        reply = await eve.reply()
        assert (reply["action"], reply["data"]["code"]) == ("error", "not_in_room")


@pytest.mark.parametrize("act", OUT)
async def test_a_resume_in_flight_stops(act: str, store: str) -> None:
    room, data, _ = OUT[act]
    config = ServerConfig(rate_limits=False, ring_events=1, linger=0.001)
    async with place(store, config=config) as here:
        own, eve = await den(here, **room)
        epoch = (await eve.data("join_room", room="den"))["epoch"]
        held = Held(here)
        again = await here.site.wire("ws")
        await again.data("login", user="eve", token=eve.token, resume={"den": {"epoch": epoch, "seq": 2}})
        await held.reading.wait()
        await own.data(data["action"], room="den", **{k: v for k, v in data.items() if k != "action"})
        held.go_on.set()
        await again.event("removed_from_room", "room_deleted", room="den")
        assert not any("secret" in str(one) for one in again.events)
        await again.sync()
        assert not any("secret" in str(one) or one["action"] == "caught_up" for one in again.events)
        third = await here.site.wire("ws")
        eve_token = {"user": "eve", "password": PASSWORD}
        reply = await third.data("login", **eve_token, resume={"den": {"epoch": epoch, "seq": 2}})
        assert not reply["resume"]
        await third.sync()
        assert not any("secret" in str(one) for one in third.events)


async def read_on(wire: Wire) -> None:
    while True:
        await wire.receive()


async def test_a_reader_who_is_behind_gets_nothing_more(store: str) -> None:
    config = ServerConfig(rate_limits=False, ring_events=1)
    async with place(store, config=config) as here:
        own, eve = await den(here)
        await eve.data("join_room", room="den")
        text = "secret " + "x" * 30_000
        core = here.site.server._core
        for number in range(200):
            await own.data("send_message", room="den", text=f"{text} {number}")
            if core.statistics(ready=True).lagging:
                break
        else:
            raise AssertionError("the reader never fell behind")
        for number in range(30):
            await own.data("send_message", room="den", text=f"{text} last {number}")
        held = Held(here)
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read_on, eve)
                await held.reading.wait()
                nursery.cancel_scope.cancel()
        await own.data("ban", room="den", user="eve")
        held.go_on.set()
        await eve.event("removed_from_room", room="den")
        await eve.sync()
        assert not any("secret" in str(one) for one in eve.events)


async def test_a_download_of_the_audit_log_in_flight_is_refused(store: str) -> None:
    async with place(store) as here:
        own, eve = await den(here)
        await own.data("set_role", room="den", user="eve", role="moderator")
        held = Held(here)
        await eve.send("audit", room="den")
        await held.reading.wait()
        await own.data("set_role", room="den", user="eve", role="member")
        held.go_on.set()
        assert (await eve.reply())["data"]["code"] == "forbidden"


# ── from beside the server ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("change", ["disabled", "role"])
async def test_what_another_process_writes_bites_within_two_seconds(change: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'chat.db'}"
    async with place(url) as here:
        eve = await here.account("eve", role="admin")
        other = await here.device("eve", "ws")
        await eve.data("audit")
        beside = await open_backend(url)
        was = here.record("eve")
        now = evolve(was, disabled=True) if change == "disabled" else evolve(was, role="member")
        await beside.commit([Put(record=now, was=was)])
        with trio.fail_after(2):
            if change == "disabled":
                for wire in (eve, other):
                    assert await wire.wait_end() == (4403, "this account is disabled")
            else:
                while (await eve.ask("audit"))["action"] == "success":  # noqa: ASYNC110  # there is nothing to be told
                    await trio.sleep(0.02)
        await beside.aclose()
