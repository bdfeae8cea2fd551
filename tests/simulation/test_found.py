"""What simulations have found, each as a story of its own."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
import trio.testing

from chatkit.backend import open_backend
from chatkit.client import ClientState, Pending, connect
from chatkit.errors import Disconnected, RequestFailed
from chatkit.protocol import messages as m
from chatkit.protocol.codec import Codec
from chatkit.server import ServerConfig, open_server
from chatkit.testing import cancel_at_each_checkpoint
from chatkit.transport import open_connection
from chatkit.transport.interface import TransportOptions
from chatkit.transport.pipe import memory_pair
from chatkit.transport.websocket import WebSocketArrival, open_client_websocket


def summary(epoch: str, head: int, users: int = 1) -> m.Summary:
    return m.Summary(room="general", topic="", users=users, head=head, epoch=epoch)


def logged_in(epoch: str, head: int, answer: str | None = None, users: int = 1) -> m.LoggedIn:
    resume = None if answer is None else {"general": answer}
    rooms = (summary(epoch, head, users),)
    return m.LoggedIn(user="ann", role="guest", token="t", rooms=rooms, resume=resume)  # type: ignore[arg-type]


def said(seq: int, op: str, user: str = "ann") -> m.ReceiveMessage:
    return m.ReceiveMessage(room="general", seq=seq, user=user, text=op, op=op)


def test_after_a_reset_the_new_log_is_followed_from_its_head() -> None:
    state = ClientState()
    state.logged_in(logged_in("old", 0))
    for seq in range(1, 9):
        state.apply(said(seq, f"o{seq}"), 0)

    state.logged_in(logged_in("new", 2, "reset"))

    assert str(state.rooms["general"].position) == "Position(epoch='new', seq=2)"
    state.apply(said(3, "n3"), 0)
    assert [message.op for message in state.rooms["general"].messages()] == ["n3"]


def test_what_was_confirmed_in_a_log_that_is_gone_waits_no_longer() -> None:
    state = ClientState()
    state.logged_in(logged_in("old", 0))
    state.sending("general", Pending(op="kept", text="kept"))
    state.sending("general", Pending(op="unknown", text="unknown"))
    state.sent("general", "kept", m.Sent(room="general", epoch="old", seq=5, duplicate=False))

    state.logged_in(logged_in("new", 2, "reset"))

    assert list(state.rooms["general"].pending) == ["unknown"]


def test_who_is_there_is_not_known_after_a_lost_link() -> None:
    """Somebody may have come, gone or renamed meanwhile, and the count be the same."""
    state = ClientState()
    state.logged_in(logged_in("log", 0, users=2))
    state.listed_users("general", [m.UserInfo(user="ann", role="guest"), m.UserInfo(user="bob", role="guest")])
    assert not state.rooms["general"].members_stale

    state.logged_in(logged_in("log", 0, "ok", users=2))

    assert state.rooms["general"].members_stale


def test_an_own_message_said_under_an_older_name_arrives() -> None:
    state = ClientState()
    state.logged_in(logged_in("log", 0))
    state.sending("general", Pending(op="mine", text="mine"))
    state.sent("general", "mine", m.Sent(room="general", epoch="log", seq=1, duplicate=False))
    state.renamed("bea")

    state.apply(said(1, "mine", user="ann"), 0)

    assert state.rooms["general"].pending == {}


async def test_a_websocket_that_is_being_closed_gives_no_message_out_of_order() -> None:
    """The closing handshake reads too: what a receiver still gets is a beginning of what was sent."""
    here, there = memory_pair(64)
    options = TransportOptions()
    got: list[bytes] = []

    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as shaking:

            async def accept() -> None:
                accepted.append(await WebSocketArrival(there, options, "ws://test").handshake(nursery))

            accepted: list[object] = []
            shaking.start_soon(accept)
            client = await open_client_websocket(nursery, here, "ws://test", options)
        (server,) = accepted

        async def receive() -> None:
            with suppress(Disconnected):
                while True:
                    got.append(await client.receive())

        for number in range(100):
            server.push(server.format.frame(b"%d" % number))  # type: ignore[attr-defined]
        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        await client.aclose()
        server.abort()  # type: ignore[attr-defined]

    assert got == [b"%d" % number for number in range(len(got))]


async def test_a_repeat_after_a_renaming_and_a_new_link_posts_once() -> None:
    store = await open_backend("memory://")
    async with open_server(store, listen=()) as server, server.connect(user="ann") as ann:
        await ann.rename("bea")
        first = await ann.rooms["general"].send("hello", op="once")
        token = ann.token

    async with open_server(store, listen=()) as server, server.connect(user="bea", token=token) as bea:
        assert await bea.rooms["general"].send("hello", op="once") == first
    await store.aclose()


@pytest.mark.parametrize("url", ["memory://found"])
async def test_a_store_that_begins_anew_is_followed_anew(url: str) -> None:
    """The whole way: the server comes back with another log, and what is said then is heard."""
    async with trio.open_nursery() as nursery:
        first = await nursery.start(_serve_once, url)
        async with connect(url, user="ann") as ann:
            for number in range(5):
                await ann.rooms["general"].send(f"{number}")
            first.stop()
            await first.wait_stopped()
            await trio.testing.wait_all_tasks_blocked()
            second = await nursery.start(_serve_once, url)
            message = await ann.rooms["general"].send("hello again")
            assert message.seq == 1
            async for heard in ann.rooms["general"].messages(after=0):
                assert heard.text == "hello again"
                break
        second.stop()


async def _serve_once(url: str, *, task_status: trio.TaskStatus[object]) -> None:
    async with open_server("memory://", listen=[url]) as server:
        task_status.started(server)
        await server.wait_stopped()


@pytest.mark.parametrize("text", ["x", " "])
async def test_whoever_asks_and_does_not_read_costs_bounded_memory(text: str, autojump_clock: object) -> None:
    """Answers wait for their reader, whether they say yes or no; then the reader's requests wait."""
    transport = TransportOptions(outlet_bytes=1024)
    config = ServerConfig(transport=transport, in_flight_messages=8, pull_bytes=1024, rate_limits=False)
    codec, most = Codec(), 0
    async with (
        open_server("memory://", listen=["memory://flooded"], config=config) as server,
        trio.open_nursery() as nursery,
    ):
        link = await open_connection(nursery, "memory://flooded")
        await link.send(codec.encode_request(m.Login(user="ann"), 1))
        with trio.move_on_after(5):
            for ref in range(2, 5_000):
                await link.send(codec.encode_request(m.SendMessage(room="general", text=text), ref))
                most = max([most, *(info.waiting_bytes for info in server.connections())])
        most = max([most, *(info.waiting_bytes for info in server.connections())])
        nursery.cancel_scope.cancel()

    assert 1024 <= most < 8_192


