"""What people type in a chat, the same in every frontend: text, and commands that begin with a slash.

`COMMANDS` is the one table; help, completion and dispatch are drawn from it. Parsing is pure; what a command does is
done through a `Client`, so a terminal, a web page and a window can all use it.
"""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import trio
from attrs import define, frozen

from chatkit.client import Client, Message
from chatkit.errors import RequestFailed, UsageError
from chatkit.protocol import messages as m

DEFAULT_ROOM = "general"
ENVELOPE_BYTES = 512
"""What a message's envelope takes of the server's limit besides its text."""


@define(eq=False)
class Conversation:
    """A client and the room its user is talking in."""

    client: Client
    current: str = DEFAULT_ROOM
    home: str = DEFAULT_ROOM
    """Where ``/leave`` goes back to."""
    history: int = 20
    """How many entries of history entering a room asks for."""
    over: bool = False
    """Whether the user has asked to quit."""
    last_said: Message | None = None
    """The newest message of one's own that the server has kept."""

    async def do(self, line: str) -> Sequence[str]:
        """Send or run what was typed; return what to tell the user about it.

        Raises `UsageError` for an unknown command or a missing argument, with a sentence for the user,
        `RequestFailed` when the server refuses, `Disconnected`. Cancelling waits no longer for an answer.
        """
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
                self.last_said = await self.client.rooms[self.require_current()].send(said, op=op)
            except RequestFailed as error:
                if error.retry_after is None:
                    raise
                await trio.sleep(error.retry_after)
            else:
                return self.last_said

    def require_current(self) -> str:
        """Return the current room's name. Raises `UsageError` if one is not in it any more."""
        room = self.client.state.rooms.get(self.current)
        if room is None or not room.joined:
            raise UsageError(f"you are not in {self.current} any more: /join a room first")
        return room.name

    def take(self, event: m.Event) -> None:
        """Follow what happens: a current room that is deleted is left for `home`."""
        if isinstance(event, m.RoomDeleted) and event.room == self.current:
            self.current = self.home

    async def enter(self, name: str) -> None:
        """Go to a room: join it if need be, and make it the current one. Raises `RequestFailed`, `Disconnected`."""
        room = await self.client.join(name, history=self.history)
        self.current = room.name


# ── what was typed ───────────────────────────────────────────────────────────────────────────────────────────────────


@frozen
class Say:
    """Text for the current room."""

    text: str


@frozen
class Call:
    """A command with its argument, which may be empty."""

    command: Command
    argument: str


def parse(line: str) -> Say | Call | None:
    """Say what a typed line means; None for an empty one. ``//`` begins text that starts with a slash.

    Raises `UsageError` for an unknown command, naming the nearest one, or a missing argument.
    """
    if not line.strip():
        return None
    if not line.startswith("/"):
        return Say(line)
    if line.startswith("//"):
        return Say(line[1:])
    name, _, argument = line[1:].partition(" ")
    command = COMMANDS.get(name.lower())
    if command is None:
        near = difflib.get_close_matches(name.lower(), COMMANDS, n=1)
        hint = f"did you mean /{near[0]}?" if near else "/help lists the commands"
        raise UsageError(f"there is no command /{name}: {hint}")
    argument = argument.strip()
    if not argument and command.argument and not command.argument.startswith("["):
        raise UsageError(f"/{command.name} needs something behind it: {command.usage}")
    return Call(command, argument)


# ── what commands do ─────────────────────────────────────────────────────────────────────────────────────────────────


async def _join(conversation: Conversation, argument: str) -> Sequence[str]:
    await conversation.enter(argument)
    room = conversation.client.state.rooms[conversation.current]
    return (f"you are in {room.name} ({room.users})" + (f": {room.summary.topic}" if room.summary.topic else ""),)


async def _create(conversation: Conversation, argument: str) -> Sequence[str]:
    name, _, topic = argument.partition(" ")
    room = await conversation.client.create(name, topic=topic.strip())
    conversation.current = room.name
    return (f"you have created {room.name} and are in it",)


async def _leave(conversation: Conversation, _: str) -> Sequence[str]:
    left = conversation.current
    if left == conversation.home:
        raise UsageError(f"{left} is where everybody starts: /join another room, or /quit")
    room = conversation.client.rooms.get(left)
    if room is not None:
        await room.leave()
    if conversation.home in conversation.client.rooms:
        conversation.current = conversation.home
    else:
        await conversation.enter(conversation.home)
    return (f"you have left {left} and are back in {conversation.current}",)


async def _rooms(conversation: Conversation, _: str) -> Sequence[str]:
    rooms = conversation.client.state.rooms
    return tuple(_room_line(conversation, name) for name in sorted(rooms, key=str.casefold))


def _room_line(conversation: Conversation, name: str) -> str:
    room = conversation.client.state.rooms[name]
    mark = ">" if name == conversation.current else "+" if room.joined else " "
    return f"{mark} {name} ({room.users})" + (f"  {room.summary.topic}" if room.summary.topic else "")


async def _users(conversation: Conversation, _: str) -> Sequence[str]:
    room = conversation.client.rooms[conversation.require_current()]
    people = [one.user for one in await room.users()]
    return (f"in {room.name} ({len(people)}): {', '.join(people)}",)


async def _username(conversation: Conversation, argument: str) -> Sequence[str]:
    await conversation.client.rename(argument)
    return (f"you are {conversation.client.user} now",)


async def _binary(conversation: Conversation, argument: str) -> Sequence[str]:
    await conversation.say(argument.encode("utf-8", "replace"))
    return ()


async def _help(conversation: Conversation, _: str) -> Sequence[str]:
    width = max(len(command.usage) for command in COMMANDS.values())
    lines = [f"{command.usage:<{width}}  {command.meaning}" for command in COMMANDS.values()]
    return (*lines, f"{'//text':<{width}}  say something that begins with a slash")


async def _quit(conversation: Conversation, _: str) -> Sequence[str]:
    conversation.over = True
    return ()


Run: TypeAlias = Callable[[Conversation, str], Awaitable[Sequence[str]]]


@frozen
class Command:
    """One row of the table. An argument in brackets may be left out."""

    name: str
    argument: str
    meaning: str
    run: Run

    @property
    def usage(self) -> str:
        """How it is typed."""
        return f"/{self.name} {self.argument}".rstrip()


COMMANDS = {
    command.name: command
    for command in (
        Command("join", "ROOM", "go to a room", _join),
        Command("create", "ROOM [topic]", "create a room and go there", _create),
        Command("leave", "", f"leave the room and go back to {DEFAULT_ROOM}", _leave),
        Command("rooms", "", "list the rooms: > where you are, + where you are as well", _rooms),
        Command("users", "", "list who is in the room", _users),
        Command("username", "NAME", "take another name", _username),
        Command("binary", "TEXT", "send a text as bytes", _binary),
        Command("help", "", "list these commands", _help),
        Command("quit", "", "say goodbye", _quit),
    )
}
"""Every command, by name."""
