"""Who is let in: caps on connections in all, from one address and without a login; and thousands who only knock."""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import pytest
import trio
from attrs import define
from hypothesis import given
from hypothesis import strategies as st
from neighbours import Contexts
from raw import PATIENCE, Raw, dial, member, upgrade
from tests.torture.processes import Holdings, ServerProcess, reserved_ports, running

from chatkit.server import ServerConfig
from chatkit.server.door import Door, Pass
from chatkit.server.statistics import Counters

LONG = "TORTURE_STRANGERS" in os.environ
STRANGERS = int(os.environ.get("TORTURE_STRANGERS", "500"))
ATTACKER = "127.0.0.2"
SETTLED = 12.0
"""Seconds within which everything an attacker held is free again."""
GOOD_LOGIN = 2.0
"""Seconds, twice what is promised."""

# ── the door alone ───────────────────────────────────────────────────────────────────────────────────────────────────


class Visitors:
    """Those who come to a door, and whether they were thrown out."""

    def __init__(self, **limits: int | bool) -> None:
        self.counters = Counters()
        self.door = Door(ServerConfig(**limits), self.counters)  # type: ignore[arg-type]
        self.thrown_out: list[str] = []

    def come(self, peer: str, now: float = 0.0) -> Pass | None:
        return self.door.enter(peer, self._noting(peer), now)

    def _noting(self, peer: str) -> Callable[[], None]:
        return lambda: self.thrown_out.append(peer)


def test_the_cap_on_all_turns_away_who_comes_next() -> None:
    visitors = Visitors(max_connections=2)
    first, second = visitors.come("10.0.0.1:1"), visitors.come("10.0.0.2:1")
    assert first
    assert second
    assert visitors.come("10.0.0.3:1") is None
    assert visitors.thrown_out == []
    first.leave()
    first.leave()
    assert visitors.come("10.0.0.3:1")
    assert visitors.come("10.0.0.4:1") is None
    assert visitors.counters.turned_away["full"] == 2


@pytest.mark.parametrize(
    ("ones", "other"),
    [
        (["10.0.0.1:1", "10.0.0.1:2"], "10.0.0.2:1"),
        (["[2001:db8::1]:1", "[2001:db8::ffff:1]:2"], "[2001:db8:0:1::1]:1"),
        (["[::ffff:10.0.0.1]:1", "10.0.0.1:2"], "[::ffff:10.0.0.2]:1"),
    ],
)
@pytest.mark.parametrize("logged_in", [True, False])
def test_the_caps_on_one_address(ones: list[str], other: str, logged_in: bool) -> None:
    visitors = Visitors(max_connections_per_address=2, max_strangers_per_address=1 + logged_in)
    inside = [visitors.come(one) for one in ones]
    assert all(inside)
    if logged_in:
        for one in inside:
            assert one
            one.logged_in()
        assert visitors.come(ones[0]) is None
        assert visitors.counters.turned_away["address"] == 1
    else:
        assert visitors.thrown_out == ones[:1], "the oldest has to go"
    assert visitors.come(other)
    assert len(visitors.thrown_out) == (0 if logged_in else 1)


def test_within_the_process_nobody_counts_by_address() -> None:
    visitors = Visitors(max_connections_per_address=1, max_strangers_per_address=1)
    assert all(visitors.come("memory") for _ in range(10))
    assert visitors.thrown_out == []


def test_the_cap_on_strangers_makes_the_oldest_go_and_nobody_who_is_logged_in() -> None:
    visitors = Visitors(max_strangers=2)
    known = visitors.come("10.0.0.1:1")
    assert known
    known.logged_in()
    for number in range(2, 6):
        assert visitors.come(f"10.0.0.{number}:1")
    assert visitors.thrown_out == ["10.0.0.2:1", "10.0.0.3:1"]


