"""What is old goes; whoever was in it is told so, once, and goes on with what is kept."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from attrs import evolve
from lines import Lines

from chatkit import Client, PositionLost, Room, ServerConfig, connect, open_server
from chatkit.backend import Backend, open_backend
from chatkit.backend.records import Append, Trim
from chatkit.client import Backoff, Cursor, Reconnecting
from chatkit.protocol import messages as m
from chatkit.server import Server
from chatkit.testing import open_test_server
from chatkit.transport.interface import TransportOptions

QUICK = Backoff(first=0.001)


async def room_id_of(backend: Backend, name: str = "general") -> str:
    return next(room.room_id for room in (await backend.directory.snapshot()).rooms if room.name == name)


async def say(backend: Backend, *bodies: str) -> None:
    room_id = await room_id_of(backend)
    said = Append(room_id=room_id, kind="message", author="ann", name="ann", time=1, body="")
    await backend.commit([evolve(said, body=body) for body in bodies])


async def trim(backend: Backend, first: int) -> None:
    await backend.commit([Trim(room_id=await room_id_of(backend), first=first)])


@asynccontextmanager
async def served(backend: Backend, *, listen: str = "", config: ServerConfig | None = None) -> AsyncIterator[Server]:
    async with open_server(backend, listen=[listen] if listen else (), config=config) as server:
        yield server


async def texts(room: Room, count: int) -> list[str | None]:
    stream = room.messages()
    return [(await anext(stream)).text for _ in range(count)]


# ── what goes ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_newest_events_are_kept(autojump_clock: trio.testing.MockClock) -> None:
    config = ServerConfig(keep_events=10, trim_rows=7)
    async with open_test_server(config=config) as server:
        ann = await server.person("ann")
        await ann.creates("quiet")
        for number in range(50):
            await ann.says(str(number))
            await ann.says(str(number), room="quiet") if number < 10 else None
        await trio.sleep(30)
        page = await ann.room().history(limit=100)
        assert [event.event.seq for event in page.events] == list(range(41, 51))
        assert (page.more_before, page.more_after) == (False, False)
        assert len((await ann.room("quiet").history(limit=100)).events) == 10
        assert (await ann.says("next")).seq == 51


async def test_what_is_old_goes(autojump_clock: trio.testing.MockClock) -> None:
    config = ServerConfig(keep_for=100.0, now_ms=lambda: int(trio.current_time() * 1000) + 1)
    async with open_test_server(config=config) as server:
        ann = await server.person("ann")
        for number in range(20):
            await ann.says(str(number))
            await trio.sleep(20)
        kept = [m.seq for m in await ann.room().past_messages()]
        assert kept[-1] == 20
        assert 5 <= len(kept) <= 6
        await trio.sleep(200)
        assert await ann.room().past_messages() == []
        assert (await ann.says("next")).seq == 21


async def test_nothing_goes_by_itself(autojump_clock: trio.testing.MockClock) -> None:
    async with open_test_server() as server:
        ann = await server.person("ann")
        await ann.says("here to stay")
        await trio.sleep(3_600)
        assert len(await ann.room().past_messages()) == 1


async def test_an_op_is_remembered_as_long_as_its_row() -> None:
    backend = await open_backend("memory://")
    async with served(backend) as server, server.connect(user="ann") as ann:
        room = ann.rooms["general"]
        first = await room.send("one", op="o")
        assert await room.send("one", op="o") == first
        await trim(backend, 2)
        assert (await room.send("one", op="o")).seq == 2


@pytest.mark.parametrize("store", ["memory://retention", "sqlite:///"])
async def test_no_seq_is_used_again_after_a_restart(store: str, tmp_path: Path) -> None:
    url = store if store.startswith("memory") else f"{store}{tmp_path}/chat.db"
    for run in range(3):
        backend = await open_backend(url)
        async with served(backend) as server, server.connect(user="ann") as ann:
            room = ann.rooms["general"]
            assert room.state.summary.head == 2 * run
            assert [(await room.send(text)).seq for text in "ab"] == [2 * run + 1, 2 * run + 2]
            await trim(backend, 1000)
        await backend.aclose()


# ── who was in it ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("after", "reset", "seqs"),
    [(0, True, [5, 6]), (3, True, [5, 6]), (4, False, [5, 6]), (5, False, [6]), (6, False, []), (7, True, [5, 6])],
)
async def test_joining_behind_what_is_kept(after: int, reset: bool, seqs: list[int]) -> None:
    backend = await open_backend("memory://")
    async with served(backend) as server, server.connect(user="ann") as ann:
        await say(backend, *"abcdef")
        await trim(backend, 5)
        joined = await ann.request(m.JoinRoom(room="general", after=after))
        assert (joined.reset, [entry.event.seq for entry in joined.events]) == (reset, seqs)
        assert joined.more_after is False
    await backend.aclose()


async def test_joining_where_nothing_is_kept() -> None:
    backend = await open_backend("memory://")
    async with served(backend) as server, server.connect(user="ann") as ann:
        await say(backend, *"abc")
        await trim(backend, 4)
        for after, reset in ((0, True), (2, True), (3, False), (4, True)):
            joined = await ann.request(m.JoinRoom(room="general", after=after))
            assert (joined.reset, joined.events, joined.head) == (reset, (), 3)
        sent = await ann.rooms["general"].send("d")
        assert sent.seq == 4
        assert await texts(ann.rooms["general"], 4) == list("abcd")  # the client holds what it heard
    await backend.aclose()


@asynccontextmanager
async def away(backend: Backend, *said: str, then_first: int = 0) -> AsyncIterator[Client]:
    """A client that heard "a" and "b", lost its server, and found it again with more said and some of it trimmed."""
    async with trio.open_nursery() as nursery:
        async with open_server(backend, listen=["tcp://127.0.0.1:0"]) as server:
            (address,) = server.addresses
            client_ready = trio.Event()
            clients: list[Client] = []
            done = trio.Event()

            async def live() -> None:
                async with connect(address, user="ann", reconnect=QUICK) as client:
                    clients.append(client)
                    client_ready.set()
                    await done.wait()

            nursery.start_soon(live)
            await client_ready.wait()
            (client,) = clients
            await say(backend, "a", "b")
            assert await texts(client.rooms["general"], 2) == ["a", "b"]
        await say(backend, *said)
        if then_first:
            await trim(backend, then_first)
        async with open_server(backend, listen=[address]):
            async for status in client.statuses():
                if not isinstance(status, Reconnecting):
                    break
            yield client
            done.set()


@pytest.mark.parametrize("first", [1, 3])
async def test_a_gap_that_is_kept_to_its_border_is_resumed(first: int) -> None:
    backend = await open_backend("memory://")
    async with away(backend, *"cdef", then_first=first) as client:
        assert await texts(client.rooms["general"], 4) == list("cdef")
    await backend.aclose()


async def test_a_gap_that_is_gone_is_told_once() -> None:
    backend = await open_backend("memory://")
    async with away(backend, *"cdef", then_first=5) as client:
        room = client.rooms["general"]
        stream = room.messages()
        with pytest.raises(PositionLost) as lost:
            await anext(stream)
        assert (lost.value.room, lost.value.epoch, lost.value.seq) == ("general", room.position.epoch, 2)
        assert [(await anext(stream)).text for _ in range(2)] == ["e", "f"]
        await room.send("g")
        assert (await anext(stream)).text == "g"
        assert [message.text for message in room.state.messages()] == ["e", "f", "g"]
    await backend.aclose()


async def test_where_nothing_is_left_the_reader_goes_on_with_what_comes() -> None:
    backend = await open_backend("memory://")
    async with away(backend, *"cdef", then_first=7) as client:
        room = client.rooms["general"]
        stream = room.messages()
        with pytest.raises(PositionLost):
            await anext(stream)
        await room.send("g")
        assert (await anext(stream)).text == "g"
    await backend.aclose()


async def test_a_cursor_behind_what_is_kept(tmp_path: Path) -> None:
    backend = await open_backend("memory://")
    async with served(backend) as server, Cursor(tmp_path / "cursor.db") as cursor:
        await say(backend, *"abcdef")
        async with server.connect(user="ann") as ann:
            room = await ann.join("general", after=0)
            stream = room.messages(cursor=cursor)
            assert [(await anext(stream)).text for _ in range(3)] == ["a", "b", "c"]
        await trim(backend, 5)
        async with server.connect(user="ann") as ann:
            stream = ann.rooms["general"].messages(cursor=cursor)
            with pytest.raises(PositionLost) as lost:
                await anext(stream)
            assert lost.value.seq == 2  # "c" was given, and its end was not seen
            assert [(await anext(stream)).text for _ in range(2)] == ["e", "f"]
            await stream.commit()
        async with server.connect(user="ann") as ann:
            await say(backend, "g")
            stream = ann.rooms["general"].messages(cursor=cursor)
            assert (await anext(stream)).text == "g"
    await backend.aclose()


async def test_losing_twice_is_told_twice() -> None:
    backend = await open_backend("memory://")
    async with served(backend) as server, server.connect(user="ann", keep=2) as ann:
        stream = ann.rooms["general"].messages()
        for times in (1, 2):
            await say(backend, *"abcdef")
            head = 6 * times
            while ann.rooms["general"].position.seq < head:
                await ann.rooms["general"].wait_change()
            await trim(backend, head)
            with pytest.raises(PositionLost):
                await anext(stream)
            assert (await anext(stream)).seq == head
    await backend.aclose()


async def test_reading_on_from_an_own_message_that_has_not_arrived_yet() -> None:
    """A reply may come before the event: the position it names is ahead, not lost."""
    backend = await open_backend("memory://")
    async with served(backend) as server, server.connect(user="ann") as ann:
        room = ann.rooms["general"]
        for number in range(20):
            sent = await room.send(str(number))
            stream = room.messages(after=sent.seq)
            with trio.move_on_after(0.001):
                await anext(stream)
        with pytest.raises(PositionLost):
            await anext(room.messages(after=1000))
    await backend.aclose()


async def test_joining_after_a_seq_that_is_gone_tells_the_reader() -> None:
    backend = await open_backend("memory://")
    async with served(backend) as server:
        await say(backend, *"abcdef")
        await trim(backend, 5)
        async with server.connect(user="ann") as ann:
            room = await ann.join("general", after=2)
            with pytest.raises(PositionLost):
                await anext(room.messages())
            assert await texts(room, 2) == ["e", "f"]
        async with server.connect(user="ann") as ann:
            room = await ann.join("general", after=4)
            assert await texts(room, 2) == ["e", "f"]
    await backend.aclose()


async def test_a_reader_that_falls_off_the_end_is_sent_away_to_resume() -> None:
    """Somebody who reads too slowly, in a room that keeps too little: 4408, and the position they had is `reset`."""
    backend = await open_backend("memory://")
    config = ServerConfig(transport=TransportOptions(outlet_bytes=4_096, send_buffer_bytes=4_096), ring_events=4)
    async with open_server(backend, listen=["tcp://127.0.0.1:0"], config=config) as server:
        port = int(server.addresses[0].rpartition(":")[2])
        slow = Lines(await trio.open_tcp_stream("127.0.0.1", port))
        reply = await slow.ask({"action": "login", "ref": 1, "data": {"user": "ann"}})
        epoch = reply["data"]["rooms"][0]["epoch"]
        heard = 0
        for _ in range(200):  # megabytes more than all the buffers on the way take
            await say(backend, *["x" * 2_000] * 50)
        await trim(backend, 9_990)
        with trio.fail_after(10):
            while (line := await slow.next())["action"] != "closing":
                if line["action"] == "receive_message":
                    assert line["data"]["seq"] == heard + 1
                    heard += 1
        assert (line["data"]["code"], line["data"]["reconnect"]) == (4408, True)
        assert 0 < heard < 9_990
        again = Lines(await trio.open_tcp_stream("127.0.0.1", port))
        position = {"general": {"epoch": epoch, "seq": heard}}
        login = {"user": "ann", "token": reply["data"]["token"], "resume": position}
        assert (await again.ask({"action": "login", "ref": 1, "data": login}))["data"]["resume"] == {"general": "reset"}
        await slow.stream.aclose()
        await again.stream.aclose()
    await backend.aclose()


@pytest.mark.parametrize(
    ("epoch", "seq", "answer"),
    [("", 3, "reset"), ("", 4, "ok"), ("", 6, "ok"), ("", 7, "reset"), ("another", 5, "reset"), ("", 0, "reset")],
)
async def test_which_positions_are_resumed(epoch: str, seq: int, answer: str) -> None:
    backend = await open_backend("memory://")
    async with open_server(backend, listen=["tcp://127.0.0.1:0"]) as server:
        await say(backend, *"abcdef")
        await trim(backend, 5)
        kept = (await backend.directory.snapshot()).rooms
        room = next(room for room in kept if room.name == "general")
        wire = Lines(await trio.open_tcp_stream("127.0.0.1", int(server.addresses[0].rpartition(":")[2])))
        position = {"epoch": epoch or room.epoch, "seq": seq}
        reply = await wire.ask({"action": "login", "ref": 1, "data": {"user": "ann", "resume": {"general": position}}})
        assert reply["data"]["resume"] == {"general": answer}
        said = []
        while (line := await wire.next())["action"] != "caught_up":
            said += [line["data"]["text"]] if line["action"] == "receive_message" else []
        assert said == (list("abcdef")[seq:] if answer == "ok" else [])
        await wire.stream.aclose()
    await backend.aclose()
