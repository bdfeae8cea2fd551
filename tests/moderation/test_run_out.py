"""Logins that run out while they are in use: they end then and not later, and those that are used on do not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from places import Place, place
from trio.testing import MockClock
from wires import Wire

from chatkit.backend.records import Change
from chatkit.engine.limits import EngineLimits
from chatkit.engine.login import Identity
from chatkit.errors import StorageUnavailable
from chatkit.protocol.messages import Login
from chatkit.server import ServerConfig

START = 1_700_000_000_000
RUN_OUT = (4403, "this login has run out: log in again")


class Vouching:
    """A server whose people come with another system's word, good until the second that their token names."""

    def __init__(self, here: Place) -> None:
        self.here = here

    async def comes(self, user: str, until: int | None = None) -> Wire:
        wire = await self.here.site.wire("memory")
        reply = await wire.data("login", user=user, token=f"until {until or ''}")
        wire.token = reply["token"]
        return wire

    async def program(self, token: str) -> Wire:
        wire = await self.here.site.wire("memory")
        await wire.data("login", user="any", token=token)
        return wire


@asynccontextmanager
async def vouching(**limits: Any) -> AsyncIterator[Vouching]:
    """Run such a server; the time of day goes with the clock, from a whole second on."""
    begun = trio.current_time()

    def now_ms() -> int:
        return START + round((trio.current_time() - begun) * 1000)

    async def vouch(login: Login, address: str | None) -> Identity | None:
        word, _, second = (login.token or "").partition(" ")
        end = START + int(second) * 1000 if second else None
        return Identity(id=login.user, name=login.user, expires_at=end) if word == "until" else None

    config = ServerConfig(rate_limits=False, now_ms=now_ms)
    async with place(config=config, limits=EngineLimits(**limits), authenticator=vouch, listen=("memory://",)) as here:
        yield Vouching(here)


async def lasts(wire: Wire, since: float) -> float:
    """Read to the end of a link; return when that was, in seconds."""
    with trio.fail_after(300):
        while await wire.receive_raw() is not None:
            pass
    return trio.current_time() - since


@pytest.mark.parametrize("second", [1, 59, 61, 95])
async def test_a_login_ends_at_the_moment_it_runs_out(second: int, autojump_clock: MockClock) -> None:
    began = trio.current_time()
    async with vouching() as server:
        bob = await server.comes("bob")
        ann = await server.comes("ann", second)
        assert await lasts(ann, began) == pytest.approx(second, abs=0.01)
        assert ann.close_reason() == RUN_OUT
        await bob.event("user_left", user="ann")


async def test_every_link_of_a_programs_token_ends_with_it_whenever_it_came(autojump_clock: MockClock) -> None:
    began = trio.current_time()
    async with vouching() as server:
        ann = await server.comes("ann")
        made = await ann.data("create_token", label="robot", seconds=70)
        early = await server.program(made["token"])
        await trio.sleep_until(began + 65)
        late = await server.program(made["token"])
        for robot in (early, late):
            assert await lasts(robot, began) == pytest.approx(70, abs=0.01)
            assert robot.close_reason() == RUN_OUT
        await ann.sync()


async def test_those_who_come_in_later_end_in_their_turn(autojump_clock: MockClock) -> None:
    began = trio.current_time()
    async with vouching() as server:
        await trio.sleep_until(began + 61.5)
        seconds = (90, 75, 110, 80)
        wires = [await server.comes(f"user{second}", second) for second in seconds]
        for second, wire in sorted(zip(seconds, wires, strict=True), key=lambda one: one[0]):
            assert await lasts(wire, began) == pytest.approx(second, abs=0.01)


async def test_a_login_that_has_run_out_already_is_no_login(autojump_clock: MockClock) -> None:
    began = trio.current_time()
    async with vouching() as server:
        await trio.sleep_until(began + 10)
        ann = await server.comes("ann", 9)
        assert await lasts(ann, began) == pytest.approx(10, abs=0.01)


async def test_a_login_ends_also_while_the_store_is_out_of_reach(autojump_clock: MockClock) -> None:
    began = trio.current_time()
    async with vouching() as server:

        async def out_of_reach(changes: Sequence[Change]) -> None:
            raise StorageUnavailable("the disk is away")

        ann = await server.comes("ann", 30)
        server.here.store.before_commit = out_of_reach
        assert await lasts(ann, began) == pytest.approx(30, abs=0.01)


@pytest.mark.parametrize("life", [40.0, 90.0, 4000.0])
async def test_a_login_that_is_in_use_does_not_run_out(life: float, autojump_clock: MockClock) -> None:
    async with vouching(session_life=life) as server:
        ann = await server.comes("ann")
        for _ in range(5):
            await trio.sleep(life / 2)
            await ann.sync()
        ann.cut()
        await trio.sleep(life / 2 - 1)
        again = await server.program(ann.token)
        await again.sync()
        await again.aclose()
        await trio.sleep(life + 1)
        stranger = await server.here.site.wire("memory")
        assert await stranger.code("login", user="ann", token=ann.token) == "bad_credentials"


async def test_ending_those_who_have_run_out_costs_no_task_each(autojump_clock: MockClock) -> None:
    async with vouching() as server:
        await server.comes("ann", 30)
        tasks = trio.lowlevel.current_statistics().tasks_living
        bob = await server.comes("bob")
        without = trio.lowlevel.current_statistics().tasks_living
        cy = await server.comes("cy", 30)
        assert trio.lowlevel.current_statistics().tasks_living - without == without - tasks
        await bob.sync()
        await cy.sync()
