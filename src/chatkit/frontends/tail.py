"""``chatkit tail``: following a room without taking part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Annotated

import trio

from chatkit.client import Client, connect
from chatkit.frontends.commands import Conversation
from chatkit.frontends.exits import Exit
from chatkit.frontends.launch import run_command
from chatkit.frontends.options import (
    DEFAULT_ROOM,
    DEFAULT_URL,
    Ca,
    History,
    Json,
    Parameter,
    Room,
    Url,
    User,
    trusting,
    user_or_login,
)
from chatkit.frontends.screens import JsonScreen, PipeScreen


def run(arguments: Sequence[str]) -> int:
    """Follow a room: its history, then what is said."""
    return run_command("tail", tail, arguments, "[URL] [OPTIONS]")


def tail(
    url: Url = DEFAULT_URL,
    *,
    user: User = None,
    room: Room = DEFAULT_ROOM,
    history: History = 10,
    count: Annotated[int | None, Parameter(name=["--count", "-c"], help="End after that many messages.")] = None,
    ca: Ca = None,
    json: Json = False,
) -> int:
    """Follow a room: its history, then what is said. Ends by Ctrl-C, or after --count messages."""
    open_link = partial(connect, url, user=user_or_login(user), ssl_context=trusting(ca), reconnect=False)
    return trio.run(_tail, open_link, room, history, count, json)


async def _tail(
    open_link: Callable[[], AbstractAsyncContextManager[Client]],
    room_name: str,
    history: int,
    count: int | None,
    json: bool,
) -> int:
    async with open_link() as client:
        room = await client.join(room_name, history=history)
        screen = JsonScreen() if json else PipeScreen(Conversation(client, current=room.name))
        entries = room.entries()
        shown = 0
        while count is None or shown < count:
            entry = await anext(entries, None)
            if entry is None:
                await screen.error("no_such_room", f"the room {room.name} has been deleted")
                return Exit.REFUSED
            await screen.event(entry.event, entry.timestamp)
            shown += 1
        return Exit.OK
