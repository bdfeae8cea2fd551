"""Runs ``chatkit`` as the command does, for the torture suite: tells its pid first, and on SIGUSR1 what it holds.

``CHATKIT_TORTURE_PRAGMA``, such as ``synchronous = OFF``, is set on the connection that writes: a server that
acknowledges before its disk does, or one that moves its log into the database all the time.
"""

# ruff: noqa: E402
from __future__ import annotations

import os

os.write(1, b"pid %d\n" % os.getpid())  # before the imports: a tracer may end us in the middle of them

import ctypes
import gc
import json
import signal
import sqlite3
import sys
from pathlib import Path

import trio

from chatkit.backend import sqlite_schema, sqlite_writer
from chatkit.frontends.main import main


def tell_soon(*_: object) -> None:
    """Let Trio tell, between two steps: a signal may come in the middle of its own books."""
    trio.lowlevel.current_trio_token().run_sync_soon(tell)


def tell() -> None:
    """Write what this process holds, as a line of JSON."""
    gc.collect()
    statistics = trio.lowlevel.current_statistics()
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    told = {"tasks": statistics.tasks_living, "resident": resident, "blocks": sys.getallocatedblocks(), "heap": heap()}
    line = json.dumps(told)
    os.write(1, f"holds {line}\n".encode())


class Mallinfo2(ctypes.Structure):
    """What glibc tells of its heap."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


def heap() -> int:
    """Return the bytes that are in use of what the C library gave out; 0 where it does not tell."""
    mallinfo = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo is None:
        return 0
    mallinfo.restype = Mallinfo2
    told = mallinfo()
    return int(told.uordblks + told.hblkhd)


def set_pragma(pragma: str) -> None:
    """Let the server's own connection that writes be another than it would."""
    open_writer = sqlite_schema.open_writer

    def opened(path: Path) -> sqlite3.Connection:
        connection = open_writer(path)
        connection.execute(f"PRAGMA {pragma}").close()
        return connection

    vars(sqlite_writer)["open_writer"] = opened


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, tell_soon)
    if pragma := os.environ.get("CHATKIT_TORTURE_PRAGMA"):
        set_pragma(pragma)
    sys.exit(main(sys.argv[1:]))
