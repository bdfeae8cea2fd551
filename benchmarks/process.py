"""Servers under test as processes of their own, on their own core."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from attrs import define, field, frozen

from benchmarks import machine
from benchmarks.dialects import Chatkit, Dialect, Echo, SocketIO

START_SECONDS = 30
STOP_SECONDS = 15


@frozen(kw_only=True)
class Contender:
    """A server that can be measured."""

    name: str
    title: str
    module: str
    dialect: Dialect = field(factory=Echo)
    store: str = ""
    """chatkit's backend: ``sqlite`` (a new file on a real disk each time) or ``memory``."""
    needs: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    """More for the server's command line."""

    @property
    def ours(self) -> bool:
        """Whether it is chatkit."""
        return bool(self.store)

    def missing(self) -> str | None:
        """Return the first package it needs that is not installed."""
        from importlib.util import find_spec

        return next((package for package in self.needs if find_spec(package) is None), None)


CONTENDERS = {
    one.name: one
    for one in (
        Contender(
            name="chatkit", title="chatkit, SQLite, fsync", module="chatkit_server", dialect=Chatkit(), store="sqlite"
        ),
        Contender(
            name="chatkit-memory", title="chatkit, memory", module="chatkit_server", dialect=Chatkit(), store="memory"
        ),
        Contender(name="uwebsockets", title="uWebSockets (socketify)", module="socketify_uws", needs=("socketify",)),
        Contender(name="picows", title="picows, uvloop", module="picows_uvloop", needs=("picows", "uvloop")),
        Contender(
            name="websockets", title="websockets, uvloop", module="websockets_uvloop", needs=("websockets", "uvloop")
        ),
        Contender(name="websockets-trio", title="websockets, Trio", module="websockets_trio", needs=("websockets",)),
        Contender(
            name="socketio",
            title="python-socketio, uvicorn, uvloop",
            module="socketio_uvicorn",
            dialect=SocketIO(),
            needs=("socketio", "uvicorn", "uvloop"),
        ),
        Contender(name="epoll", title="bare epoll loop", module="bare_epoll"),
    )
}


@define(eq=False)
class Process:
    """A running server."""

    contender: Contender
    port: int
    pid: int
    started_in: float
    """Seconds from launching to the first link accepted."""

    def cpu(self) -> float:
        """Return the CPU seconds it has used."""
        return machine.cpu_seconds(self.pid)

    def resident(self) -> int:
        """Return its resident memory in bytes."""
        return machine.resident_bytes(self.pid)


@contextlib.contextmanager
def running(contender: Contender, directory: Path, *, kill: bool = False) -> Iterator[Process]:
    """Run a server for as long as the block lasts; ``kill`` ends it without a goodbye.

    A store is kept in ``directory``; what is there already is taken up again.
    """
    port = _free_port()
    command = [sys.executable, "-m", f"benchmarks.servers.{contender.module}", str(port)]
    if contender.ours:
        command.append("memory://" if contender.store == "memory" else f"sqlite:///{directory}/bench.db")
    command += contender.arguments
    _, core = machine.cores()
    before = time.perf_counter()
    with (directory / f"{contender.name}.log").open("ab") as log:
        child = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=lambda: machine.pin(core))
    try:
        _wait_until_up(child, port, contender, directory)
        yield Process(contender, port, child.pid, time.perf_counter() - before)
    finally:
        _end(child, kill)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def _wait_until_up(child: subprocess.Popen[bytes], port: int, contender: Contender, directory: Path) -> None:
    deadline = time.perf_counter() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if child.poll() is not None or time.perf_counter() > deadline:
                said = (directory / f"{contender.name}.log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{contender.name} did not start:\n{said}") from None
            time.sleep(0.002)
        else:
            return


def _end(child: subprocess.Popen[bytes], kill: bool) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child.pid, signal.SIGKILL if kill else signal.SIGTERM)
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
