"""websockets on asyncio and uvloop: its own ``broadcast``."""

from __future__ import annotations

import asyncio
import sys

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

members: set[ServerConnection] = set()


async def echo(link: ServerConnection) -> None:
    members.add(link)
    try:
        async for message in link:
            broadcast(members, message)
    finally:
        members.discard(link)


async def main() -> None:
    async with serve(echo, "127.0.0.1", int(sys.argv[1]), compression=None, ping_interval=None, backlog=4096):
        await asyncio.get_running_loop().create_future()


uvloop.run(main())
