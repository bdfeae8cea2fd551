"""What any chat would be shown with: the scenarios of everyday use, with fifty people over WebSocket and TCP."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from chatkit import ConnectFailed, Disconnected, RequestFailed, ServerConfig, connect
from chatkit.protocol import messages as m
from chatkit.testing import Person, TestServer, open_test_server

LISTEN = ("ws://127.0.0.1:0", "tcp://127.0.0.1:0")
PEOPLE = 50
QUICK = ServerConfig(linger=0.05)


@asynccontextmanager
async def fifty() -> AsyncIterator[tuple[TestServer, list[Person]]]:
    """Fifty people, half of them over WebSocket, half over TCP, who come all at once."""
    async with open_test_server(listen=LISTEN, config=QUICK) as here:
        people: dict[str, Person] = {}

        async def come(number: int) -> None:
            name = f"p{number:02}"
            people[name] = await here.person(name, over=("ws", "tcp")[number % 2])

        async with trio.open_nursery() as nursery:
            for number in range(PEOPLE):
                nursery.start_soon(come, number)
        yield here, [people[name] for name in sorted(people)]


async def comes_to_show(person: Person, users: int, room: str = "general") -> None:
    """Wait until a person's list shows so many in a room."""
    with trio.fail_after(5):
        while room not in person.client.state.rooms or person.client.state.rooms[room].users != users:
            await person.hears(m.Event)


async def test_fifty_log_in_together() -> None:
    async with fifty() as (_, people):
        for person in people:
            await comes_to_show(person, PEOPLE)
        assert len(await people[0].room().users()) == PEOPLE


async def test_fifty_send_at_once_and_all_see_one_order() -> None:
    async with fifty() as (_, people):
        async with trio.open_nursery() as nursery:
            for person in people:
                for number in range(4):
                    nursery.start_soon(person.says, f"{person.name} {number}")
        orders = []
        for person in people:
            messages = person.room().messages()
            orders.append([await messages.__anext__() for _ in range(4 * PEOPLE)])
        assert [message.seq for message in orders[0]] == list(range(1, 4 * PEOPLE + 1))
        assert all(order == orders[0] for order in orders)


