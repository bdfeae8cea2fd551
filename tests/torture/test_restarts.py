"""A server that dies, or is told to stop, in the middle of things, and comes back on the same store."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio
from processes import ServerProcess, reserved_ports, running

import chatkit
from chatkit.client import Backoff, Client

BACKOFF = Backoff(first=0.02, factor=1.5, most=0.2)
PATIENCE = 40.0
ROOM = "general"


async def hear(client: Client, heard: list[str], until: str, told: Callable[[str], None] = lambda _: None) -> None:
    """Note what is said, up to a last word."""
    async for message in client.rooms[ROOM].messages():
        heard.append(message.text or "")
        told(message.text or "")
        if message.text == until:
            return


@pytest.mark.parametrize("killed_before", [0, 1, 4, 9])
async def test_a_conversation_goes_on_where_the_server_died(tmp_path: Path, killed_before: int) -> None:
    """Two people take turns; the server dies between two of them, or while one is speaking."""
    script = [f"line {number}" for number in range(10)]
    heard: dict[str, list[str]] = {"ann": [], "bob": []}
    turn = {text: trio.Event() for text in script}
    turn[script[0]].set()

    def next_turn(text: str) -> None:
        following = script[script.index(text) + 1 :]
        if following:
            turn[following[0]].set()

    async def speak(client: Client, mine: list[str]) -> None:
        for text in mine:
            await turn[text].wait()
            if text == script[killed_before]:
                time_to_die.set()
            message = await client.rooms[ROOM].send(text)
            assert message.seq == script.index(text) + 1

    async def converse(people: Sequence[Client]) -> None:
        async with trio.open_nursery() as nursery:
            for number, client in enumerate(people):
                nursery.start_soon(hear, client, heard[client.user], script[-1], next_turn)
                nursery.start_soon(speak, client, script[number::2])
        over.set()

    time_to_die, over = trio.Event(), trio.Event()
    with reserved_ports(2) as (ws, tcp), trio.fail_after(PATIENCE):
        listen = [f"ws://127.0.0.1:{ws}", f"tcp://127.0.0.1:{tcp}"]
        async with trio.open_nursery() as nursery, AsyncExitStack() as links:
            async with running(tmp_path / "chat.db", listen):
                people = [
                    await links.enter_async_context(chatkit.connect(url, user=name, reconnect=BACKOFF))
                    for url, name in zip(listen, heard, strict=True)
                ]
                nursery.start_soon(converse, people)
                await time_to_die.wait()
            async with running(tmp_path / "chat.db", listen):
                await over.wait()
    assert heard == {"ann": script, "bob": script}


async def stop(server: ServerProcess) -> int:
    server.send_signal(signal.SIGTERM)
    return await server.wait()


async def test_what_was_on_its_way_when_the_server_was_told_to_stop(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every send comes to a good end, before the stop or after the start, and is kept once."""
    stops, clients, each = 3, 10, 60
    acked: dict[str, int] = {}
    at_stop: list[int] = []
    news, over = trio.Event(), trio.Event()
    heard: dict[str, list[str]] = {f"t{number}": [] for number in range(clients)}

    async def say(client: Client, op: str) -> None:
        nonlocal news
        message = await client.rooms[ROOM].send(f"this is {op}", op=op)
        acked[op] = message.seq
        news.set()
        news = trio.Event()

    async def take_part(name: str, client: Client) -> None:
        for part in range(stops + 1):
            async with trio.open_nursery() as nursery:
                for number in range(each):
                    nursery.start_soon(say, client, f"{name}-{part}-{number}")
        stream = client.rooms[ROOM].messages(after=0)
        while len(heard[name]) < (stops + 1) * clients * each:
            heard[name].append((await stream.__anext__()).op or "")
        if all(len(ops) == (stops + 1) * clients * each for ops in heard.values()):
            over.set()

    with reserved_ports(2) as (ws, tcp), trio.fail_after(PATIENCE):
        listen = [f"ws://127.0.0.1:{ws}", f"tcp://127.0.0.1:{tcp}"]
        async with trio.open_nursery() as nursery, AsyncExitStack() as links:
            for part in range(stops):
                async with running(tmp_path / "chat.db", listen) as server:
                    for number, name in enumerate(heard if part == 0 else ()):
                        link = chatkit.connect(listen[number % 2], user=name, reconnect=BACKOFF)
                        nursery.start_soon(take_part, name, await links.enter_async_context(link))
                    while len(acked) < (part * clients * each) + clients * each // 3:
                        await news.wait()
                    at_stop.append(len(acked))
                    assert await stop(server) == 0
            async with running(tmp_path / "chat.db", listen):
                await over.wait()
    with capsys.disabled():
        print(f"\nstops: {at_stop} acknowledged when told to stop, {len(acked)} in the end")
    order = [op for _, op in sorted((seq, op) for op, seq in acked.items())]
    assert sorted(acked.values()) == list(range(1, len(acked) + 1))
    assert all(ops == order for ops in heard.values())
    assert len(order) == (stops + 1) * clients * each
