"""A server in a process of its own, which may be killed, and ports that stay the same from one to the next."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import trio
from attrs import define, field, frozen

LAUNCHER = Path(__file__).with_name("launcher.py")


@contextmanager
def reserved_ports(count: int) -> Iterator[list[int]]:
    """Hold ports that a server may listen on, again and again, and that nobody else gets meanwhile.

    A bound socket that does not listen lets another one listen there if both set SO_REUSEADDR, and keeps the port from
    being given to a client's end of a connection.
    """
    held = [socket.socket() for _ in range(count)]
    try:
        for sock in held:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", 0))
        yield [sock.getsockname()[1] for sock in held]
    finally:
        for sock in held:
            sock.close()


@frozen
class Holdings:
    """What a process has at a time."""

    tasks: int
    descriptors: tuple[str, ...]
    """What they lead to, sorted; sockets without their numbers."""
    resident: int
    """Bytes of memory. The interpreter keeps most of what it once had, for the next time."""
    blocks: int
    """Pieces of memory that Python's objects hold."""
    heap: int
    """Bytes in use of what the C library gave out: whatever is larger than a small object, and all that is not
    Python's."""


@define(eq=False)
class ServerProcess:
    """A server's process, with a tracer around it or without. Made by `running`."""

    process: trio.Process
    pid: int = 0
    """The server's own; 0 if it ended before it could tell."""
    listens: bool = False
    """Whether it came as far as listening."""
    _unread: bytearray = field(factory=bytearray)

    def send_signal(self, number: int) -> None:
        """Send the server a signal, if it is there still."""
        if self.pid and self.process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def wait(self) -> int:
        """Return once it has ended: its exit code, negative for a signal."""
        return await self.process.wait()

    async def holds(self) -> Holdings:
        """Return what it has now."""
        self.send_signal(signal.SIGUSR1)
        while not (line := await self.next_line()).startswith("holds "):
            pass
        told = json.loads(line.removeprefix("holds "))
        return Holdings(
            told["tasks"], tuple(sorted(self._descriptors())), told["resident"], told["blocks"], told["heap"]
        )

    def _descriptors(self) -> Iterator[str]:
        for entry in Path(f"/proc/{self.pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                yield os.readlink(entry).partition(":")[0]

    async def next_line(self) -> str:
        """Return the next line it prints. Raises EOFError."""
        assert self.process.stdout is not None
        while b"\n" not in self._unread:
            data = await self.process.stdout.receive_some(4096)
            if not data:
                raise EOFError
            self._unread += data
        line, _, rest = self._unread.partition(b"\n")
        self._unread[:] = rest
        return line.decode()


@asynccontextmanager
async def running(
    store: Path,
    listen: Sequence[str],
    *,
    under: Sequence[str] = (),
    pragma: str = "",
    options: Sequence[str] = ("--no-rate-limits",),
) -> AsyncIterator[ServerProcess]:
    """Run a server on a store until the block ends, then kill it if it is there still. ``under`` is a command to run
    it by, ``pragma`` is set on its database; a server that a tracer ends while it starts is given as well."""
    command = [*under, sys.executable, str(LAUNCHER), "serve", "--store", f"sqlite:///{store}"]
    command += ["--log-level", "error", *options]
    for url in listen:
        command += ["--listen", url]
    process = await trio.lowlevel.open_process(
        command, stdout=subprocess.PIPE, env={**os.environ, "CHATKIT_TORTURE_PRAGMA": pragma}
    )
    server = ServerProcess(process)
    try:
        with suppress(EOFError):
            while not server.listens:
                line = await server.next_line()
                if line.startswith("pid "):
                    server.pid = int(line.removeprefix("pid "))
                server.listens = line == f"listening on {listen[-1]}"
        if not server.listens and not under:
            raise RuntimeError(f"the server did not start; it left with {await process.wait()}")
        yield server
    finally:
        with trio.CancelScope(shield=True):
            server.send_signal(signal.SIGKILL)
            if not server.pid and process.returncode is None:
                process.kill()
            await process.wait()
            if process.stdout is not None:
                await process.stdout.aclose()
