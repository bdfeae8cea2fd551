"""Many clients over a bad network: nobody misses or hears anything twice, and the order is the same for everybody."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio
from checks import Log, Witness, compare, fetched_log
from crowd import talking
from processes import Holdings, ServerProcess, reserved_ports, running

import chatkit
from chatkit.testing import FaultProxy, mixed_faults

SECONDS = float(os.environ.get("CHATKIT_CUT_SECONDS", "5"))
CLIENTS = 100 if SECONDS >= 30 else 40
EVERY = 2.0
"""Seconds a link lasts, about."""
SETTLING = 60.0
"""Seconds that coming back, and letting go, may take on a busy machine."""


@pytest.mark.timeout(SECONDS * 3 + 2 * SETTLING)
async def test_clients_that_are_cut_off_all_the_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with reserved_ports(2) as (ws, tcp):
        listen = [f"ws://127.0.0.1:{ws}", f"tcp://127.0.0.1:{tcp}"]
        async with running(tmp_path / "chat.db", listen) as server:
            before = await server.holds()
            log, witnesses, lost_links = await cut_all_the_time(listen)
            after = await settled(server, before)
    verdict = compare(log, witnesses)
    growth = (after.resident - before.resident) / 2**20
    with capsys.disabled():
        print(f"\ncut links: {lost_links} lost, {verdict}; the server holds {growth:.1f} MiB more")
    assert verdict.violations == []
    assert lost_links > CLIENTS
    assert (after.tasks, after.descriptors) == (before.tasks, before.descriptors)


async def cut_all_the_time(listen: Sequence[str]) -> tuple[Log, list[Witness], int]:
    """Let a crowd talk over a bad network for a while; return the log, what they saw, and how many links were lost."""
    plan = mixed_faults(EVERY)
    async with FaultProxy(listen[0], seed=1, plan=plan) as ws, FaultProxy(listen[1], seed=2, plan=plan) as tcp:
        with trio.fail_after(SECONDS + SETTLING):
            async with talking((ws.url, tcp.url), CLIENTS, pause=CLIENTS / 40) as crowd:
                await crowd.arrive()
                await trio.sleep(SECONDS)
                await crowd.fall_silent()
                await crowd.heard()
        lost = sum(proxy.counters.cut + proxy.counters.reset + proxy.counters.swallowed for proxy in (ws, tcp))
    async with chatkit.connect(listen[0], user="archivist") as client:
        return await fetched_log(client), crowd.witnesses, lost


async def settled(server: ServerProcess, before: Holdings) -> Holdings:
    """Return what the server holds, once that is no more than before or it has had time enough."""
    with trio.move_on_after(SETTLING):
        while True:
            after = await server.holds()
            if (after.tasks, after.descriptors) == (before.tasks, before.descriptors):
                break
            await trio.sleep(0.1)
    return await server.holds()