@pytest.mark.parametrize("action", ["leave", "join", "create", "rename"])
async def test_a_cancelled_request_takes_effect_on_both_sides_or_on_neither(
    action: str, autojump_clock: object
) -> None:
    """Nobody waits for the answer, but the server did what was asked: the client has to know where it is."""
    async with open_server("memory://", listen=()) as server, server.connect(user="ann") as ann:
        tries = iter(range(1000))

        async def attempt() -> None:
            with suppress(RequestFailed):
                if action == "leave":
                    await ann.rooms["general"].leave()
                elif action == "join":
                    await ann.join("general")
                elif action == "create":
                    await ann.create(f"room{next(tries)}")
                else:
                    await ann.rename(f"ann{next(tries)}")

        async def same_on_both_sides() -> None:
            await trio.sleep(1.0)
            everywhere = (await ann.request(m.ListRooms())).rooms
            people = {room.room: (await ann.request(m.ListUsers(room=room.room))).users for room in everywhere}
            assert {room for room, users in people.items() if users} == set(ann.rooms)
            assert {user.user for users in people.values() for user in users} <= {ann.user}
            if action == "join" and "general" in ann.rooms:
                await ann.rooms["general"].leave()
            elif action != "join":
                await ann.join("general")

        if action == "join":
            await ann.rooms["general"].leave()
        await cancel_at_each_checkpoint(attempt, afterwards=same_on_both_sides)
