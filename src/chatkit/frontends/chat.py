"""``chatkit chat``: talking line by line, in a terminal or through pipes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Annotated

import trio

from chatkit.client import Client, connect
from chatkit.errors import RequestFailed, UsageError
from chatkit.frontends.commands import Conversation
from chatkit.frontends.display import Display
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
from chatkit.frontends.screens import JsonScreen, PipeScreen, Screen
from chatkit.private import private_nursery


def run(arguments: Sequence[str]) -> int:
    """Talk, line by line."""
    return run_command("chat", chat, arguments, "[URL] [OPTIONS]")


def chat(
    url: Url = DEFAULT_URL,
    *,
    user: User = None,
    room: Room = DEFAULT_ROOM,
    history: History = 20,
    reconnect: Annotated[
        bool | None,
        Parameter(
            show_default=False,
            help="Come back by itself when the connection is lost; without either, only in a terminal.",
        ),
    ] = None,
    ca: Ca = None,
    json: Json = False,
) -> int:
    """Talk, line by line.

    In a terminal, what arrives appears above the line you type; /help lists the commands. With input from a pipe each
    line is sent, or run if it begins with a slash; at its end chat waits until everything is acknowledged.
    """
    terminal = not json and sys.stdin.isatty() and sys.stdout.isatty()
    open_link = partial(
        connect,
        url,
        user=user_or_login(user),
        ssl_context=trusting(ca),
        reconnect=terminal if reconnect is None else reconnect,
    )
    talk = partial(_talk, open_link, room, history)
    if terminal:
        from chatkit.frontends.terminal import run_beside_prompt

        return run_beside_prompt(talk)
    return trio.run(talk, (lambda _: JsonScreen()) if json else PipeScreen)


async def _talk(
    open_link: Callable[[], AbstractAsyncContextManager[Client]],
    room: str,
    history: int,
    open_screen: Callable[[Conversation], Screen],
) -> int:
    code = Exit.OK
    async with open_link() as client:
        conversation = Conversation(client, history=history)
        screen = open_screen(conversation)
        display = Display(conversation, screen)
        await conversation.enter(room)
        async with private_nursery(lambda nursery: nursery.cancel_scope.cancel()) as nursery:
            await display.catch_up()
            nursery.start_soon(display.follow)
            nursery.start_soon(display.follow_link)
            code = await _take_lines(conversation, screen, display)
    return code


async def _take_lines(conversation: Conversation, screen: Screen, display: Display) -> Exit:
    code = Exit.OK
    while not conversation.over:
        line = await screen.read()
        if line is None:
            break
        try:
            notices = await conversation.do(line)
        except (RequestFailed, UsageError) as error:
            code = Exit.REFUSED
            await screen.error(*_said(error))
        else:
            await display.catch_up()
            for notice in notices:
                await screen.notice(notice)
    return Exit.OK if screen.interactive else code


def _said(error: RequestFailed | UsageError) -> tuple[str, str]:
    return (error.code, error.message) if isinstance(error, RequestFailed) else ("usage", str(error))
