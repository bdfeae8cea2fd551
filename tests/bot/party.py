"""Bots and people who all come the same way."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from chatkit.bot import Bot
from chatkit.protocol.messages import Event, ReceiveMessage
from chatkit.testing import BotRun, Chat, Person

in_memory_only = pytest.mark.parametrize("chat", ["memory"], indirect=True)
"""For tests in which much time passes: with sockets each second of it takes some milliseconds."""


class Party:
    """A chat whose people and bots all come the same way, by the real clock."""

    def __init__(self, chat: Chat, over: str | None) -> None:
        self.chat = chat
        self.over = over
        self.person = partial(chat.person, over=over)
        self.people = partial(chat.people, over=over)

    async def run(self, bot: Bot, **options: Any) -> BotRun:
        return await self.chat.run(bot, over=self.over, **options)

    async def ann(self, bot: Bot) -> Person:
        """Run a bot, and let somebody come who talks to it."""
        await self.run(bot)
        return await self.person("ann")


@contextmanager
def nobodys_port() -> Iterator[int]:
    """A port at which nobody listens, for as long as the block lasts."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def answered(text: str, by: str | None = None) -> Callable[[Event], bool]:
    """What `Person.hears` can wait for when others talk meanwhile: a message with this text."""

    def is_meant(event: Event) -> bool:
        return isinstance(event, ReceiveMessage) and event.text == text and by in (None, event.user)

    return is_meant
