"""The one table of commands, and what a typed line means by it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

import trio
from attrs import frozen

from chatkit.client import Connected
from chatkit.errors import UsageError
from chatkit.frontends.commands.account import ACCOUNT
from chatkit.frontends.commands.command import Command, Needs
from chatkit.frontends.commands.conversation import Conversation
from chatkit.frontends.commands.help import help_lines
from chatkit.frontends.commands.order import ORDER
from chatkit.frontends.commands.rooms import ROOMS
from chatkit.frontends.commands.talking import TALKING

PATIENCE = 0.5
"""Seconds the help waits to learn one's role in a large room: it is shown to whoever has a silent server, too."""


async def _help(conversation: Conversation, _: str) -> Sequence[str]:
    room = conversation.client.rooms.get(conversation.current)
    there = isinstance(conversation.client.status, Connected)
    if there and room is not None and conversation.client.user not in room.state.members:
        with trio.move_on_after(PATIENCE):
            await room.users()  # so that one's own role is known
    return help_lines(GROUPS, conversation.may())


async def _quit(conversation: Conversation, _: str) -> Sequence[str]:
    conversation.over = True
    return ()


GROUPS: Mapping[str, tuple[Command, ...]] = {
    "Talking": TALKING,
    "Yourself": ACCOUNT,
    "Keeping order": ORDER,
    "The room": ROOMS,
    "Else": (
        Command("help", "", "list these commands", _help, needs=Needs.NOTHING),
        Command("quit", "", "say goodbye", _quit, needs=Needs.NOTHING),
    ),
}
COMMANDS: Mapping[str, Command] = {command.name: command for group in GROUPS.values() for command in group}
"""Every command, by name."""


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


def needs_of(line: str) -> Needs:
    """Say what a typed line needs before it is done; one that means nothing is explained at once."""
    try:
        meant = parse(line)
    except UsageError:
        return Needs.NOTHING
    match meant:
        case Say():
            return Needs.ANSWER
        case Call(command, argument):
            set_to = bool(argument and command.argument) and command.needs is Needs.NOTHING
            return Needs.ANSWER if set_to else command.needs
    return Needs.NOTHING
