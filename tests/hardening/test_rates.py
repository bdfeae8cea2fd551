"""Rates: their law, what they refuse and with what words, and that a client keeps to them by itself."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
import trio
import trio.testing
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from tests.server.wires import MemoryWire, Site, Wire, site

import chatkit
from chatkit.client import Backoff, Client, Connected
from chatkit.protocol import messages as m
from chatkit.protocol.rates import Bucket, Rate
from chatkit.server import Server, ServerConfig
from chatkit.server.limits import Rates
from chatkit.testing import FaultProxy, Plan

RATES = ServerConfig().rates
QUICK = Backoff(first=0.05, factor=1.5, most=0.2)

# ── the law of a bucket ──────────────────────────────────────────────────────────────────────────────────────────────

rates = st.builds(Rate, st.floats(1, 10_000, allow_subnormal=False), st.floats(0.01, 10_000, allow_subnormal=False))
steps = st.lists(st.tuples(st.floats(0, 100), st.floats(0.001, 1_000)), min_size=1, max_size=60)


@given(rate=rates, steps=steps, start=st.floats(0, 1e6))
def test_never_more_than_the_burst_and_the_rate_in_any_stretch_of_time(
    rate: Rate, steps: list[tuple[float, float]], start: float
) -> None:
    bucket, now = Bucket(rate), start
    taken: list[tuple[float, float]] = []
    for pause, amount in steps:
        now += pause
        if not bucket.take(now, amount):
            taken.append((now, min(amount, rate.burst)))
    for first in range(len(taken)):
        total = 0.0
        for at, amount in taken[first:]:
            total += amount
            allowed = rate.burst + rate.per_second * (at - taken[first][0])
            assert total <= allowed * (1 + 1e-6) + 1e-4 * rate.per_second


@given(rate=rates, steps=steps)
def test_what_is_refused_succeeds_at_the_time_told_and_no_earlier(rate: Rate, steps: list[tuple[float, float]]) -> None:
    bucket, now = Bucket(rate), 1000.0
    for pause, amount in steps:
        now += pause / 100
        wait = bucket.take(now, amount)
        assert wait >= 0
        if wait:
            assert Bucket(rate, bucket.full_at).take(now + wait, amount) == 0
            if wait > 1e-5:
                assert bucket.take(now + wait * 0.99 - 1e-6, amount) > 0
            assert wait <= min(amount, rate.burst) / rate.per_second + rate.burst / rate.per_second


@pytest.mark.parametrize(("burst", "per_second"), [(0, 1), (0.5, 1), (1, 0), (1, -1), (math.inf, 1), (1, math.nan)])
def test_a_rate_that_lets_nobody_or_everybody_pass_is_none(burst: float, per_second: float) -> None:
    with pytest.raises(chatkit.UsageError):
        Rate(burst, per_second)


# ── what a server refuses ────────────────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def limited(**rates: Rate) -> AsyncIterator[Site]:
    """A server in memory, which holds everybody to its rates."""
    config = ServerConfig(rates=evolve(RATES, **rates)) if rates else ServerConfig()
    async with site(config=config, listen=["memory://"]) as here:
        yield here


PLENTY = Rate(1e9, 1e9)
SCOPES: dict[str, tuple[str, dict[str, Any], Rate]] = {
    "messages": ("send_message", {"room": "general", "text": "x"}, RATES.messages),
    "reads": ("history", {"room": "general"}, RATES.reads),
    "requests": ("leave_room", {"room": "nowhere"}, RATES.requests),
}


@pytest.mark.parametrize("scope", SCOPES)
async def test_a_scope_over_its_rate_is_told_when_to_try_again(scope: str, autojump_clock: object) -> None:
    action, data, rate = SCOPES[scope]
    async with limited() as here:
        ann = await here.user("ann", "memory")
        for _ in range(int(rate.burst)):
            assert (await ann.ask(action, **data))["data"].get("code") != "rate_limited"
        refused = (await ann.ask(action, 7, **data))["data"]
        assert (refused["code"], refused["scope"]) == ("rate_limited", scope)
        assert 0 < refused["retry_after"] <= 1 / rate.per_second + 0.002
        for other, (action_of, data_of, _) in SCOPES.items():
            if other != scope:
                assert (await ann.ask(action_of, **data_of))["data"].get("code") != "rate_limited"
        await trio.sleep(refused["retry_after"])
        assert (await ann.ask(action, **data))["data"].get("code") != "rate_limited"


async def test_bytes_have_a_rate_of_their_own(autojump_clock: object) -> None:
    async with limited(messages=PLENTY) as here:
        ann = await here.user("ann", "memory")
        said = 0
        while (reply := await ann.ask("send_message", room="general", text="x" * 60_000))["action"] == "success":
            said += 1
        assert said == RATES.bytes.burst // 60_000
        assert (reply["data"]["code"], reply["data"]["scope"]) == ("rate_limited", "bytes")
        await trio.sleep(reply["data"]["retry_after"])
        assert (await ann.ask("send_message", room="general", text="x" * 60_000))["action"] == "success"


async def test_logins_have_a_rate(autojump_clock: object) -> None:
    async with limited() as here:
        wire = await here.wire("memory")
        codes = [(await wire.ask("login", user="/"))["data"]["code"] for _ in range(11)]
        assert codes == ["bad_name"] * 10 + ["rate_limited"]


async def test_what_was_refused_changed_nothing(autojump_clock: object) -> None:
    async with limited() as here:
        ann, bob = await here.user("ann", "memory"), await here.user("bob", "memory")
        for number in range(250):
            await ann.send("send_message", number, room="general", text=str(number))
        kept = [reply["ref"] for reply in [await ann.reply() for _ in range(250)] if reply["action"] == "success"]
        assert kept == list(range(100))
        await trio.sleep(1)
        assert (await ann.ask("send_message", room="general", text="end"))["action"] == "success"
        heard = await bob.texts("end")
        assert heard == [(n + 1, text) for n, text in enumerate([*map(str, kept), "end"])]


async def test_who_honours_retry_after_loses_nothing(autojump_clock: object) -> None:
    async with limited(messages=Rate(3, 7), bytes=Rate(2_000, 3_000)) as here:
        ann, bob = await here.user("ann", "memory"), await here.user("bob", "memory")
        sizes = [number * 37 % 900 for number in range(200)]
        for number, size in enumerate(sizes):
            while True:
                reply = await ann.ask("send_message", room="general", text=f"{number} {'x' * size}")
                if reply["action"] == "success":
                    break
                await trio.sleep(reply["data"]["retry_after"])
        await trio.sleep(1)
        await ann.ask("send_message", room="general", text="end")
        heard = await bob.texts("end")
        assert [text.split(" ")[0] for _, text in heard] == [*map(str, range(200)), "end"]


async def flood(wire: Wire, count: int) -> None:
    assert isinstance(wire, MemoryWire)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_on, wire)
        for number in range(count):
            if wire.ended:
                break
            try:
                await wire.send("send_message", number, room="general", text="x")
            except chatkit.Disconnected:
                break


async def read_on(wire: Wire) -> None:
    await wire.wait_end()


async def test_who_does_not_stop_is_cut_off(autojump_clock: object) -> None:
    async with limited() as here:
        ann, bob = await here.user("ann", "memory"), await here.user("bob", "memory")
        with trio.fail_after(60):
            await flood(ann, 5_000)
        assert ann.close_reason()[0] == 4429
        assert (await bob.ask("send_message", room="general", text="still here"))["action"] == "success"


async def test_without_rates_sizes_and_deadlines_stay(autojump_clock: object) -> None:
    config = ServerConfig(rate_limits=False)
    async with site(config=config, listen=["memory://"]) as here:
        hello = (await (await here.wire("memory", hello=False)).receive())["data"]
        assert not [name for name in hello["limits"] if name.endswith(("_burst", "_per_second"))]
        ann = await here.user("ann", "memory")
        for number in range(1_000):
            await ann.send("send_message", number, room="general", text="x")
        assert {(await ann.reply())["action"] for _ in range(1_000)} == {"success"}
        silent = await here.wire("memory")
        assert (await ended(silent))[0] == 4401
        await ann.send("send_message", room="general", text="x" * 70_000)
        assert (await ended(ann))[0] == 1009


async def ended(wire: Wire) -> tuple[int, str]:
    while await wire.receive_raw() is not None:
        pass
    return wire.close_reason()


async def test_hello_announces_what_is_enforced(autojump_clock: object) -> None:
    async with limited() as here:
        limits = (await (await here.wire("memory", hello=False)).receive())["data"]["limits"]
        for scope in ("messages", "bytes", "reads", "requests"):
            rate: Rate = getattr(RATES, scope)
            assert (limits[f"{scope}_burst"], limits[f"{scope}_per_second"]) == (rate.burst, rate.per_second)


# ── our own client ───────────────────────────────────────────────────────────────────────────────────────────────────


async def say_all(client: Client, texts: list[str]) -> list[str]:
    """Say everything at once; return what was said in the order in which it was."""
    order: list[str] = []
    seqs: dict[str, int] = {}

    async def say(text: str) -> None:
        order.append(text)
        seqs[text] = (await client.rooms["general"].send(text)).seq

    async with trio.open_nursery() as nursery:
        for text in texts:
            nursery.start_soon(say, text)
    assert sorted(seqs.values()) == list(range(min(seqs.values()), min(seqs.values()) + len(texts))), "one is missing"
    assert sorted(texts, key=seqs.__getitem__) == order, "kept in another order"
    return order


def refusals(server: Server) -> int:
    return server.counters.refused.total()


async def test_five_hundred_at_once_on_a_default_server(autojump_clock: object) -> None:
    async with chatkit.open_server("memory://", listen=()) as server, server.connect(user="ann") as ann:
        began = trio.current_time()
        await say_all(ann, [str(number) for number in range(500)])
        assert refusals(server) == 0
        assert trio.current_time() - began < (500 - RATES.messages.burst) / RATES.messages.per_second * 1.2


async def test_five_hundred_at_once_without_rates(autojump_clock: object) -> None:
    config = ServerConfig(rate_limits=False)
    async with chatkit.open_server("memory://", listen=(), config=config) as server, server.connect(user="ann") as ann:
        await say_all(ann, [str(number) for number in range(500)])


async def test_large_messages_are_paced_by_their_bytes(autojump_clock: object) -> None:
    async with chatkit.open_server("memory://", listen=()) as server, server.connect(user="ann") as ann:
        await say_all(ann, [f"{number} {'x' * 30_000}" for number in range(80)])
        await say_all(ann, [f"{number} {chr(1) * 5_000}" for number in range(80)])  # six bytes each, in JSON
        assert refusals(server) == 0


async def test_reads_and_requests_are_paced(autojump_clock: object) -> None:
    async with chatkit.open_server("memory://", listen=()) as server, server.connect(user="ann") as ann:
        async with trio.open_nursery() as nursery:
            for number in range(300):
                nursery.start_soon(ann.rooms["general"].history)
                if number < 150:
                    nursery.start_soon(ann.rename, f"ann{number}")
        assert refusals(server) == 0


async def test_what_gathered_while_the_link_was_down_is_paced_too(autojump_clock: object) -> None:
    """Else everything that waits would be said at once, and the new link would be cut off for flooding."""
    patient = Backoff(first=100.0, factor=1.0, most=100.0)
    async with (
        chatkit.open_server("memory://", listen=()) as server,
        server.connect(user="ann", reconnect=patient, entropy=Random(3)) as ann,
    ):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(say_all, ann, [str(number) for number in range(1_500)])
            for _ in range(2):
                await trio.sleep(1)
                for session in list(server._core.sessions.values()):
                    session.connection.abort()
                await trio.sleep(110)
        assert refusals(server) == 0
        assert server.counters.closed[4429] == 0


@pytest.mark.parametrize("down", [False, True])
async def test_what_cannot_be_sent_is_refused_at_once_and_harms_no_link(down: bool, autojump_clock: object) -> None:
    async with (
        chatkit.open_server("memory://", listen=()) as server,
        server.connect(user="ann", reconnect=Backoff(first=9.0, most=9.0)) as ann,
    ):
        room = ann.rooms["general"]
        for said, wrong in (("x" * 70_000, chatkit.RequestFailed), ("\ud800", chatkit.UsageError)):
            if down:
                for session in list(server._core.sessions.values()):
                    session.connection.abort()
                async for status in ann.statuses():
                    if not isinstance(status, Connected):
                        break
            with pytest.raises(wrong) as caught:
                await room.send(said)
            assert wrong is chatkit.UsageError or caught.value.code == "too_large"
        assert (await room.send("good")).seq == 1
        assert server.counters.closed[1009] == 0


async def test_a_refusal_that_comes_all_the_same_is_waited_out(autojump_clock: object) -> None:
    """Two links of one person would share nothing, but a server may be stricter than it says."""
    rates = Rates(messages=Rate(10, 5))
    async with chatkit.open_server("memory://", listen=(), config=ServerConfig(rates=rates)) as server:
        async with server.connect(user="ann") as ann:
            ann._asking.pacing.announce({})
            async with trio.open_nursery() as nursery:
                for number in range(100):
                    nursery.start_soon(ann.rooms["general"].send, str(number))
            page = await ann.rooms["general"].history(limit=1_000)
            assert {event.event.text for event in page.events} == {*map(str, range(100))}  # type: ignore[attr-defined]
        assert refusals(server) > 0


async def test_over_a_real_link_that_breaks() -> None:
    rates = Rates(messages=Rate(40, 400))
    plan = Plan(lifetime=0.4)
    async with (
        chatkit.open_server("memory://", listen=["tcp://127.0.0.1:0"], config=ServerConfig(rates=rates)) as server,
        FaultProxy(server.addresses[0], plan=lambda random, number: plan) as proxy,
    ):
        async with chatkit.connect(proxy.url, user="ann", reconnect=QUICK) as ann:
            with trio.fail_after(60):
                async with trio.open_nursery() as nursery:
                    for number in range(400):
                        nursery.start_soon(ann.rooms["general"].send, str(number))
        async with server.connect(user="bob") as bob:
            page = await bob.request(m.History(room="general", after=0, limit=1_000))
            texts = [one.event.text for one in page.events]  # type: ignore[attr-defined]
            assert sorted(texts, key=int) == [*map(str, range(400))]
        assert server.counters.closed[4429] == 0
