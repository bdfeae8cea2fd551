"""Links that end, by whom and how: who comes back by itself, who is told, and when."""

from __future__ import annotations

from itertools import islice
from random import Random

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from lines import Lines

from chatkit import Client, Disconnected, UsageError, connect, open_server
from chatkit.client import Backoff, Closed, Reconnecting
from chatkit.protocol.codes import CLOSE_CODES
from chatkit.protocol.messages import UserJoined, UserLeft
from chatkit.testing import Person, TestServer, open_test_server

# ── how patiently ────────────────────────────────────────────────────────────────────────────────────────────────────

seconds = st.floats(0.001, 100)


@given(seconds, st.floats(1, 10), st.floats(1, 100), st.integers(1, 30), st.randoms(use_true_random=False))
def test_waits_grow_to_a_bound_and_end(first: float, factor: float, more: float, attempts: int, random: Random) -> None:
    backoff = Backoff(first=first, factor=factor, most=first * more, attempts=attempts)
    drawn = list(backoff.delays(random.random))
    longest = list(backoff.delays(lambda: 1.0))
    assert len(drawn) == len(longest) == attempts
    assert all(0 <= wait <= bound for wait, bound in zip(drawn, longest, strict=True))
    assert longest[0] == first
    assert longest == sorted(longest)
    assert longest[-1] <= backoff.most
    assert list(backoff.delays(lambda: 0.0)) == [0.0] * attempts


def test_without_a_number_of_attempts_there_is_always_another() -> None:
    waits = list(islice(Backoff(first=1, factor=2, most=8).delays(lambda: 1.0), 10_000))
    assert waits[:5] == [1, 2, 4, 8, 8]
    assert len(waits) == 10_000


@pytest.mark.parametrize("wrong", [{"first": 0.0}, {"factor": 0.5}, {"first": 2.0, "most": 1.0}, {"attempts": 0}])
def test_a_backoff_that_makes_no_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        Backoff(**wrong)  # type: ignore[arg-type]


# ── who comes back ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("scheme", ["tcp", "ws"])
@pytest.mark.parametrize("close", [close for close in CLOSE_CODES.values() if close.code not in (1002, 1006)], ids=str)
async def test_the_close_code_decides(scheme: str, close: object) -> None:
    code, reconnect = close.code, close.reconnect  # type: ignore[attr-defined]
    async with (
        open_server("memory://", listen=[f"{scheme}://127.0.0.1:0"]) as server,
        connect(server.addresses[0], user="ann", reconnect=Backoff(first=0.001)) as ann,
    ):
        (session,) = server._core.sessions.values()
        lost = ann._standing.changed
        session.end(code, "for a test", reconnect=reconnect)
        with trio.fail_after(5):
            await lost.wait()
            if reconnect:
                assert isinstance(ann.status, Reconnecting)
                await ann.rooms["general"].send("back again")
            else:
                why = await ann.wait_closed()
                assert isinstance(why, Disconnected)
                assert (why.code, why.reconnect) == (code, False)
                with pytest.raises(Disconnected):
                    await ann.rooms["general"].send("nobody there")


async def test_tries_are_counted_however_long_the_link_had_lasted(autojump_clock: trio.testing.MockClock) -> None:
    attempts: list[int] = []

    async def count(client: Client) -> None:
        async for status in client.statuses():
            if isinstance(status, Reconnecting):
                attempts.append(status.attempt)

    async def serve_a_minute(task_status: trio.TaskStatus[None]) -> None:
        async with open_server("memory://", listen=["memory://counted"]):
            task_status.started()
            await trio.sleep(60)

    async with trio.open_nursery() as nursery:
        await nursery.start(serve_a_minute)
        async with connect("memory://counted", user="ann", reconnect=Backoff(attempts=3)) as ann:
            nursery.start_soon(count, ann)
            with trio.fail_after(120):
                await ann.wait_closed()
    assert attempts == [1, 2, 3]


async def test_a_newer_link_takes_over_from_a_half_dead_one() -> None:
    """The old link is open and silent; whoever has its token has the name at once, and the old one is told 4409."""
    async with open_server("memory://", listen=["tcp://127.0.0.1:0"]) as server:
        port = int(server.addresses[0].rpartition(":")[2])
        old = Lines(await trio.open_tcp_stream("127.0.0.1", port))
        reply = await old.ask({"action": "login", "ref": 1, "data": {"user": "ann"}})
        token = reply["data"]["token"]
        async with server.connect(user="bob") as bob:
            events = bob.events()
            with trio.fail_after(1):
                async with connect(server.addresses[0], user="ann", token=token) as ann:
                    assert ann.user == "ann"
                    assert [user.user for user in await bob.rooms["general"].users()] == ["ann", "bob"]
                    while (line := await old.next())["action"] != "closing":
                        pass
                    assert (line["data"]["code"], line["data"]["reconnect"]) == (4409, False)
                    await ann.rooms["general"].send("it is me")
                    while not hasattr(event := (await anext(events)).event, "seq"):
                        assert not isinstance(event, UserJoined | UserLeft)
        await old.stream.aclose()


async def test_two_programs_with_one_token_do_not_fight(autojump_clock: trio.testing.MockClock) -> None:
    """The older one stays away: otherwise each would push the other out for ever."""
    async with open_test_server() as server:
        first = await server.person("ann")
        second = await server.person("ann", token=first.client.token)
        why = await first.client.wait_closed()
        assert isinstance(why, Disconnected)
        assert why.code == 4409
        await trio.sleep(100)
        assert not isinstance(second.client.status, Closed)


# ── who is told ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def two(server: TestServer, **options: object) -> tuple[Person, Person]:
    bob = await server.person("bob")
    ann = await server.person("ann", **options)
    await bob.hears(UserJoined, user="ann")
    return ann, bob


def cut(client: Client) -> None:
    """End the link without a word."""
    assert client._asking.link is not None
    client._asking.link.connection.abort()


async def test_a_link_made_anew_in_time_is_not_noticed(autojump_clock: trio.testing.MockClock) -> None:
    async with open_test_server() as server:
        ann, bob = await two(server, reconnect=Backoff(first=0.9, most=0.9))
        for number in range(10):
            cut(ann.client)
            await bob.says(f"while ann is away {number}")
            await ann.hears(f"while ann is away {number}")
            await trio.sleep(5)
        assert not [heard for heard in bob.heard if isinstance(heard.event, UserLeft)]
        assert len([heard for heard in bob.heard if isinstance(heard.event, UserJoined)]) == 1


async def test_a_link_that_stays_lost_is_told_soon(autojump_clock: trio.testing.MockClock) -> None:
    async with open_test_server() as server:
        ann, bob = await two(server, reconnect=False)
        cut(ann.client)
        began = trio.current_time()
        await bob.hears(UserLeft, user="ann", within=2.0)
        assert trio.current_time() - began >= 0.9


async def test_a_goodbye_is_told_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with open_test_server() as server:
        ann, bob = await two(server)
        await ann.goes()
        await bob.hears(UserLeft, user="ann", within=0.05)
