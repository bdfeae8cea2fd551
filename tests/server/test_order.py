"""One order for everybody: replies in the order of requests, a room's log without a gap or a repeat."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import trio
from wires import Site, Wire, request, site


async def test_replies_come_in_the_order_of_requests_however_they_are_answered(kind: str) -> None:
    async with site() as here:
        wire = await here.user("ann", kind)
        asked: list[tuple[dict[str, Any], str]] = []
        for number in range(200):
            good = [
                (request("send_message", number, room="general", text=str(number)), "success"),
                (request("list_rooms", number), "success"),
                (request("send_message", number, room="general", text=" "), "error"),
                (request("join_room", number), "error"),
                (request("dance", number), "error"),
                (request("history", number, room="general", limit=2), "success"),
                (request("create_room", number, room=f"r{number}"), "success"),
            ]
            asked.append(good[0] if number % 2 else good[number // 2 % len(good)])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_all, wire, [envelope for envelope, _ in asked])
            for number, (_, outcome) in enumerate(asked):
                reply = await wire.reply()
                assert (reply["ref"], reply["action"]) == (number, outcome)


async def send_all(wire: Wire, envelopes: list[dict[str, Any]]) -> None:
    for envelope in envelopes:
        await wire.send_raw(wire.encode(envelope))


async def test_many_under_way_take_effect_in_the_order_they_were_sent(kind: str) -> None:
    async with site() as here:
        ann, bob = await here.user("ann", kind), await here.user("bob")
        envelopes = [request("send_message", number, room="general", text=str(number)) for number in range(400)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_all, ann, [*envelopes, request("leave_room", 400, room="general")])
            seqs = [(await ann.reply())["data"]["seq"] for _ in envelopes]
            assert (await ann.reply())["data"] == {}
        assert seqs == list(range(1, 401))
        assert await bob.texts("399") == [(number + 1, str(number)) for number in range(400)]


async def test_everybody_sees_what_many_say_at_once_in_one_order() -> None:
    async with site() as here:
        people = [
            await here.user(f"p{number}", kind) for number, kind in enumerate(["tcp", "ws", "msgpack", "memory"] * 2)
        ]
        heard: list[list[tuple[int, str]]] = []

        async def listen(wire: Wire) -> None:
            found = [(await wire.event("receive_message"))["data"] for _ in range(50 * len(people))]
            heard.append([(data["seq"], data["text"]) for data in found])

        async with trio.open_nursery() as nursery:
            for number, wire in enumerate(people):
                said = [request("send_message", room="general", text=f"{number}-{index}") for index in range(50)]
                nursery.start_soon(send_all, wire, said)
                nursery.start_soon(listen, wire)
        assert [seq for seq, _ in heard[0]] == list(range(1, 50 * len(people) + 1))
        assert all(one == heard[0] for one in heard)
        for number in range(len(people)):
            own = [text for _, text in heard[0] if text.startswith(f"{number}-")]
            assert own == [f"{number}-{index}" for index in range(50)]


async def test_a_message_stays_in_its_room() -> None:
    async with site() as here:
        ann, bob = await here.user("ann"), await here.user("bob")
        await ann.data("create_room", room="tea")
        await ann.data("send_message", room="tea", text="secret")
        await ann.data("send_message", room="general", text="open")
        assert await bob.texts("open") == [(1, "open")]
        await bob.sync()
        assert not [event for event in bob.events if event["action"] == "receive_message"]


@pytest.mark.parametrize("store", ["memory", "sqlite"])
@pytest.mark.parametrize("kind", ["memory", "ws"])
async def test_join_history_and_live_have_no_gap_and_no_repeat(store: str, kind: str, tmp_path: Path) -> None:
    url = "memory://" if store == "memory" else f"sqlite:///{tmp_path / 'chat.db'}"
    async with site(url) as here, trio.open_nursery() as nursery:
        talkers = [await here.user(f"talker{number}") for number in range(2)]
        for talker in talkers:
            nursery.start_soon(talk_on, talker)
            nursery.start_soon(read_on, talker)
        wire = await here.user("ann", kind)
        dice = random.Random(1)
        for _ in range(12):
            await wire.data("leave_room", room="general")
            wire.events.clear()
            await check_one_join(wire, dice, here)
        nursery.cancel_scope.cancel()


async def talk_on(wire: Wire) -> None:
    while True:
        await wire.send("send_message", room="general", text="x" * 200)
        await trio.sleep(0.002)


async def read_on(wire: Wire) -> None:
    while True:
        await wire.receive()


async def check_one_join(wire: Wire, dice: random.Random, here: Site) -> None:
    head = (await wire.data("list_rooms"))["rooms"][0]["head"]
    asked = dice.choice([{}, {"last": dice.randint(1, 100)}, {"after": dice.randint(0, head)}, {"after": 0}])
    joined = await wire.data("join_room", room="general", **asked)
    seqs = [event["data"]["seq"] for event in joined["events"]]
    if "after" in asked:
        assert not seqs or seqs[0] == asked["after"] + 1
        reached = seqs[-1] if seqs else asked["after"]
    else:
        reached = seqs[-1] if seqs else joined["head"]
    assert seqs == list(range(reached - len(seqs) + 1, reached + 1))
    assert reached <= joined["head"]
    assert joined["more_after"] == (reached < joined["head"])
    live, following = not joined["more_after"], dice.randint(1, 40)
    while not live or following:
        envelope = await wire.event("receive_message", "caught_up")
        if envelope["action"] == "caught_up":
            assert not live
            assert envelope["data"]["seq"] == reached
            live = True
            continue
        reached += 1
        assert envelope["data"]["seq"] == reached
        following -= live


async def test_a_reply_may_point_to_what_was_just_said() -> None:
    async with site(listen=["memory://"]) as here:
        ann = await here.user("ann", "memory")
        for number in range(50):
            seq = (await ann.data("send_message", room="general", text=str(number)))["seq"]
            await ann.data("send_message", room="general", text="re", reply_to=seq)
