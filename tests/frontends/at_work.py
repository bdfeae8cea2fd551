"""Commands as their users run them: real processes, their output read line by line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from attrs import define

CHATKIT = (sys.executable, "-m", "chatkit")
PATIENCE = 20.0
"""Seconds after which a test gives up: far more than anything takes."""


@define(eq=False)
class Running:
    """A process whose output is read line by line."""

    process: trio.Process
    buffer: bytes = b""

    async def line(self) -> str:
        """Return the next line it prints, without its end."""
        assert self.process.stdout is not None
        with trio.fail_after(PATIENCE):
            while b"\n" not in self.buffer:
                chunk = await self.process.stdout.receive_some()
                if not chunk:
                    raise EOFError(f"it ended after {self.buffer!r}")
                self.buffer += chunk
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.decode()

    async def until(self, text: str) -> str:
        """Return the next line that holds a text."""
        while text not in (line := await self.line()):
            pass
        return line

    async def type(self, text: str) -> None:
        """Give it a line of input."""
        assert self.process.stdin is not None
        await self.process.stdin.send_all(text.encode() + b"\n")

    async def end_input(self) -> None:
        """Close its input."""
        assert self.process.stdin is not None
        await self.process.stdin.aclose()

    async def wait(self) -> int:
        """Return its exit code."""
        with trio.fail_after(PATIENCE):
            return await self.process.wait()

    def kill(self) -> None:
        """End it as ``kill -9`` does."""
        self.process.send_signal(signal.SIGKILL)


@asynccontextmanager
async def running(
    *command: str, folder: Path | None = None, stderr: int = subprocess.DEVNULL, **environment: str
) -> AsyncIterator[Running]:
    """Run a command beside the test; whatever is left of it is killed at the end of the block."""
    process = await trio.lowlevel.open_process(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        cwd=folder,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
    )
    try:
        yield Running(process)
    finally:
        if process.returncode is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                await stream.aclose()


def chatkit(*arguments: str, **options: Any) -> Any:
    """Run ``chatkit`` beside the test."""
    return running(*CHATKIT, *arguments, **options)


@define(eq=False)
class ServerProcess:
    """``chatkit serve`` at work."""

    process: Running
    ws: str
    tcp: str


@asynccontextmanager
async def serving(
    folder: Path, *arguments: str, listen: Sequence[str] = ("ws://127.0.0.1:0", "tcp://127.0.0.1:0")
) -> AsyncIterator[ServerProcess]:
    """Run ``chatkit serve`` on free ports beside the test."""
    where = [word for address in listen for word in ("--listen", address)]
    async with chatkit("serve", *where, *arguments, folder=folder) as process:
        addresses = [(await process.line()).removeprefix("listening on ") for _ in listen]
        yield ServerProcess(process, *addresses)


async def run(*arguments: str, said: str = "", folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run ``chatkit`` to its end."""
    with trio.fail_after(PATIENCE):
        done = await trio.run_process(
            [*CHATKIT, *arguments],
            stdin=said.encode(),
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            cwd=folder,
        )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())
