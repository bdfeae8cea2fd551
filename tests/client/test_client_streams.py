"""Reading a room and following everything: once, in order, however slow the reader, to the end."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import trio
import trio.testing

from chatkit.client import Message, Room
from chatkit.errors import Disconnected, UsageError
from chatkit.protocol import messages as m
from chatkit.server import ServerConfig
from chatkit.testing import Person, open_test_server

OPEN = ServerConfig(rate_limits=False)


async def say(person: Person, count: int, start: int = 1, room: str = "general") -> None:
    for number in range(start, start + count):
        await person.says(str(number), room=room)


async def take(stream: Any, count: int) -> list[int]:
    return [(await stream.__anext__()).seq for _ in range(count)]


async def test_what_is_neither_text_nor_bytes_is_not_said() -> None:
    async with open_test_server(config=OPEN) as here:
        ann = await here.person("ann")
        with pytest.raises(UsageError, match="not int"):
            await ann.room().send(42)  # type: ignore[arg-type]
        assert not ann.room().state.pending
        assert (await ann.room().send(bytearray(b"x"))).binary == b"x"  # type: ignore[arg-type]


@pytest.mark.parametrize("keep", [3, 1000])
async def test_a_slow_reader_gets_everything_what_is_not_held_is_fetched(keep: int) -> None:
    async with open_test_server(config=OPEN) as here:
        ann, bob = await here.person("ann"), await here.person("bob", keep=keep)
        messages = bob.room().messages()
        await say(ann, 2)
        assert await take(messages, 2) == [1, 2]
        await say(ann, 500, start=3)
        assert len(bob.room().state.window) <= keep
        assert await take(messages, 250) == list(range(3, 253))
        await say(ann, 10, start=503)
        assert await take(messages, 260) == list(range(253, 513))
        await ann.says("live")
        assert (await messages.__anext__()).text == "live"


async def test_the_rooms_reader_goes_on_where_it_stopped_and_others_are_independent() -> None:
    async with open_test_server(config=OPEN) as here:
        ann, bob = await here.people("ann", "bob")
        await say(ann, 6)
        room = bob.room()
        assert await take(room.messages(), 2) == [1, 2]
        assert await take(room.messages(after=0), 6) == [1, 2, 3, 4, 5, 6]
        assert await take(room.messages(after=4), 2) == [5, 6]
        assert await take(room.messages(), 4) == [3, 4, 5, 6]


async def test_a_join_with_history_begins_with_it() -> None:
    async with open_test_server(config=OPEN) as here:
        ann = await here.person("ann")
        await say(ann, 10)
        bob = await here.person("bob")
        room = await bob.joins("general", history=3)
        assert await take(room.messages(), 3) == [8, 9, 10]
        assert [message.seq for message in room.state.messages()] == [8, 9, 10]
        await bob.leaves("general")
        room = await bob.joins("general", after=4)
        assert await take(room.messages(), 6) == [5, 6, 7, 8, 9, 10]


@pytest.mark.parametrize("end", ["leave", "delete"])
async def test_it_ends_when_one_leaves_or_the_room_is_deleted_after_what_was_said(end: str) -> None:
    async with open_test_server(config=OPEN) as here:
        ann, bob = await here.people("ann", "bob")
        await ann.creates("tea")
        room = await bob.joins("tea")
        await say(ann, 3, room="tea")
        await bob.asks(m.ListRooms())
        waiting: list[list[int]] = []

        async def read() -> None:
            waiting.append([message.seq async for message in room.messages()])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            if end == "leave":
                await room.leave()
            else:
                await ann.room("tea").delete()
        assert waiting == [[1, 2, 3]]
        assert [message.seq async for message in room.messages(after=1)] == [2, 3]


async def test_a_room_joined_again_is_read_again() -> None:
    async with open_test_server(config=OPEN) as here:
        ann, bob = await here.people("ann", "bob")
        await say(ann, 2)
        await bob.leaves("general")
        await say(ann, 2, start=3)
        room = await bob.joins("general")
        await say(ann, 1, start=5)
        assert await take(room.messages(), 1) == [5]


async def test_it_says_when_the_link_is_gone_for_good(autojump_clock: trio.testing.MockClock) -> None:
    async with open_test_server(config=OPEN) as here:
        ann = await here.person("ann", reconnect=False)
        stream, messages = ann.client.events(), ann.room().messages()
        here.server.stop()
        with pytest.raises(Disconnected) as caught:
            await messages.__anext__()
        assert (caught.value.code, caught.value.reconnect) == (1001, True)
        with pytest.raises(Disconnected):
            while True:
                await stream.__anext__()
        with pytest.raises(Disconnected):
            await ann.says("hello")


async def test_one_may_follow_everything_and_is_let_go() -> None:
    async with open_test_server(config=OPEN) as here:
        ann, bob = await here.people("ann", "bob")
        streams = [bob.client.events() for _ in range(50)]
        await ann.says("hello")
        for stream in streams:
            while not isinstance((await stream.__anext__()).event, m.ReceiveMessage):
                pass
        left = [weakref.ref(stream) for stream in streams]
        del stream
        streams.clear()
        gc.collect()
        assert not [ref for ref in left if ref() is not None], "the client keeps what nobody reads"


async def test_who_follows_everything_slowly_misses_nothing_durable(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    monkeypatch.setattr("chatkit.client.streams.MOST_WAITING", 20)
    async with open_test_server(config=OPEN) as here:
        ann, bob = await here.people("ann", "bob")
        await ann.creates("tea")
        await bob.joins("tea")
        stream = bob.client.events()
        await say(ann, 300)
        await say(ann, 30, room="tea")
        await trio.sleep(1)
        seqs: dict[str, list[int]] = {"general": [], "tea": []}
        while (len(seqs["general"]), len(seqs["tea"])) != (301, 31):
            event = (await stream.__anext__()).event
            if isinstance(event, m.ReceiveMessage):
                seqs[event.room].append(event.seq)
            if len(seqs["general"]) + len(seqs["tea"]) == 100:
                await say(ann, 1, start=1000)
                await say(ann, 1, start=1000, room="tea")
        assert seqs == {"general": list(range(1, 302)), "tea": list(range(1, 32))}


@pytest.mark.parametrize("over", [None, "tcp", "ws"])
async def test_an_own_message_is_shown_once_whichever_of_reply_and_event_comes_first(over: str | None) -> None:
    async with open_test_server(config=OPEN, listen=["tcp://127.0.0.1:0", "ws://127.0.0.1:0"]) as here:
        ann = await here.person("ann", over=over)
        room = ann.room()
        shown: list[int] = []

        def look() -> None:
            state = room.state
            texts = [message.text for message in state.messages()] + [p.text for p in state.pending.values()]
            assert len(set(texts)) == len(texts), "shown twice"
            shown.append(len(texts))

        async def watch() -> None:
            while True:
                look()
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            async with trio.open_nursery() as talking:
                for number in range(50):
                    talking.start_soon(room.send, str(number))
            nursery.cancel_scope.cancel()
        async for message in room.messages():
            if message.seq == 50:
                break
        assert room.state.pending == {}
        assert shown == sorted(shown), "a message that was shown has vanished"
        assert [message.seq for message in room.state.messages()] == list(range(1, 51))


async def test_what_send_returns_is_what_everybody_gets() -> None:
    async with open_test_server(config=OPEN) as here:
        ann, bob = await here.people("ann", "bob")
        first = await ann.says("hello", op="x")
        again = await ann.says("hello", op="x")
        answer = await bob.says(b"\x00", reply_to=first.seq)
        assert again == first

        async def read(room: Room) -> list[Message]:
            messages = room.messages(after=0)
            return [await messages.__anext__(), await messages.__anext__()]

        for person in (ann, bob):
            assert await read(person.room()) == [first, answer]
        assert await ann.room().past_messages() == [first, answer]
        assert await ann.room().past_messages(before=2) == [first]
