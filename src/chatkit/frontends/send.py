"""``chatkit send``: saying one thing."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Annotated

import trio

from chatkit.client import Client, connect
from chatkit.errors import UsageError
from chatkit.frontends.commands import Conversation
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
    Json,
    Parameter,
    Room,
    User,
    trusting,
)
from chatkit.frontends.output import read_all
from chatkit.frontends.screens import JsonScreen
from chatkit.protocol import messages as m

STDIN = "\0-"
"""Stands for a lone ``-``, which the parser would take for an option."""


def run(arguments: Sequence[str]) -> int:
    """Say one thing, and return once it is kept."""
    arguments = [STDIN if word == "-" else word for word in arguments]
    return run_command("send", send, arguments, "[URL] TEXT [OPTIONS]")


def send(
    *words: Annotated[
        str, Parameter(help="The server's URL, if it is not the local one, and the text; - reads it from a pipe.")
    ],
    user: User = None,
    room: Room = DEFAULT_ROOM,
    password_file: PasswordFile = None,
    token_file: TokenFile = None,
    register: Register = False,
    invitation: Invitation = None,
    ca: Ca = None,
    json: Json = False,
) -> int:
    """Say one thing, and return once it is kept. With --json the message is printed as everybody gets it."""
    url, text = words[:1], words[1:]
    if not text or "://" not in url[0]:
        url, text = (DEFAULT_URL,), words
    if not text:
        raise UsageError("send needs a text: chatkit send hello. See chatkit send --help.")
    tls = trusting(ca)

    def start(credentials: Credentials) -> int:
        link = connect(url[0], ssl_context=tls, reconnect=False, device=device(), **credentials.options)
        return trio.run(_send, link, room, " ".join(text), json)

    return entering(credentials_of(user, password_file, token_file, register, invitation), start)


async def _send(link: AbstractAsyncContextManager[Client], room: str, text: str, json: bool) -> int:
    said = (await read_all()).removesuffix("\n") if text == STDIN else text
    async with link as client:
        conversation = Conversation(client, history=0)
        await conversation.enter(room)
        kept = await conversation.say(said)
    if json:
        event = m.ReceiveMessage(room=kept.room, seq=kept.seq, user=kept.user, text=kept.text, op=kept.op)
        await JsonScreen().event(event, kept.timestamp)
    return Exit.OK
