"""Everything a client can wait for, cancelled at every place: nothing is left behind, and the client goes on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
from cutting import cancel_after_each_turn, tasks_living, wait_until

from chatkit import Client, connect
from chatkit.errors import Disconnected, RequestFailed
from chatkit.protocol import messages as m
from chatkit.server import ServerConfig
from chatkit.testing import cancel_at_each_checkpoint, open_test_server

OPEN = ServerConfig(rate_limits=False, linger=0.01)


def address(scheme: str) -> str:
    return "memory://" if scheme == "memory" else f"{scheme}://127.0.0.1:0"


@pytest.mark.parametrize("scheme", ["memory", "tcp", "ws"])
async def test_connecting_talking_and_leaving(scheme: str) -> None:
    async with open_test_server(listen=[address(scheme)], config=OPEN) as here:
        await trio.testing.wait_all_tasks_blocked(0.01)
        tasks = tasks_living()

        async def attempt() -> None:
            async with connect(here.address(scheme), user="ann") as ann:
                await ann.rooms["general"].send("hello")

        async def afterwards() -> None:
            await wait_until(lambda: not here.server.connections() and tasks_living() == tasks)

        await cancel_at_each_checkpoint(attempt, afterwards=afterwards)
        assert await cancel_after_each_turn(attempt, afterwards=afterwards) > 5


async def join(client: Client) -> None:
    await client.join("tea", history=5)


async def create_and_delete(client: Client) -> None:
    try:
        room = await client.create("den")
    except RequestFailed:  # a run that was cancelled had created it
        room = await client.join("den")
    await room.delete()


async def leave(client: Client) -> None:
    await (await client.join("tea")).leave()


async def send(client: Client) -> None:
    await client.rooms["general"].send("hello")


async def send_bytes(client: Client) -> None:
    await client.rooms["general"].send(b"hello", reply_to=1)


async def rename(client: Client) -> None:
    await client.rename("anna" if client.user == "ann" else "ann")


async def history(client: Client) -> None:
    await client.rooms["general"].history(around=2)


async def past_messages(client: Client) -> None:
    await client.rooms["general"].past_messages()


async def users(client: Client) -> None:
    await client.rooms["general"].users()


async def request(client: Client) -> None:
    await client.request(m.ListRooms(limit=1))


async def events(client: Client) -> None:
    stream = client.events()
    await client.rooms["general"].send("hello")
    async for happening in stream:
        if isinstance(happening.event, m.ReceiveMessage):
            return


async def all_messages(client: Client) -> None:
    seqs = []
    async for message in client.rooms["general"].messages(after=0):
        seqs.append(message.seq)
        if message.seq == 3:
            break
    assert seqs == [1, 2, 3]


@pytest.mark.parametrize(
    "attempt",
    [
        join,
        create_and_delete,
        leave,
        send,
        send_bytes,
        rename,
        history,
        past_messages,
        users,
        request,
        events,
        all_messages,
    ],
)
@pytest.mark.parametrize("scheme", ["memory", "ws"])
async def test_what_a_client_does(attempt: Callable[[Client], Awaitable[Any]], scheme: str) -> None:
    async with (
        open_test_server(listen=[address(scheme)], config=OPEN) as here,
        connect(here.address(scheme), user="ann") as ann,
    ):
        await here.person("bob")
        await ann.create("tea")
        for text in ("one", "two", "three"):
            await ann.rooms["general"].send(text)
        await ann.request(m.ListRooms())
        await trio.testing.wait_all_tasks_blocked(0.01)
        tasks = tasks_living()

        async def cut() -> None:
            await attempt(ann)

        async def afterwards() -> None:
            with trio.fail_after(5):
                await ann.request(m.ListRooms())
                await ann.rooms["general"].users()
            assert ann.rooms["general"].state.pending == {}
            await wait_until(lambda: tasks_living() == tasks)

        await cancel_at_each_checkpoint(cut, afterwards=afterwards)
        await cancel_after_each_turn(cut, afterwards=afterwards)


async def test_a_cancelled_reader_loses_nothing() -> None:
    async with open_test_server(config=OPEN) as here, trio.open_nursery() as nursery:
        ann, bob = await here.people("ann", "bob")
        messages = bob.room().messages()
        seqs: list[int] = []

        async def talk() -> None:
            while True:
                await ann.says("more")

        async def read() -> None:
            for _ in range(20):
                seqs.append((await messages.__anext__()).seq)

        nursery.start_soon(talk)
        await cancel_at_each_checkpoint(read)
        await cancel_after_each_turn(read, afterwards=trio.lowlevel.checkpoint)
        nursery.cancel_scope.cancel()
        assert seqs == list(range(1, len(seqs) + 1))


def all_events(client: Client) -> Callable[[], Awaitable[None]]:
    stream = client.events()

    async def exhaust() -> None:
        async for _ in stream:
            pass

    return exhaust


async def test_what_waits_when_the_block_is_left_is_told_so(autojump_clock: trio.testing.MockClock) -> None:
    """Iterators and requests of tasks outside the block end with it."""
    ended: list[str] = []

    async def follow(wait: Callable[[], Awaitable[Any]], name: str) -> None:
        with pytest.raises(Disconnected):
            await wait()
        ended.append(name)

    async with open_test_server(config=OPEN) as here, trio.open_nursery() as nursery:
        async with here.server.connect(user="ann") as ann:
            nursery.start_soon(follow, ann.rooms["general"].messages().__anext__, "messages")
            nursery.start_soon(follow, all_events(ann), "events")
            await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(follow, lambda: ann.request(m.ListRooms()), "request")
    assert sorted(ended) == ["events", "messages", "request"]


async def test_what_waits_when_the_block_is_cancelled_is_told_so() -> None:
    async with open_test_server(config=OPEN) as here:
        room = None
        with trio.CancelScope() as scope:
            async with here.server.connect(user="ann") as ann:
                room = ann.rooms["general"]
                exhaust = all_events(ann)
                scope.cancel()
                await trio.sleep_forever()
        assert room is not None
        with trio.fail_after(1):
            with pytest.raises(Disconnected):
                await room.messages().__anext__()
            with pytest.raises(Disconnected):
                await exhaust()