async def test_fifty_get_a_message_far_faster_than_a_tenth_of_a_second() -> None:
    async with fifty() as (_, people):
        for person in people:
            await comes_to_show(person, PEOPLE)
        delays: list[float] = []

        async def listen(person: Person) -> None:
            messages = person.room().messages()
            for _ in range(20):
                message = await messages.__anext__()
                delays.append(time.monotonic() - float(message.text or 0))

        async with trio.open_nursery() as nursery:
            for person in people:
                nursery.start_soon(listen, person)
            for _ in range(20):
                await people[0].says(str(time.monotonic()))
        assert len(delays) == 20 * PEOPLE
        assert sorted(delays)[len(delays) // 2] < 0.1, "half of the deliveries took longer"


async def test_a_taken_name_is_refused_and_logged_and_another_accepted(caplog: pytest.LogCaptureFixture) -> None:
    async with open_test_server(listen=LISTEN) as here:
        await here.person("ann", over="ws")
        with caplog.at_level(logging.WARNING, "chatkit.server"), pytest.raises(RequestFailed) as refused:
            await here.person("Ann", over="tcp")
        assert refused.value.code == "name_taken"
        assert "login refused for 'Ann'" in caplog.text
        assert "127.0.0.1:" in caplog.text
        await here.person("anna", over="tcp")


@pytest.mark.parametrize(("over", "other"), [("ws", "tcp"), ("tcp", "ws")])
async def test_a_message_stays_in_its_room(over: str, other: str) -> None:
    async with open_test_server(listen=LISTEN) as here:
        ann, bob, cid = [await here.person(name, over=over) for name in ("ann", "bob", "cid")]
        await ann.creates("tea")
        await bob.joins("tea")
        await ann.says("for us", room="tea")
        await ann.says("for all")
        await bob.hears("for us", by="ann", room="tea")
        await bob.hears("for all")
        await cid.hears("for all")
        await cid.hears_nothing(within=0.05)
        late = await here.person("dot", over=other)
        room = await late.joins("tea", history=10)
        assert [message.text for message in room.state.messages()] == ["for us"]


async def test_rooms_come_and_go_and_counts_change_everywhere() -> None:
    async with open_test_server(listen=LISTEN) as here:
        ann, bob, cid = await here.people("ann", "bob", "cid", over="tcp")
        await ann.creates("tea")
        for person in (bob, cid):
            await person.hears(m.RoomCreated, room="tea")
            await comes_to_show(person, 1, "tea")
        await bob.joins("tea")
        await ann.hears(m.UserJoined, user="bob", room="tea", users=2)
        await comes_to_show(cid, 2, "tea")
        await bob.leaves("tea")
        await ann.hears(m.UserLeft, user="bob", room="tea", users=1)
        await comes_to_show(cid, 1, "tea")
        await ann.room("tea").delete()
        await cid.hears(m.RoomDeleted, room="tea")
        assert "tea" not in cid.client.state.rooms


async def test_every_mistake_has_an_error_of_its_own_and_the_link_lives() -> None:
    async with open_test_server(listen=LISTEN) as here:
        for ann in (await here.person("ann", over="ws"), await here.person("bob", over="tcp")):
            for request, code in [
                (m.CreateRoom(room="general"), "room_exists"),
                (m.JoinRoom(room="nowhere"), "no_such_room"),
                (m.SendMessage(room="nowhere", text="x"), "no_such_room"),
                (m.SendMessage(room="general", text="  "), "empty_message"),
                (m.CreateRoom(room="a b"), "bad_name"),
                (m.History(room="general", before=1, after=1), "bad_request"),
                (m.DeleteRoom(room="general"), "forbidden"),
            ]:
                with pytest.raises(RequestFailed) as refused:
                    await ann.asks(request)
                assert refused.value.code == code
            await ann.says("still here")


@pytest.mark.parametrize("over", ["ws", "tcp"])
async def test_a_killed_client_is_announced_and_its_name_is_free_again(
    over: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "chatkit.server")
    async with open_test_server(listen=LISTEN, config=QUICK) as here:
        bob = await here.person("bob")
        with trio.CancelScope() as killed:
            async with connect(here.address(over), user="ann", reconnect=False):
                await bob.hears(m.UserJoined, user="ann")
                killed.cancel()
                await trio.sleep_forever()
        await bob.hears(m.UserLeft, user="ann", room="general", users=1)
        assert " ann] disconnected" in caplog.text
        await here.person("ann", over=over)


async def test_two_converse_over_tcp_and_a_third_joins() -> None:
    async with open_test_server(listen=LISTEN) as here:
        ann, bob = await here.people("ann", "bob", over="tcp")
        await ann.says("hello")
        await bob.hears("hello", by="ann")
        await bob.says("hello yourself")
        await ann.hears("hello yourself", by="bob")
        cid = await here.person("cid", over="tcp")
        await ann.hears(m.UserJoined, user="cid", users=3)
        await cid.says("me too")
        await ann.hears("me too")
        await bob.hears("me too")


async def test_clients_of_every_kind_share_a_room() -> None:
    async with open_test_server(listen=LISTEN) as here:
        web = await here.person("web", over="ws")
        packed = await here.person("packed", over="ws", encoding="msgpack")
        lines = await here.person("lines", over="tcp")
        inside = await here.person("inside")
        everybody = (web, packed, lines, inside)
        for speaker in everybody:
            await speaker.says(f"I am {speaker.name}")
            await speaker.says(bytes(range(256)))
        for listener in everybody:
            for speaker in everybody:
                await listener.hears(f"I am {speaker.name}", by=speaker.name)
                event = await listener.hears(bytes(range(256)), by=speaker.name)
                assert event.binary == bytes(range(256))


async def test_a_new_name_is_told_to_everybody_and_the_old_one_is_free() -> None:
    async with fifty() as (here, people):
        await people[0].renames("eve")
        for person in people[1:]:
            await person.hears(m.UserRenamed, was="p00", user="eve")
        assert people[0].name == "eve"
        await people[0].says("it is me")
        await people[1].hears("it is me", by="eve")
        await here.person("p00", over="tcp")


async def test_who_says_goodbye_is_announced_at_once() -> None:
    async with open_test_server(listen=LISTEN, config=ServerConfig(linger=3600)) as here:
        bob = await here.person("bob")
        for over in ("ws", None):
            ann = await here.person("ann", over=over)
            await ann.goes()
            await bob.hears(m.UserLeft, user="ann")


async def test_a_stopping_server_is_told_to_every_client() -> None:
    async with open_test_server(listen=LISTEN) as here:
        people = [await here.person(name, over=over, reconnect=False) for name, over in [("ann", "ws"), ("bob", "tcp")]]
        here.server.stop()
        for person in people:
            why = await person.client.wait_closed()
            assert isinstance(why, Disconnected)
            assert (why.code, why.reconnect) == (1001, True)
            with pytest.raises(Disconnected, match="stopping"):
                await person.says("hello?")


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("tcp://127.0.0.1:{free}", "nobody listens there"),
        ("ws://127.0.0.1:{free}", "nobody listens there"),
        ("tcp://127.0.0.1:{ws}", "did not answer within 0.5 seconds"),
        ("ws://127.0.0.1:{tcp}", "hung up during the handshake"),
        ("memory://nobody", "nobody listens there"),
        ("ws://nosuchhost.invalid:1", "does not resolve"),
    ],
)
async def test_a_wrong_address_gets_a_clear_sentence(url: str, sentence: str) -> None:
    async with open_test_server(listen=LISTEN) as here, open_test_server(listen=["tcp://127.0.0.1:0"]) as gone:
        free = gone.address("tcp").rpartition(":")[2]
        gone.server.stop()
        await trio.testing.wait_all_tasks_blocked(0.02)
        ports = {scheme: here.address(scheme).rpartition(":")[2] for scheme in ("ws", "tcp")}
        with trio.fail_after(5), pytest.raises(ConnectFailed) as failed:
            async with connect(url.format(free=free, **ports), user="ann", connect_timeout=0.5):
                pass
        assert sentence in str(failed.value)
        assert "Traceback" not in str(failed.value)
        assert len(str(failed.value)) < 200
