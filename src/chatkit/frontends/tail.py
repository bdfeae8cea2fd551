"""``chatkit tail``: following a room without taking part."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Annotated

import trio

from chatkit.client import Client, connect
from chatkit.client import Room as ChatRoom
from chatkit.frontends.commands import Conversation
from chatkit.frontends.commands.words import because
from chatkit.frontends.credentials import (
    Credentials,
    Invitation,
    PasswordFile,
    Register,
    TokenFile,
    credentials_of,
    device,
    entering,
)
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
    password_file: PasswordFile = None,
    token_file: TokenFile = None,
    register: Register = False,
    invitation: Invitation = None,
    ca: Ca = None,
    json: Json = False,
) -> int:
    """Follow a room: its history, then what is said. Ends by Ctrl-C, or after --count messages."""
    tls = trusting(ca)

    def start(credentials: Credentials) -> int:
        link = connect(url, ssl_context=tls, reconnect=False, device=device(), **credentials.options)
        return trio.run(_tail, link, room, history, count, json)

    return entering(credentials_of(user, password_file, token_file, register, invitation), start)


async def _tail(
    link: AbstractAsyncContextManager[Client],
    room_name: str,
    history: int,
    count: int | None,
    json: bool,
) -> int:
    async with link as client:
        room = await client.join(room_name, history=history)
        conversation = Conversation(client, current=room.name)
        screen = JsonScreen() if json else PipeScreen(conversation)
        entries = room.entries()
        shown = 0
        while count is None or shown < count:
            entry = await anext(entries, None)
            if entry is None:
                await screen.error(*_why_ended(room))
                return Exit.REFUSED
            conversation.current = room.name
            await screen.event(entry.event, entry.timestamp)
            shown += 1
        return Exit.OK


def _why_ended(room: ChatRoom) -> tuple[str, str]:
    if room.removed is None:
        return "no_such_room", f"the room {room.name} has been deleted"
    how = "banned from" if room.removed.banned else "sent out of"
    code = "banned" if room.removed.banned else "not_in_room"
    return code, f"you were {how} {room.name}{because(room.removed.reason)}"
