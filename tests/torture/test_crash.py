"""The server killed again and again under senders: nothing acknowledged is lost, nothing is kept twice, no seq skipped.

Killed at random moments, and by strace at chosen system calls: writes and syncs of the database and its log, and what
goes out on sockets. The clients stay, and come back by themselves.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import pytest
import trio
from attrs import frozen
from checks import Verdict, compare, fetched_log
from crowd import Crowd, talking
from processes import reserved_ports, running

import chatkit

KILLS = int(os.environ.get("CHATKIT_KILLS", "60" if os.environ.get("CI") == "true" else "16"))
CLIENTS = 50
PATIENCE = 30.0
"""Seconds that anything may take on a busy machine before it counts as stuck."""
REACHED = 3.0
"""Seconds after which a server that has not come to the chosen system call is killed where it is."""

FILES = ("", "-wal", "-shm", "-journal")
ON_DISK = ("pwrite64", "fdatasync")
CHECKPOINT_ALWAYS = "wal_autocheckpoint = 10"
"""Pages after which the write-ahead log moves into the database; else no run would live to see that."""


@frozen
class Kill:
    """How one run of the server is to end."""

    how: str
    """``random``, or the system call that ends it."""
    when: float
    """The time since it listens, in seconds; or which of these calls."""
    pragma: str = ""

    def tracer(self, store: Path) -> Sequence[str]:
        """Return the command to run the server by."""
        if self.how == "random":
            return ()
        paths = [f"--trace-path={store}{suffix}" for suffix in FILES] if self.how in ON_DISK else []
        return (
            *("strace", "-f", "-qq", "-o", os.devnull, *paths),
            *("-e", f"trace={self.how}", "-e", f"inject={self.how}:signal=SIGKILL:when={self.when:.0f}"),
        )


def drawn(random: Random, number: int) -> Kill:
    """Draw how the next run ends: half of them at random moments, half at chosen calls, early ones more often."""
    if number % 2:
        return Kill("random", random.choice((0.0, random.uniform(0, 0.2), random.uniform(0, 0.8))))
    how = random.choice(("pwrite64", "pwrite64", "fdatasync", "sendto"))
    first = 30 if how == "sendto" else 1  # threads wake the loop by it, a few times before the server listens
    return Kill(how, first + int(2 ** random.uniform(0, 8)), random.choice(("", CHECKPOINT_ALWAYS)))


@pytest.mark.timeout(KILLS * 4 + 90)
async def test_killed_again_and_again(
    tmp_path: Path, require_tool: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    require_tool("strace")
    store, random = tmp_path / "chat.db", Random(os.environ.get("CHATKIT_SEED", "1"))
    ends: Counter[str] = Counter()
    with reserved_ports(2) as (ws, tcp):
        listen = [f"ws://127.0.0.1:{ws}", f"tcp://127.0.0.1:{tcp}"]
        async with talking(listen, CLIENTS, pause=1.0) as crowd:
            for number in range(KILLS):
                ends[await run_and_kill(drawn(random, number), store, listen, crowd)] += 1
            verdict = await judged(store, listen, crowd)
    with capsys.disabled():
        print(f"\ncrashes: {KILLS} kills ({', '.join(f'{how} {n}' for how, n in sorted(ends.items()))}): {verdict}")
    assert verdict.violations == []
    assert verdict.acked > KILLS


async def run_and_kill(kill: Kill, store: Path, listen: Sequence[str], crowd: Crowd) -> str:
    """Run the server once, until it is killed; say what killed it."""
    async with running(store, listen, under=kill.tracer(store), pragma=kill.pragma) as server:
        if kill.how == "random":
            await trio.sleep(kill.when)
            server.send_signal(signal.SIGKILL)
            await server.wait()
            return "random"
        with trio.move_on_after(REACHED):
            await server.wait()
            return f"{kill.how}{'' if server.listens else ' while starting'}"
    return f"{kill.how} not reached"


async def judged(store: Path, listen: Sequence[str], crowd: Crowd) -> Verdict:
    """Let the crowd come to its end on a server that lives; hold what it saw against the log."""
    async with running(store, listen) as server:
        assert server.listens
        with trio.fail_after(PATIENCE):
            await crowd.arrive()
            await crowd.fall_silent()
            async with chatkit.connect(listen[0], user="archivist") as client:
                log = await fetched_log(client)
            await crowd.heard()
        return compare(log, crowd.witnesses)
