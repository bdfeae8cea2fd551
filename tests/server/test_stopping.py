"""The end of a server: graceful on leaving, at once on cancellation; and errors that come out as they were raised."""

from __future__ import annotations

from functools import partial

import pytest
import trio
from attrs import evolve
from wires import request, site

from chatkit.backend import open_backend
from chatkit.errors import Disconnected, ListenFailed, StorageUnreadable, UsageError
from chatkit.server import Server, ServerConfig, open_server, serve
from chatkit.transport.interface import TransportOptions

OPEN = ServerConfig(rate_limits=False)


async def test_what_is_under_way_when_it_stops_is_answered_or_the_link_says_why(kind: str) -> None:
    backend = await open_backend("memory://")
    async with site(backend, config=OPEN) as here:
        ann = await here.user("ann", kind)
        for number in range(300):
            await ann.send("send_message", number, room="general", text=str(number))
        here.server.stop()
        assert (await ann.wait_end())[0] == 1001
        replies = [event for event in ann.events if event["action"] in ("success", "error")]
        assert [reply["ref"] for reply in replies] == list(range(len(replies)))
        acked = {reply["data"]["seq"]: str(reply["ref"]) for reply in replies if reply["action"] == "success"}
    kept = (await backend.directory.snapshot()).rooms
    room = next(room for room in kept if room.name == "general")
    kept = {row.seq: row.body for row in (await backend.log.read(room.room_id, after=0, limit=1000)).rows}
    await backend.aclose()
    assert kept == acked, "something is kept that was not acknowledged, or the other way round"


async def test_nobody_new_is_accepted_while_it_stops() -> None:
    async with site() as here:
        await here.user("ann")
        here.server.stop()
        with pytest.raises((Disconnected, OSError, AssertionError)):
            await (await here.wire("tcp", hello=False)).ask("login", user="bob")


async def test_a_member_that_reads_nothing_does_not_hold_it_up() -> None:
    config = ServerConfig(rate_limits=False, stop_timeout=0.5, transport=TransportOptions(close_timeout=0.3))
    with trio.fail_after(10):
        async with site(config=config) as here:
            ann = await here.user("ann")
            for name in ("bob", "cid"):
                await here.user(name, "ws" if name == "bob" else "tcp")
            for _ in range(200):
                await ann.data("send_message", room="general", text="x" * 20_000)
                ann.events.clear()
            before = trio.current_time()
            here.server.stop()
            await ann.wait_end()
            assert trio.current_time() - before < 3


async def test_half_done_handshakes_do_not_hold_it_up() -> None:
    with trio.fail_after(5):
        async with site() as here:
            stream = await trio.open_tcp_stream("127.0.0.1", int(here.url("ws").rpartition(":")[2]))
            async with stream:
                await stream.send_all(b"GET / HTTP/1.1\r\n")
                await here.user("ann")
                here.server.stop()
                with pytest.raises(trio.BrokenResourceError):
                    while await stream.receive_some(100):
                        pass
                    raise trio.BrokenResourceError


async def test_the_context_ends_when_stop_is_called_and_its_block_is_left() -> None:
    async with open_server("memory://", listen=()) as server:
        server.stop()
        await server.wait_stopped()


async def test_serve_runs_until_stop_is_called() -> None:
    async with trio.open_nursery() as nursery:
        begin = partial(serve, "memory://", listen=["ws://127.0.0.1:0", "tcp://127.0.0.1:0"])
        server: Server = await nursery.start(begin)
        assert [address.partition(":")[0] for address in server.addresses] == ["ws", "tcp"]
        server.stop()


@pytest.mark.parametrize("error", [KeyError("mine"), Disconnected(1006), BaseExceptionGroup("two", [KeyError("mine")])])
async def test_what_the_block_raises_comes_out_as_it_was_raised(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        async with open_server("memory://", listen=()):
            raise error
    assert caught.value is error


async def test_what_the_inner_block_raises_passes_through_both_as_it_was_raised() -> None:
    async def fail_at_the_table() -> None:
        async with open_server("memory://", listen=()) as server, server.connect(user="ann"):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as caught:
        await fail_at_the_table()
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("store", "listen", "error"),
    [
        ("nonsense", (), UsageError),
        ("nosuch://x", (), UsageError),
        ("sqlite:////nonexistent/directory/chat.db", (), StorageUnreadable),
        ("memory://", ("ws://127.0.0.1",), UsageError),
        ("memory://", ("ftp://127.0.0.1:0",), UsageError),
        ("memory://", ("tcp://192.0.2.1:0",), ListenFailed),
        ("memory://", ("wss://127.0.0.1:0",), UsageError),
    ],
)
async def test_what_cannot_begin_says_why(store: str, listen: tuple[str, ...], error: type[Exception]) -> None:
    with pytest.raises(error):
        async with open_server(store, listen=listen):
            pass


async def test_a_port_in_use_is_told_and_everything_before_it_is_released() -> None:
    async with open_server("memory://", listen=["tcp://127.0.0.1:0"]) as server:
        with pytest.raises(ListenFailed, match="in use"):
            async with open_server("memory://", listen=["memory://both", *server.addresses]):
                pass
        async with open_server("memory://", listen=["memory://both"]):
            pass


@pytest.mark.parametrize("limit", ["max_message_bytes", "login_timeout", "stop_timeout", "ring_events"])
def test_a_limit_is_more_than_nothing(limit: str) -> None:
    with pytest.raises(UsageError, match=limit):
        evolve(OPEN, **{limit: 0})


async def test_a_cancelled_server_ends_at_once_with_everything_it_started() -> None:
    tasks = trio.lowlevel.current_statistics().tasks_living
    with trio.move_on_after(0.2) as scope:
        async with site() as here:
            ann = await here.user("ann", "ws")
            await ann.send_raw(ann.encode(request("send_message", room="general", text="x")))
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert trio.lowlevel.current_statistics().tasks_living == tasks


async def test_who_has_to_go_is_not_told_that_the_others_go_too(kind: str) -> None:
    async with site(config=OPEN) as here:
        people = [await here.user(name, kind) for name in ("ann", "bob", "cid")]
        for one in people:
            one.events.clear()
        here.server.stop()
        for one in people:
            assert (await one.wait_end())[0] == 1001
            assert [event["action"] for event in one.events if event["action"] == "user_left"] == []
