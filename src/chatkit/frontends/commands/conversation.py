"""A client and the room its user is talking in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import trio
from attrs import define, frozen

from chatkit.client import Client, Message, Room
from chatkit.errors import RequestFailed, UsageError
from chatkit.frontends.commands.command import May
from chatkit.frontends.commands.words import unfit
from chatkit.protocol import messages as m
from chatkit.protocol import moderation as mod

DEFAULT_ROOM = "general"
ENVELOPE_BYTES = 512
"""What a message's envelope takes of the server's limit besides its text."""
AskSecret: TypeAlias = Callable[[str], Awaitable[str]]


@frozen(kw_only=True)
class Registration:
    """An account that the user asks for: the guest goes, and comes back with it."""

    user: str
    password: str
    invitation: str | None = None

    def __repr__(self) -> str:
        return f"Registration({self.user!r})"


@define(eq=False)
class Conversation:
    """A client and the room its user is talking in."""

    client: Client
    current: str = DEFAULT_ROOM
    home: str = DEFAULT_ROOM
    """Where ``/leave`` goes back to."""
    history: int = 20
    """How many entries of history entering a room asks for."""
    ask_secret: AskSecret | None = None
    """Asks the user for a password without showing it; None where nobody can be asked."""
    over: bool = False
    """Whether the user has asked to quit."""
    farewell: str = ""
    """What to tell the user at the end."""
    registering: Registration | None = None
    """The account the user has asked for: this conversation goes on with another client, which opens it."""
    last_said: Message | None = None
    """The newest message of one's own that the server has kept."""

    async def do(self, line: str) -> Sequence[str]:
        """Send or run what was typed; return what to tell the user about it.

        Raises `UsageError` for an unknown command or a missing argument, with a sentence for the user,
        `RequestFailed` when the server refuses, `Disconnected`. Cancelling waits no longer for an answer.
        """
        from chatkit.frontends.commands.table import Call, Say, parse  # the table knows every command, they know this

        match parse(line):
            case None:
                return ()
            case Say(text):
                await self.say(text)
                return ()
            case Call(command, argument):
                return await command.run(self, argument)

    async def say(self, said: str | bytes) -> Message:
        """Say something in the current room, waiting as often as the server asks for patience."""
        if isinstance(said, str) and not said.strip():
            raise UsageError("there is nothing in the message but white space")
        most = self.client.hello.limits.get("max_message_bytes", 0) - ENVELOPE_BYTES
        size = len(said.encode("utf-8", "replace")) if isinstance(said, str) else len(said) * 4 // 3
        if size > most > 0:
            raise UsageError(f"the message is too long: {size} bytes, and the server takes about {most}")
        op = self.client.new_op()
        while True:
            try:
                self.last_said = await self.room().send(said, op=op)
            except RequestFailed as error:
                if error.retry_after is None:
                    raise
                await trio.sleep(error.retry_after)
            else:
                return self.last_said

    def room(self) -> Room:
        """Return the current room. Raises `UsageError` if one is not in it any more."""
        room = self.client.rooms.get(self.current)
        if room is None:
            raise UsageError(f"you are not in {self.current} any more: /join a room first")
        return room

    def take(self, event: m.Event) -> None:
        """Follow what happens: a current room that is renamed goes on, one that is gone is left for `home`."""
        match event:
            case mod.RoomRenamed(room=name, was=was):
                self.current = name if self.current == was else self.current
                self.home = name if self.home == was else self.home
            case m.RoomDeleted(room=name) | mod.RemovedFromRoom(room=name) if name == self.current:
                self.current = self.home

    async def enter(self, name: str, after: int | None = None) -> None:
        """Go to a room: join it if need be, and make it the current one. It begins with some history, or behind a seq.
        Raises `RequestFailed`, `Disconnected`."""
        room = await self.client.join(name, history=self.history, after=after)
        self.current = room.name

    # ── who one is ───────────────────────────────────────────────────────────────────────────────────────────────────

    def may(self) -> frozenset[May]:
        """Return what one is here, as far as it is known."""
        client = self.client
        has = {May.ANYBODY, May.GUEST if client.role == "guest" else May.ACCOUNT}
        ranks = {"admin": 3, "owner": 2, "moderator": 1}
        rank = max(ranks.get(client.role, 0), ranks.get(client.state.role_in(self.current), 0))
        return frozenset(has | set((May.MODERATOR, May.OWNER, May.ADMIN)[:rank]))

    async def secret(self, label: str) -> str:
        """Ask for a password. Raises `UsageError` where nobody can be asked, or nothing is given."""
        if self.ask_secret is None:
            raise UsageError("a password is asked for in a terminal only")
        found = await self.ask_secret(label)
        if not found:
            raise UsageError("nothing was changed: no password was given")
        return found

    async def new_secret(self) -> str:
        """Ask for a new password, twice. Raises `UsageError` if they differ or cannot be one, and as `secret`."""
        first = await self.secret("new password (8 bytes or more): ")
        if (why := unfit(first)) is not None:
            raise UsageError(f"nothing was changed: {why}")
        if await self.secret("the same again: ") != first:
            raise UsageError("nothing was changed: the two passwords differ")
        return first
