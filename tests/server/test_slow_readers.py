"""A member that stops reading: bounded memory, nobody else disturbed, and everything there when it reads again."""

from __future__ import annotations

import pytest
import trio
from wires import Site, Wire, site

from chatkit.server import ServerConfig
from chatkit.transport.interface import TransportOptions

PATIENT = ServerConfig(rate_limits=False, transport=TransportOptions(write_timeout=600.0))
KB = "x" * 1000


def waiting(here: Site, user: str) -> int:
    return next(info.waiting_bytes for info in here.server.connections() if info.user == user)


async def say(wire: Wire, *texts: str) -> None:
    for text in texts:
        await wire.data("send_message", room="general", text=text)
    wire.events.clear()


async def say_until_lagging(here: Site, talker: Wire, reader: str) -> int:
    """Talk until the reader's link takes no more; return how many messages that were."""
    said, before = 0, -1
    while waiting(here, reader) > before or not here.server.statistics().lagging:
        before = waiting(here, reader)
        await say(talker, *[KB] * 20)
        said += 20
        assert said < 100_000, "more than any kernel keeps for a reader"
    return said


@pytest.mark.parametrize("kind", ["tcp", "ws", "msgpack", "memory"])
async def test_who_stops_reading_costs_bounded_memory_and_later_gets_everything(kind: str) -> None:
    async with site(config=PATIENT) as here:
        ann, bob, cid = await here.user("ann"), await here.user("bob", kind), await here.user("cid")
        said = await say_until_lagging(here, ann, "bob")
        assert waiting(here, "bob") < 131_072 + 2_000 * 20
        await say(ann, *[str(number) for number in range(300)], "end")
        assert waiting(here, "bob") < 131_072 + 2_000 * 20, "what it does not read gathers in the server"
        heard = await cid.texts("end")
        assert heard == [(seq + 1, text) for seq, text in enumerate([KB] * said + [*map(str, range(300)), "end"])]
        assert await bob.texts("end") == heard
        await say(ann, "live again")
        assert await bob.texts("live again") == [(said + 302, "live again")]


async def test_nobody_waits_for_a_reader_that_does_not_read() -> None:
    async with site(config=PATIENT) as here:
        ann, _ = await here.user("ann"), await here.user("bob")
        await say_until_lagging(here, ann, "bob")
        cid = await here.user("cid")
        with trio.fail_after(5):
            await say(ann, "quick")
            assert len(await cid.texts("quick")) == 1


async def test_a_reader_behind_far_more_than_the_ring_misses_nothing() -> None:
    config = ServerConfig(
        rate_limits=False, transport=TransportOptions(write_timeout=600.0), ring_events=4, ring_bytes=4_000
    )
    async with site(config=config) as here:
        ann, bob = await here.user("ann"), await here.user("bob", "memory")
        said = await say_until_lagging(here, ann, "bob")
        await say(ann, *[str(number) for number in range(1200)], "end")
        heard = await bob.texts("end")
        assert [seq for seq, _ in heard] == list(range(1, said + 1202))


async def test_a_reader_behind_is_told_the_latest_of_what_is_not_kept() -> None:
    async with site(config=PATIENT) as here:
        ann, bob, cid = await here.user("ann"), await here.user("bob", "memory"), await here.user("cid")
        await bob.sync()
        await say_until_lagging(here, ann, "bob")
        bob.events.clear()
        for number in range(8):
            await cid.data("leave_room" if number % 2 else "create_room", room=f"tea{number // 2}")
        before = waiting(here, "bob")
        await say(ann, "end")
        await cid.event("room_updated", room="tea3", users=0)
        assert waiting(here, "bob") == before
        rooms: dict[str, list[int]] = {}
        while list(map(len, rooms.values())) != [1, 1, 1, 1]:
            data = (await bob.event("room_updated"))["data"]
            if data["room"] != "general":
                rooms.setdefault(data["room"], []).append(data["users"])
        assert rooms == {f"tea{number}": [0] for number in range(4)}


async def told_of_cid(bob: Wire, seen: list[str], until: str = "end") -> list[str]:
    """Read on until a text; return the comings and goings among what was seen, and some more that follow."""
    while True:
        envelope = await bob.receive()
        seen.append(envelope["action"])
        if envelope["data"].get("text") == until:
            break
    await bob.sync()
    seen += [event["action"] for event in bob.events]
    return [action for action in seen if action in ("user_joined", "user_left")]


@pytest.mark.parametrize("last", ["user_left", "user_joined"])
async def test_of_what_is_held_back_the_latest_comes_last(last: str) -> None:
    async with site(config=PATIENT) as here:
        ann, bob, cid = await here.user("ann"), await here.user("bob", "memory"), await here.user("cid")
        await bob.sync()
        bob.events.clear()
        await say_until_lagging(here, ann, "bob")
        for _ in range(3):
            await cid.data("leave_room", room="general")
            await cid.data("join_room", room="general")
        if last == "user_left":
            await cid.data("leave_room", room="general")
        await say(ann, "end")
        assert (await told_of_cid(bob, []))[-1] == last


async def test_nothing_overtakes_what_is_held_back() -> None:
    async with site(config=PATIENT) as here:
        ann, bob, cid = await here.user("ann"), await here.user("bob", "memory"), await here.user("cid")
        await bob.sync()
        bob.events.clear()
        await say_until_lagging(here, ann, "bob")
        await cid.data("leave_room", room="general")
        seen: list[str] = []
        while waiting(here, "bob") > 110_000:  # less than its bound, more than the half of it
            seen.append((await bob.receive())["action"])
        assert waiting(here, "bob") > 66_000
        await cid.data("join_room", room="general")
        await say(ann, "end")
        assert await told_of_cid(bob, seen) == ["user_left", "user_joined"]


async def test_a_reader_behind_may_say_where_it_is_and_goes_on_from_there() -> None:
    async with site(config=PATIENT) as here:
        ann, bob = await here.user("ann"), await here.user("bob", "memory")
        said = await say_until_lagging(here, ann, "bob")
        await bob.send("join_room", room="general", after=said)
        joined = await bob.reply()
        bob.events.clear()
        assert (joined["data"]["head"], joined["data"]["events"]) == (said, [])
        await say(ann, "one", "two")
        assert await bob.texts("two") == [(said + 1, "one"), (said + 2, "two")]


async def test_a_link_that_takes_nothing_for_too_long_is_cut() -> None:
    config = ServerConfig(rate_limits=False, transport=TransportOptions(write_timeout=0.2), linger=0.01)
    async with site(config=config) as here:
        ann, _ = await here.user("ann"), await here.user("bob")
        with trio.fail_after(10):
            while len(here.server.connections()) == 2:
                await say(ann, *[KB * 30] * 10)
                await trio.lowlevel.checkpoint()


async def test_replies_do_not_gather_for_who_asks_and_does_not_read(autojump_clock: trio.testing.MockClock) -> None:
    async with site(config=PATIENT, listen=["memory://"]) as here:
        ann = await here.user("ann", "memory")
        await say(ann, *[KB * 50] * 5)
        with trio.move_on_after(20) as patience:
            for _ in range(500):
                await ann.send("history", room="general", limit=5, padding=KB)
        assert patience.cancelled_caught, "its requests should no longer be taken"
        assert waiting(here, "ann") < 1_000_000
