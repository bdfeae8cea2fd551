"""Away for tens of thousands of messages: the whole of them comes, once, while the room goes on undisturbed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from chatkit import Client, connect
from chatkit.client import Backoff, Connected

HERE = Path(__file__).parent
MIB = 2**20


class Program:
    """A program of this folder that runs, told what to do line by line, each answered with a line."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._printed = b""

    async def line(self) -> str:
        assert self._process.stdout is not None
        while b"\n" not in self._printed:
            some = await self._process.stdout.receive_some()
            assert some, "the program ended"
            self._printed += some
        line, _, self._printed = self._printed.partition(b"\n")
        return line.decode()

    async def do(self, command: str) -> str:
        assert self._process.stdin is not None
        await self._process.stdin.send_all(command.encode() + b"\n")
        return await self.line()


@asynccontextmanager
async def running(name: str, argument: str) -> AsyncIterator[Program]:
    async with trio.open_nursery() as nursery:
        run = partial(trio.run_process, [sys.executable, str(HERE / name), argument])
        process: trio.Process = await nursery.start(partial(run, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        yield Program(process)
        assert process.stdin is not None
        await process.stdin.aclose()


async def stay_away(client: Client) -> str:
    """Lose the link, and find nobody where the server was; return where it really is."""
    url, client._dial.url = client._dial.url, "tcp://127.0.0.1:1"
    assert client._asking.link is not None
    client._asking.link.connection.abort()
    return url


async def come_back(client: Client, url: str) -> None:
    client._dial.url = url
    async for status in client.statuses():
        if isinstance(status, Connected):
            return


@pytest.mark.parametrize("missed", [10_000, pytest.param(50_000, marks=[pytest.mark.slow, pytest.mark.timeout(300)])])
async def test_coming_back_after_a_long_time(missed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with running("server_program.py", str(tmp_path / "chat.db")) as server:
        tcp, ws = (await server.line()).split()
        async with (
            running("talker_program.py", ws) as talker,
            connect(tcp, user="ann", reconnect=Backoff(first=0.02, most=0.02)) as ann,
        ):
            assert await talker.line() == "talking"
            heard = ann.rooms["general"].messages()
            seqs = [(await anext(heard)).seq]
            url = await stay_away(ann)
            await server.do(f"fill {missed // 2}")
            await talker.do("begin")
            await trio.sleep(1.0)
            quiet = await talker.do("measure")
            held = [int(await server.do(f"fill {missed - missed // 2}"))]
            await talker.do("begin")
            await come_back(ann, url)
            began, lives = trio.current_time(), 0
            while len(seqs) < missed or lives < 50:
                message = await anext(heard)
                seqs.append(message.seq)
                lives = lives + 1 if message.text == "live" and len(seqs) > missed else 0
                if len(seqs) % 2_000 == 0:
                    held.append(int(await server.do("memory")))
            took, meanwhile = trio.current_time() - began, await talker.do("measure")
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    grown = (max(held) - held[0]) / MIB
    assert grown < 16
    with capsys.disabled():
        print(f"\n{missed:,} missed, here again after {took:.1f} s; the server holds {grown:.1f} MiB more;", end=" ")
        print(f"another's message took {quiet} before, {meanwhile} meanwhile")
