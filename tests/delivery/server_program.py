"""A server on a database that does what it is told: ``server_program.py PATH``, then commands on standard input.

``fill N`` appends N messages to the room, ``memory`` prints the bytes this process holds.
"""

from __future__ import annotations

import os
import sys

import trio

from chatkit import ServerConfig, open_server
from chatkit.backend import Backend, open_backend
from chatkit.backend.records import Append

ONE_COMMIT = 500


async def fill(backend: Backend, count: int) -> None:
    kept = (await backend.directory.snapshot()).rooms
    room = next(room for room in kept if room.name == "general")
    for start in range(0, count, ONE_COMMIT):
        await backend.commit(
            [
                Append(
                    room_id=room.room_id, kind="message", author="old", name="old", time=1, body=f"{number} {'x' * 90}"
                )
                for number in range(start, min(count, start + ONE_COMMIT))
            ]
        )


def memory() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def main(path: str) -> None:
    backend = await open_backend(f"sqlite:///{path}")
    config = ServerConfig(rate_limits=False)
    async with open_server(backend, listen=["tcp://127.0.0.1:0", "ws://127.0.0.1:0"], config=config) as server:
        print(*server.addresses, flush=True)
        while line := await trio.to_thread.run_sync(sys.stdin.readline):
            command, _, argument = line.strip().partition(" ")
            if command == "fill":
                await fill(backend, int(argument))
            print(memory(), flush=True)
    await backend.aclose()


trio.run(main, sys.argv[1])
