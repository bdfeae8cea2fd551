"""A member that reads nothing: it costs bounded memory, nobody notices, and it misses nothing when it reads again."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import quantiles
from time import monotonic

import pytest
import trio
import trio.testing
from neighbours import Contexts
from raw import PATIENCE, Member, member
from tests.server.wires import site
from tests.torture.processes import reserved_ports, running

from chatkit.server import ServerConfig

MIB = 1_048_576
SLOW = 8
"""Members that read nothing; what they cost is divided by them."""
PADDING = "x" * 10_000


@asynccontextmanager
async def listening(url: str, name: str, delays: list[float]) -> AsyncIterator[Member]:
    """Be there and read everything at once, noting how long each message was on its way."""
    async with member(url, user=name) as here, trio.open_nursery() as nursery:

        async def listen() -> None:
            while (envelope := await here.hear()) is not None:
                if envelope["action"] == "receive_message":
                    delays.append(monotonic() - float(envelope["data"]["text"].split(" ")[1]))

        nursery.start_soon(listen)
        yield here
        nursery.cancel_scope.cancel()


async def talk(talker: Member, count: int, first: int = 0) -> None:
    """Say many large things, each with its number and the time."""
    for number in range(first, first + count):
        reply = await talker.ask("send_message", room="general", text=f"{number} {monotonic()} {PADDING}")
        assert reply["action"] == "success", reply
        talker.events.clear()


async def numbers_heard(slow: Member, last: int) -> list[int]:
    """Read on up to a number; return all of them."""
    heard: list[int] = []
    while heard[-1:] != [last]:
        envelope = await slow.hear()
        assert envelope is not None, "its link was lost"
        assert envelope["action"] != "closing", envelope
        if envelope["action"] == "receive_message":
            heard.append(int(envelope["data"]["text"].split(" ")[0]))
    return heard


@pytest.mark.parametrize("kind", ["ws", "tcp", "wss", "tls"])
async def test_memory_of_those_who_do_not_read(
    kind: str,
    tls_options: tuple[str, ...],
    contexts: Contexts,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    quiet: list[float] = []
    beside: list[float] = []
    with reserved_ports(4) as ports, trio.fail_after(6 * PATIENCE):
        urls = {one: f"{one}://127.0.0.1:{port}" for one, port in zip(("ws", "tcp", "wss", "tls"), ports, strict=True)}
        options = ("--no-rate-limits", *tls_options)
        async with (
            running(tmp_path / "chat.db", list(urls.values()), options=options) as server,
            AsyncExitStack() as stack,
        ):
            talker = await stack.enter_async_context(member(urls["tcp"], user="talker"))
            await stack.enter_async_context(listening(urls["ws"], "listener", quiet))
            await talk(talker, 1_800)  # until the store's own caches are full
            await talker.ask("history", room="general", limit=1000)
            slow = [
                await stack.enter_async_context(member(urls[kind], contexts.client, f"slow{n}", receive_buffer=4096))
                for n in range(SLOW)
            ]
            before = await server.holds()
            await stack.enter_async_context(listening(urls["ws"], "other", beside))
            await talk(talker, 1_200, 1_800)
            after = await server.holds()
            grown = (after.resident - before.resident) / SLOW
            assert grown <= MIB, f"{grown / MIB:.2f} MiB for each who does not read"
            async with trio.open_nursery() as nursery:

                async def read_on(one: Member) -> None:
                    assert await numbers_heard(one, 2_999) == list(range(1_800, 3_000))

                for one in slow:
                    nursery.start_soon(read_on, one)
            assert len(beside) == 1_200
    with capsys.disabled():
        print(
            f"\n{SLOW} members who read nothing over {kind}, 12 MB said: {grown / 1024:.0f} KiB each; "
            f"the others wait {quantiles(quiet, n=100)[98] * 1000:.1f} ms (p99) without them, "
            f"{quantiles(beside, n=100)[98] * 1000:.1f} ms with them"
        )


async def test_no_progress_for_thirty_seconds_ends_the_link(autojump_clock: trio.testing.MockClock) -> None:
    config = ServerConfig(rate_limits=False)
    async with site(config=config, listen=["memory://"]) as here:
        talker = await here.user("talker", "memory")
        stuck = await here.user("stuck", "memory")
        for _ in range(100):
            await talker.data("send_message", room="general", text=PADDING)
        await trio.sleep(29)
        assert "stuck" in [info.user for info in here.server.connections()]
        await trio.sleep(3)
        assert "stuck" not in [info.user for info in here.server.connections()]
        again = await here.wire("memory")
        epoch = (await talker.data("list_rooms"))["rooms"][0]["epoch"]
        resume = {"general": {"epoch": epoch, "seq": 0}}
        reply = await again.data("login", user="stuck", token=stuck.token, resume=resume)
        assert reply["resume"] == {"general": "ok"}
        seqs: list[int] = []
        while len(seqs) < 100:
            envelope = await again.receive()
            if envelope["action"] == "receive_message":
                seqs.append(envelope["data"]["seq"])
        assert seqs == list(range(1, 101))


async def test_a_little_progress_keeps_the_link(autojump_clock: trio.testing.MockClock) -> None:
    async with site(config=ServerConfig(rate_limits=False), listen=["memory://"]) as here:
        talker, slow = await here.user("talker", "memory"), await here.user("slow", "memory")
        for _ in range(100):
            await talker.data("send_message", room="general", text=PADDING)
        seqs: list[int] = []
        while len(seqs) < 100:
            await trio.sleep(2)
            raw = await slow.receive_raw()
            assert raw is not None, "somebody who reads slowly was cut off"
            envelope = json.loads(raw)
            if envelope["action"] == "receive_message":
                seqs.append(envelope["data"]["seq"])
        assert seqs == list(range(1, 101))