def test_where_many_wait_nobody_waits_long() -> None:
    visitors = Visitors(crowd=3, crowd_timeout=10)
    passes = [visitors.come(f"10.0.0.{number}:1", float(number)) for number in range(6)]
    assert passes[1]
    passes[1].logged_in()
    visitors.door.hurry(9.9)
    assert visitors.thrown_out == []
    visitors.door.hurry(12.0)
    assert visitors.thrown_out == ["10.0.0.0:1", "10.0.0.2:1"]
    visitors.door.hurry(30.0)
    assert visitors.thrown_out == [f"10.0.0.{number}:1" for number in (0, 2, 3, 4, 5)], "they came in a crowd"
    late = [visitors.come(f"10.0.1.{number}:1", 40.0) for number in range(2)]
    visitors.door.hurry(60.0)
    assert all(one in visitors.door._inside for one in late), "two are no crowd"


def test_without_rates_the_caps_per_address_are_off_and_the_others_stay() -> None:
    limits = {"max_connections": 5, "max_strangers": 4, "max_strangers_per_address": 1}
    visitors = Visitors(rate_limits=False, max_connections_per_address=1, **limits)
    assert all(visitors.come(f"10.0.0.1:{number}") for number in range(5))
    assert visitors.thrown_out == ["10.0.0.1:0"]


peers = st.sampled_from(["10.0.0.1:1", "10.0.0.2:1", "[2001:db8::1]:1", "[2001:db8::2]:1", "memory"])


@given(steps=st.lists(st.tuples(st.sampled_from(["come", "log in", "leave"]), peers, st.integers(0, 20)), max_size=80))
def test_whatever_happens_the_caps_hold_and_nothing_is_left(steps: list[tuple[str, str, int]]) -> None:
    caps = {"max_connections": 6, "max_connections_per_address": 4, "max_strangers": 4, "max_strangers_per_address": 2}
    door = Door(ServerConfig(**caps), Counters())  # type: ignore[arg-type]
    inside: list[Pass] = []
    known: set[int] = set()

    def enter(peer: str) -> None:
        new: list[Pass] = []

        def thrown_out() -> None:
            assert id(new[0]) not in known, "somebody who is logged in has to go"
            inside.remove(new[0])

        entering = door.enter(peer, thrown_out)
        if entering is not None:
            new.append(entering)
            inside.append(entering)

    for action, peer, which in steps:
        if action == "come":
            enter(peer)
        elif inside:
            one = inside[which % len(inside)]
            if action == "log in":
                one.logged_in()
                known.add(id(one))
            else:
                one.leave()
                inside.remove(one)
        strangers = [one for one in inside if id(one) not in known]
        by_address = [one.address for one in inside if one.address]
        assert len(inside) <= 6
        assert len(strangers) <= 4
        assert all(by_address.count(address) <= 4 for address in by_address)
    for one in list(inside):
        one.leave()
    assert not door._inside
    assert not door._waiting
    assert not door._by_address
    assert not door._waiting_by_address


# ── thousands who only knock ─────────────────────────────────────────────────────────────────────────────────────────

CLIENT_HELLO = b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(range(160))
BROKEN_OFF = {
    "ws": upgrade()[:-2],
    "tcp": b'{"action":"login"',
    "wss": CLIENT_HELLO,
    "tls": CLIENT_HELLO,
}
"""Handshakes of which some first part is sent."""
IMPATIENT = () if LONG else ("--set", "transport.handshake_timeout=1.5", "--set", "crowd_timeout=1.5")
"""In the short form nobody waits ten seconds."""
SECURED = 10
"""Of so many strangers over TLS one has shaken hands about TLS, and breaks off behind it."""


