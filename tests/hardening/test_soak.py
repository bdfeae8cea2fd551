"""Minutes of people who come, talk, are cut off and go: nothing of it stays behind. And everything at once."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from random import Random
from statistics import linear_regression, quantiles
from time import monotonic

import pytest
import trio
from raw import PATIENCE, Member, Raw, dial, greet, member, upgrade
from tests.torture.processes import Holdings, ServerProcess, reserved_ports, running
from wire_frames import FrameReader

import chatkit
from chatkit.client import Backoff
from chatkit.testing import Ending, FaultProxy, Plan

SOAK = float(os.environ.get("TORTURE_SOAK_SECONDS", "12"))
CROWD = os.environ.get("TORTURE_CROWD", "400 300 30").split(" ")
"""Idle members, half-done handshakes, members of the room that talks."""
MIB = 1_048_576
PEOPLE = 16
LINGER = 1.5
"""Seconds after which the server takes somebody whose link broke for gone."""
SMALL_CACHE = "cache_size = -1024"
"""KiB, instead of 16 MiB: on a busy machine the store's own cache would still be filling in the last minute."""
QUICK = Backoff(first=0.02, factor=1.5, most=0.2)


async def back_to(baseline: Holdings, server: ServerProcess, seconds: float = 24.0) -> Holdings:
    """Return once the server has no more tasks and descriptors than it had."""
    begun = monotonic()
    while True:
        now = await server.holds()
        if (now.descriptors, now.tasks) == (baseline.descriptors, baseline.tasks):
            await trio.sleep(LINGER)
            return await server.holds()
        assert monotonic() - begun < seconds, (now.tasks, baseline.tasks, len(now.descriptors), baseline.descriptors)
        await trio.sleep(0.2)


# ── coming and going ─────────────────────────────────────────────────────────────────────────────────────────────────


async def live(name: str, urls: list[str], until: Callable[[], bool], said: list[int]) -> None:
    """Come and go, again and again, always as the same person."""
    random, token = Random(name), None
    while until():
        with suppress(chatkit.ConnectFailed, chatkit.Disconnected, chatkit.RequestFailed):
            encoding = random.choice(("json", "msgpack"))
            url = random.choice(urls)
            async with chatkit.connect(
                url, user=name, token=token, reconnect=QUICK, encoding=encoding if url.startswith("ws") else "json"
            ) as client:
                token = client.token
                for _ in range(random.randrange(1, 4)):
                    await visit(client, random, said)


async def visit(client: chatkit.Client, random: Random, said: list[int]) -> None:
    """Be in a room for a while."""
    name = f"room{random.randrange(8)}"
    try:
        room = await client.create(name, topic="soak")
    except chatkit.RequestFailed:
        room = await client.join(name, history=random.choice((0, 5, 50)))
    for _ in range(random.randrange(1, 8)):
        await room.send("x" * random.choice((1, 10, 100, 1_000, 20_000)))
        said[0] += 1
    action = random.randrange(4)
    if action == 0:
        await room.history(limit=100)
        await room.users()
    elif action == 1:
        await room.leave()
    elif action == 2:
        with suppress(chatkit.RequestFailed):
            await room.delete()
    else:
        await trio.sleep(random.random() / 10)


async def bother(urls: list[str], until: Callable[[], bool]) -> None:
    """Come without logging in, with nonsense, and leave without a word."""
    random = Random(0)
    while until():
        raw = await dial(random.choice(urls), source="127.0.0.2")
        data = random.choice((b"", b"\xff" * 100, upgrade(), upgrade()[:50], b'{"action":"login"}\n', b"{}\n" * 30))
        await raw.send(data)
        await trio.sleep(random.random() / 50)
        raw.reset() if random.random() < 0.5 else raw.close()


def lifetimes(random: Random, number: int) -> Plan:
    return Plan(lifetime=random.uniform(0.05, 3.0), ending=random.choice((Ending.CUT, Ending.RESET)))


