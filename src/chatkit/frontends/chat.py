"""``chatkit chat``: talking line by line, in a terminal or through pipes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from typing import Annotated, TypeAlias

import trio
from attrs import evolve

from chatkit.client import Client, connect
from chatkit.errors import Disconnected, RequestFailed
from chatkit.frontends.commands import Conversation
from chatkit.frontends.commands.conversation import Registration
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
from chatkit.frontends.display import Display
from chatkit.frontends.exits import Exit
from chatkit.frontends.launch import run_command
from chatkit.frontends.login_store import RememberedLogin
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
from chatkit.frontends.screens import JsonScreen, PipeScreen, Screen
from chatkit.frontends.turns import Turns, said
from chatkit.private import private_nursery

OpenLink: TypeAlias = Callable[[Credentials], AbstractAsyncContextManager[Client]]


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
    password_file: PasswordFile = None,
    token_file: TokenFile = None,
    register: Register = False,
    invitation: Invitation = None,
    store: Annotated[
        bool,
        Parameter(
            negative="--no-store",
            show_default=False,
            help="Remember the login to an account on this machine, so that the next chat needs no password; the "
            "default.",
        ),
    ] = True,
    ca: Ca = None,
    json: Json = False,
) -> int:
    """Talk, line by line.

    In a terminal, what arrives appears above the line you type; /help lists the commands. With input from a pipe each
    line is sent, or run if it begins with a slash; at its end chat waits until everything is acknowledged.
    """
    terminal = not json and sys.stdin.isatty() and sys.stdout.isatty()
    credentials = credentials_of(user, password_file, token_file, register, invitation)
    login = RememberedLogin(url, credentials.user) if store and token_file is None else None
    if login is not None and credentials.password is None:
        token = login.token()
        credentials = evolve(credentials, token=token, remembered=token is not None)
    tls = trusting(ca)

    def open_link(given: Credentials) -> AbstractAsyncContextManager[Client]:
        return connect(
            url,
            ssl_context=tls,
            reconnect=terminal if reconnect is None else reconnect,
            on_token=None if login is None else login.remember,
            device=device(),
            **given.options,
        )

    def start(given: Credentials) -> int:
        talk = partial(_talk, open_link, given, room, history)
        if terminal:
            from chatkit.frontends.terminal import run_beside_prompt

            return run_beside_prompt(talk)
        return trio.run(talk, (lambda _: JsonScreen()) if json else PipeScreen)

    try:
        return entering(credentials, start)
    finally:
        if login is not None:
            login.close()


async def _talk(
    open_link: OpenLink,
    credentials: Credentials,
    room: str,
    history: int,
    open_screen: Callable[[Conversation], Screen],
) -> int:
    code = Exit.OK
    with trio.CancelScope() as whole:
        async with open_link(credentials) as client:
            conversation = Conversation(client, current=room, history=history)
            turns = Turns(conversation, open_screen(conversation), whole)
            code = await _talk_as(turns, room)
        while (asked := conversation.registering) is not None:
            conversation.registering = None
            async with AsyncExitStack() as stack:
                was = conversation.client.room(conversation.current)
                opening = _registered(stack, open_link, asked, conversation.client, turns.screen)
                conversation.client, conversation.last_said = await opening, None
                after = None if was is None else was.position.seq
                code = await _talk_as(turns, conversation.current, after)
    return code


async def _registered(
    stack: AsyncExitStack, open_link: OpenLink, asked: Registration, guest: Client, screen: Screen
) -> Client:
    """Come back with a new account; or as the guest one was, if there is to be none."""
    new = Credentials(user=asked.user, password=asked.password, register=True, invitation=asked.invitation)
    try:
        client = await stack.enter_async_context(open_link(new))
    except RequestFailed as error:
        await screen.error(*said(error))
        return await stack.enter_async_context(open_link(Credentials(user=guest.user, token=guest.token)))
    await screen.notice(f"{client.user} is your account now")
    return client


async def _talk_as(turns: Turns, room: str, after: int | None = None) -> Exit:
    """Talk with one client, until the user wants no more, or another one. ``after`` is how far the room was shown."""
    conversation, screen = turns.conversation, turns.screen
    display = Display(conversation, screen)
    code = Exit.OK
    try:
        async with private_nursery(lambda nursery: nursery.cancel_scope.cancel()) as nursery:
            nursery.start_soon(display.follow_link)
            await conversation.enter(room, after)
            await display.catch_up()
            nursery.start_soon(display.follow)
            code = await turns.take(display)
    except Disconnected:
        if not conversation.over:
            raise
    if conversation.farewell:
        await screen.notice(conversation.farewell)
    return code