@define(eq=False)
class Street:
    """A server on every binding, and what it has when nobody is there."""

    server: ServerProcess
    urls: tuple[str, ...]
    context: ssl.SSLContext
    baseline: Holdings

    async def good_login(self, url: str, name: str) -> float:
        """Return how long a login and a message take."""
        begun = monotonic()
        async with member(url, self.context, user=name) as here:
            assert (await here.ask("send_message", room="general", text="x"))["action"] == "success"
            return monotonic() - begun

    async def good_logins(self, name: str) -> float:
        """Return how long the slowest takes, over all bindings."""
        return max([await self.good_login(url, f"{name}{which}") for which, url in enumerate(self.urls)])

    async def knock(self, url: str, links: list[Raw]) -> None:
        """Begin as many handshakes, from an address of the attacker's own, and finish none."""
        kind = url.partition(":")[0]
        for number in range(STRANGERS):
            secured = kind in ("wss", "tls") and number % SECURED == 0
            raw = await dial(url, self.context if secured else None, source=ATTACKER)
            links.append(raw)
            half = BROKEN_OFF["ws" if secured else kind]
            await raw.send(half[: 1 + number % len(half)])

    async def back_to_quiet(self) -> float:
        """Return once the server has what it had, and how long that took."""
        begun = monotonic()
        while True:
            now = await self.server.holds()
            if now.descriptors == self.baseline.descriptors and now.tasks <= self.baseline.tasks:
                return monotonic() - begun
            assert monotonic() - begun < 2 * SETTLED, (len(now.descriptors), len(self.baseline.descriptors), now.tasks)
            await trio.sleep(0.1)


@asynccontextmanager
async def street(tmp_path: Path, contexts: Contexts, *options: str) -> AsyncIterator[Street]:
    with reserved_ports(4) as ports, trio.fail_after(20 * PATIENCE):
        urls = tuple(f"{kind}://127.0.0.1:{port}" for kind, port in zip(BROKEN_OFF, ports, strict=True))
        async with running(tmp_path / "chat.db", urls, options=options) as server:
            here = Street(server, urls, contexts.client, await server.holds())
            await here.good_logins("first")
            await trio.sleep(1.2)  # until they are taken for gone
            here.baseline = await server.holds()
            yield here


@pytest.mark.parametrize("options", [(), ("--no-rate-limits",)], ids=["limits", "no limits"])
async def test_half_open_handshakes(
    options: tuple[str, ...],
    tls_options: tuple[str, ...],
    contexts: Contexts,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with street(tmp_path, contexts, *options, *tls_options) as here:
        for number, url in enumerate(here.urls):
            links: list[Raw] = []
            try:
                await here.knock(url, links)
                held = await here.good_logins(f"b{number}")
                most = await here.server.holds()
            finally:
                for at, raw in enumerate(links):
                    raw.reset() if at % 2 else raw.close()
            settled = await here.back_to_quiet()
            for at in range(STRANGERS):
                raw = await dial(url, source=ATTACKER)
                raw.reset() if at % 2 else raw.close()
            dropped = await here.good_logins(f"c{number}")
            settled_again = await here.back_to_quiet()
            assert max(held, dropped) < GOOD_LOGIN
            with capsys.disabled():
                print(
                    f"\n{STRANGERS} handshakes half done over {url.partition(':')[0]}, {options or 'limits'}: "
                    f"{len(most.descriptors) - len(here.baseline.descriptors)} descriptors held, "
                    f"good logins {held:.3f} and {dropped:.3f} s, free again after "
                    f"{settled:.1f} and {settled_again:.1f} s, "
                    f"{(most.resident - here.baseline.resident) / 1_048_576:+.1f} MiB at the most"
                )


@pytest.mark.parametrize("kind", BROKEN_OFF)
async def test_handshakes_held_for_ever_are_ended_by_the_server(
    kind: str,
    tls_options: tuple[str, ...],
    contexts: Contexts,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with street(tmp_path, contexts, "--no-rate-limits", *IMPATIENT, *tls_options) as here:
        links: list[Raw] = []
        try:
            await here.knock(next(url for url in here.urls if url.startswith(f"{kind}:")), links)
            settled = await here.back_to_quiet()
            good = await here.good_logins("d")
        finally:
            for raw in links:
                raw.close()
    assert good < GOOD_LOGIN
    with capsys.disabled():
        print(f"\n{STRANGERS} handshakes held for ever over {kind}: free again after {settled:.1f} s")
