"""websockets' Trio face: its own ``broadcast``."""

from __future__ import annotations

import sys
from functools import partial

import trio
from websockets.trio.server import ServerConnection, broadcast, serve

members: set[ServerConnection] = set()


async def echo(link: ServerConnection) -> None:
    members.add(link)
    try:
        async for message in link:
            await broadcast(list(members), message)
    finally:
        members.discard(link)


trio.run(partial(serve, echo, int(sys.argv[1]), host="127.0.0.1", compression=None, ping_interval=None, backlog=4096))
