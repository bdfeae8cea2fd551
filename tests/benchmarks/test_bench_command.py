"""``chatkit bench``: what it finds, and what it says about it."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest
import trio

from chatkit import ServerConfig, UsageError, open_server
from chatkit.engine.limits import EngineLimits
from chatkit.errors import ConnectFailed, Disconnected, RequestFailed
from chatkit.frontends.bench.findings import Findings
from chatkit.frontends.bench.load import Plan, measure
from chatkit.frontends.bench.page import as_json, as_text, histogram

PLAN = Plan(url="", members=5, rooms=2, rate=100.0, duration=0.2, size=64)
LISTEN = ("ws://127.0.0.1:0", "tcp://127.0.0.1:0")


@pytest.mark.parametrize("address", [0, 1])
async def test_everything_said_is_found_to_have_arrived(tmp_path: Path, address: int) -> None:
    async with open_server(f"sqlite:///{tmp_path}/chat.db", listen=LISTEN) as server:
        findings = await measure(attrs.evolve(PLAN, url=server.addresses[address]))
        assert findings.sound, as_text(findings)
        assert findings.said == findings.acknowledged == 20
        # Of five members three are in the first room and two in the second; their turns come round evenly.
        assert findings.deliveries == 4 * (3 * 3 + 2 * 2)
        assert len(findings.latencies) == findings.deliveries
        async with server.connect(user="ann") as client:
            assert set(client.state.rooms) == {"general"}, "its rooms are gone afterwards"


async def test_nobody_in_general_hears_of_it() -> None:
    counts: set[int] = set()
    async with open_server("memory://", listen=LISTEN) as server, server.connect(user="ann") as ann:
        await measure(
            attrs.evolve(PLAN, url=server.addresses[0]), lambda *_: counts.add(ann.state.rooms["general"].users)
        )
    assert counts == {1}


async def test_progress_reaches_its_totals() -> None:
    seen: dict[str, tuple[int, int]] = {}
    async with open_server("memory://", listen=LISTEN) as server:
        await measure(
            attrs.evolve(PLAN, url=server.addresses[0]),
            lambda stage, done, total: seen.update({stage: (done, total)}),
        )
    assert seen == {"members come in": (5, 5), "messages are said": (20, 20)}


async def test_a_server_that_stops_meanwhile_is_a_lost_connection() -> None:
    async with open_server("memory://", listen=LISTEN) as server:

        def stop(stage: str, done: int, total: int) -> None:
            if stage == "messages are said" and done == 3:
                server.stop()

        with pytest.raises(Disconnected) as caught:
            await measure(attrs.evolve(PLAN, url=server.addresses[0]), stop)
    assert caught.value.code in (1001, 1006)


async def test_a_refused_login_or_room_says_why() -> None:
    limits = EngineLimits(rooms_per_session=0)
    async with open_server("memory://", listen=LISTEN, config=ServerConfig(engine=limits)) as server:
        with pytest.raises(RequestFailed):
            await measure(attrs.evolve(PLAN, url=server.addresses[0]))


async def test_what_is_no_server_is_said_to_be_none(free_port: int) -> None:
    with pytest.raises(ConnectFailed):
        await measure(attrs.evolve(PLAN, url=f"tcp://127.0.0.1:{free_port}"))


@pytest.fixture
async def free_port() -> int:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port: int = listener.socket.getsockname()[1]
    await listener.aclose()
    return port


@pytest.mark.parametrize(
    "wrong", [{"members": 0}, {"rooms": 6}, {"rooms": 0}, {"rate": 0.0}, {"duration": float("inf")}, {"size": 3}]
)
def test_a_plan_that_makes_no_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        attrs.evolve(PLAN, **wrong)


# ── the page ─────────────────────────────────────────────────────────────────────────────────────────────────────────

SOUND = Findings(
    url="ws://h",
    members=2,
    rooms=1,
    rate=10.0,
    size=100,
    seconds=2.0,
    logins_per_second=100.0,
    said=20,
    acknowledged=20,
    refused={},
    deliveries=40,
    lost=0,
    duplicates=0,
    disordered=0,
    own_share=0.1,
    latencies=[0.001] * 39 + [0.3],
)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({}, "Everything said reached everybody, once and in order."),
        ({"lost": 3}, "3 deliveries were lost"),
        ({"duplicates": 1}, "1 deliveries came twice"),
        ({"disordered": 1}, "1 deliveries came out of order"),
        ({"acknowledged": 19}, "1 messages were never answered"),
        ({"acknowledged": 19, "refused": {"rate_limited": 1}}, "1 messages were refused (rate_limited)"),
        ({"own_share": 0.97}, "This program was busy 97% of the time"),
    ],
)
def test_the_verdict(change: dict[str, object], sentence: str) -> None:
    findings = attrs.evolve(SOUND, **change)
    assert sentence in as_text(findings)
    assert findings.sound is (not change or "own_share" in change)


def test_json_says_the_same() -> None:
    said = json.loads(as_json(SOUND))
    assert said["sound"] is True
    assert said["deliveries_per_second"] == 20.0
    assert said["latency_ms"] == {"p50": 1.0, "p90": 1.0, "p99": 300.0, "p99.9": 300.0, "max": 300.0}


def test_without_deliveries_there_is_no_latency() -> None:
    nothing = attrs.evolve(SOUND, deliveries=0, latencies=[])
    assert json.loads(as_json(nothing))["latency_ms"]["p50"] is None
    assert "ms" not in as_text(nothing)


def test_the_histogram_begins_and_ends_where_there_is_something() -> None:
    lines = list(histogram([0.001] * 39 + [0.3]))
    assert lines[0].split()[:3] == ["1", "-", "2"]
    assert lines[-1].split()[:3] == ["200", "-", "500"]
    assert lines[0].endswith("97.5%")
    assert "█" * 40 in lines[0]
