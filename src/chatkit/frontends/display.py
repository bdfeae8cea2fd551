"""Showing what happens in the rooms one is in: every message once and in order, whatever came before or behind it."""

from __future__ import annotations

import trio

from chatkit.client import Client
from chatkit.client.status import Connected, Reconnecting
from chatkit.client.window import seq_of
from chatkit.errors import PositionLost
from chatkit.frontends.commands import Conversation
from chatkit.frontends.exits import sentence
from chatkit.frontends.screens import Screen
from chatkit.protocol import messages as m
from chatkit.protocol.moderation import RoomRenamed


class Display:
    """Shows a conversation on a screen.

    A room's messages are read through its cursor, which begins with the history asked for on joining; live events say
    how far to read. So history comes first, and nothing is shown twice, whichever task is earlier.
    """

    def __init__(self, conversation: Conversation, screen: Screen) -> None:
        self._client: Client = conversation.client
        self._conversation = conversation
        self._screen = screen
        self._events = conversation.client.events()
        self._showing = trio.Lock()
        self._begun = False
        """Whether what the rooms held at first has been asked for."""
        self.lost = False
        """Whether the link is lost, and tried again."""
        self.returns = 0
        """How often the link has come back."""

    async def follow(self) -> None:
        """Show everything that happens, until the link is gone for good: raises `Disconnected` then."""
        async for happening in self._events:
            event = happening.event
            seq = seq_of(m.Entry(event=event, timestamp=happening.timestamp))
            name = getattr(event, "room", None)
            if seq and isinstance(name, str):
                await self._show_room(name, seq)
                continue
            self._conversation.take(event)
            if isinstance(event, RoomRenamed) and event.room in self._client.rooms:
                await self._show_room(event.room, self._client.rooms[event.room].position.seq)
            async with self._showing:
                await self._screen.event(event, happening.timestamp)

    async def catch_up(self) -> None:
        """Show what each room already holds: the history after a join, and one's own messages, which are waited for
        if their acknowledgement came first."""
        self._begun = True
        for room in list(self._client.rooms.values()):
            await self._show_room(room.name, room.position.seq)
        said = self._conversation.last_said
        if said is not None:
            await self._show_room(said.room, said.seq)

    async def _show_room(self, name: str, seq: int) -> None:
        async with self._showing:
            room = self._client.rooms.get(name)
            if room is None:
                return
            cursor = room.entries()
            while cursor.position.epoch != room.position.epoch or cursor.position.seq < seq:
                try:
                    entry = await anext(cursor, None)
                except PositionLost as error:
                    await self._screen.notice(str(error))
                    continue
                if entry is None:
                    return
                await self._screen.event(entry.event, entry.timestamp)

    async def follow_link(self) -> None:
        """Tell about the link: that it is lost and tried again, that it is there again; until it is gone for good."""
        async for status in self._client.statuses():
            match status:
                case Reconnecting(why=why) if not self.lost:
                    self.lost = True
                    await self._screen.error("connection_lost", f"{sentence(why)}; trying to come back …")
                case Connected() if self.lost:
                    self.lost = False
                    self.returns += 1
                    await self._screen.notice("connected again")
                    if self._begun:
                        await self.catch_up()