async def test_coming_and_going(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = [0]
    with reserved_ports(2) as (ws, tcp):
        urls = [f"ws://127.0.0.1:{ws}", f"tcp://127.0.0.1:{tcp}"]
        async with (
            running(tmp_path / "chat.db", urls, pragma=SMALL_CACHE) as server,
            FaultProxy(urls[0], plan=lifetimes) as bad_ws,
            FaultProxy(urls[1], plan=lifetimes) as bad_tcp,
        ):
            async with member(urls[0], user="first"):
                pass
            await trio.sleep(LINGER)
            baseline = await server.holds()
            end = monotonic() + SOAK
            samples: list[tuple[float, Holdings]] = []

            def going_on() -> bool:
                return monotonic() < end

            async with trio.open_nursery() as nursery:
                for number in range(PEOPLE):
                    nursery.start_soon(live, f"p{number}", [*urls, bad_ws.url, bad_tcp.url], going_on, said)
                nursery.start_soon(bother, urls, going_on)
                while going_on():
                    await trio.sleep(SOAK / 200)
                    samples.append((monotonic(), await server.holds()))
            after = await back_to(baseline, server)
    settled = samples[len(samples) // 3 :]
    heap, blocks, resident = (growth(settled, name) for name in ("heap", "blocks", "resident"))
    with capsys.disabled():
        print(
            f"\n{SOAK:.0f} s of coming and going, {said[0]} messages, {bad_ws.counters.links + bad_tcp.counters.links} "
            f"links; over the last two thirds: {heap / MIB:+.2f} MiB in use, {blocks:+.0f} objects; resident "
            f"{baseline.resident / MIB:.1f} MiB before, {settled[0][1].resident / MIB:.1f} after a third, "
            f"{samples[-1][1].resident / MIB:.1f} at the end, {after.resident / MIB:.1f} afterwards, "
            f"{resident / MIB:+.2f}"
        )
    assert said[0] > SOAK * 10
    if SOAK >= 300:
        assert heap <= MIB
        assert blocks < 10_000
        assert resident <= 4 * MIB, "there are more holes between what is in use than chance makes"


def growth(samples: list[tuple[float, Holdings]], name: str) -> float:
    """Return by how much something grew over these samples, by the line that fits them best."""
    times, values = zip(*((at, getattr(now, name)) for at, now in samples), strict=True)
    return linear_regression(times, values).slope * (times[-1] - times[0])


# ── everything at once ───────────────────────────────────────────────────────────────────────────────────────────────


async def drain(raw: Raw) -> None:
    """Read and forget."""
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        while await raw.stream.receive_some(65_536):
            pass


async def idle(url: str, name: str) -> Raw:
    """Log in, leave the default room, and do nothing more than that."""
    raw = await dial(url)
    here = Member(raw, url.startswith("tcp"))
    await greet(here, name)
    assert (await here.ask("leave_room", room="general"))["action"] == "success"
    here.raw.frames, here.events = FrameReader(), []
    return raw


@asynccontextmanager
async def many(count: int, make: Callable[[int], Awaitable[Raw]]) -> AsyncIterator[list[Raw]]:
    """Have many links, made forty at a time; all are let go at the end."""
    links: list[Raw] = []
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            links.append(await make(number))

    try:
        async with trio.open_nursery() as working:
            for _ in range(40):
                working.start_soon(work)
        yield links
    finally:
        for raw in links:
            raw.close()


async def half_done(url: str, number: int) -> Raw:
    raw = await dial(url, source="127.0.0.2")
    await raw.send(upgrade()[: 1 + number % 100] if url.startswith("ws") else b"{"[: number % 2])
    return raw


async def percentiles(room: list[Member], seconds: float) -> tuple[float, float]:
    """Let the first talk, fifty times a second; return how long the others wait, p50 and p99 in milliseconds."""
    delays: list[float] = []
    count = int(seconds * 50)

    async def listen(here: Member) -> None:
        heard = 0
        while heard < count:
            envelope = await here.hear()
            assert envelope is not None, "a member of the room lost its link"
            if envelope["action"] == "receive_message":
                delays.append(monotonic() - float(envelope["data"]["text"]))
                heard += 1

    async with trio.open_nursery() as nursery:
        for here in room:
            nursery.start_soon(listen, here)
        for number in range(count):
            await room[0].say("send_message", number, room="busy", text=repr(monotonic()))
            await trio.sleep(0.02)
    assert len(delays) == count * len(room), "a message is missing"
    cuts = quantiles(delays, n=100)
    return cuts[49] * 1000, cuts[98] * 1000


async def test_everything_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    idlers, strangers, talkers = map(int, CROWD)
    seconds = 2.0 if idlers < 1000 else 10.0
    with reserved_ports(2) as (ws, tcp), trio.fail_after(60 * PATIENCE):
        urls = [f"ws://127.0.0.1:{ws}", f"tcp://127.0.0.1:{tcp}"]

        @asynccontextmanager
        async def crowd() -> AsyncIterator[float]:
            """Idle members and half-done handshakes; gives what one idle member costs, in bytes."""
            async with trio.open_nursery() as nursery:
                before = await server.holds()
                async with many(idlers, lambda number: idle(urls[number % 2], f"i{number}")) as links:
                    for raw in links:
                        nursery.start_soon(drain, raw)
                    after = await server.holds()
                    async with many(strangers, lambda number: half_done(urls[number % 2], number)):
                        yield (after.resident - before.resident) / idlers
                nursery.cancel_scope.cancel()

        async with running(tmp_path / "chat.db", urls) as server:
            async with member(urls[0], user="first"):
                pass
            await trio.sleep(LINGER)
            empty = await server.holds()
            async with crowd() as each:
                pass
            baseline = await back_to(empty, server)
            async with AsyncExitStack() as stack:
                room = []
                for number in range(talkers):
                    here = await stack.enter_async_context(member(urls[number % 2], user=f"t{number}"))
                    action = "join_room" if number else "create_room"
                    assert (await here.ask(action, room="busy"))["action"] == "success"
                    assert (await here.ask("leave_room", room="general"))["action"] == "success"
                    room.append(here)
                quiet = await percentiles(room, seconds)
                await stack.enter_async_context(crowd())
                stuck = await stack.enter_async_context(member(urls[0], user="stuck", receive_buffer=4096))
                assert (await stuck.ask("join_room", room="busy"))["action"] == "success"
                beside = await percentiles(room, seconds)
                most = await server.holds()
            gone = await back_to(empty, server)
    with capsys.disabled():
        print(
            f"\n{idlers} idle members ({each / 1024:.1f} KiB each), {strangers} half-done handshakes, one who reads "
            f"nothing: a room of {talkers} waits {beside[0]:.1f} ms (p50), {beside[1]:.1f} ms (p99); "
            f"{quiet[0]:.1f} and {quiet[1]:.1f} ms without them; memory {empty.resident / MIB:.0f} MiB at first, "
            f"{baseline.resident / MIB:.0f} after such a crowd, {most.resident / MIB:.0f} at the most, "
            f"{gone.resident / MIB:.0f} afterwards; {empty.blocks}, {baseline.blocks}, {most.blocks}, {gone.blocks} blocks"  # noqa: E501
        )
    assert gone.blocks - baseline.blocks < 10_000, "objects are left"
    assert gone.blocks - empty.blocks < (most.blocks - empty.blocks) / 10 + 20_000
    assert gone.resident - baseline.resident < 16 * MIB, "the second crowd needed more than the first left"
