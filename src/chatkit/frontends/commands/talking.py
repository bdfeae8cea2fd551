"""Commands of everybody's: going from room to room, seeing who is there, saying things."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from chatkit.errors import RequestFailed, UsageError
from chatkit.frontends.commands.command import Command, Needs
from chatkit.frontends.commands.conversation import DEFAULT_ROOM, Conversation
from chatkit.frontends.commands.words import shown
from chatkit.protocol.codes import ErrorCode
from chatkit.protocol.messages import UserInfo

PRIVATE = "--private"
"""In front of a new room's name: nobody hears of it but who is invited."""
RECENT = 20
"""Messages that ``/recent`` lists unless told otherwise."""


async def _join(conversation: Conversation, argument: str) -> Sequence[str]:
    try:
        await conversation.enter(argument)
    except RequestFailed as error:
        if error.code != ErrorCode.NO_SUCH_ROOM:
            raise
        rooms = {name.lower(): name for name in conversation.client.state.rooms}
        near = difflib.get_close_matches(argument.lower(), rooms, n=1)
        hint = f"did you mean {rooms[near[0]]!r}?" if near else "/rooms lists those there are"
        raise RequestFailed(error.code, f"{error.message}; {hint}") from error
    room = conversation.client.state.rooms[conversation.current]
    return (f"you are in {room.name} ({room.users})" + (f": {room.summary.topic}" if room.summary.topic else ""),)


async def _create(conversation: Conversation, argument: str) -> Sequence[str]:
    first, _, rest = argument.partition(" ")
    name, _, topic = rest.strip().partition(" ") if first == PRIVATE else (first, "", rest)
    if not name:
        raise UsageError(f"say what the room is to be called, behind {PRIVATE}")
    room = await conversation.client.create(name, topic=topic.strip(), private=first == PRIVATE)
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
    mark = " " if not room.joined else ">" if name == conversation.current else "+"
    told = room.summary
    states = {"private": told.private, "read-only": told.read_only, "slow": told.slow, "closed": told.closed}
    facts = ", ".join([str(room.users), *(state for state, holds in states.items() if holds)])
    return f"{mark} {name} ({facts})" + (f"  {told.topic}" if told.topic else "")


async def _users(conversation: Conversation, _: str) -> Sequence[str]:
    room = conversation.room()
    people = [_called(one) for one in await room.users()]
    return (f"in {room.name} ({len(people)}): {', '.join(people)}",)


def _called(one: UserInfo) -> str:
    return f"{one.user} ({one.role})" if one.role in ("owner", "moderator", "admin", "bot") else one.user


async def _binary(conversation: Conversation, argument: str) -> Sequence[str]:
    await conversation.say(argument.encode("utf-8", "replace"))
    return ()


async def _recent(conversation: Conversation, argument: str) -> Sequence[str]:
    if argument and not (argument.isascii() and argument.isdigit() and 1 <= int(argument[:9]) <= 1000):
        raise UsageError(f"how many? {argument!r} is no number from 1 to 1000")
    messages = await conversation.room().past_messages(limit=int(argument or RECENT))
    return tuple(shown(message) for message in messages) or ("nobody has said anything here lately",)


TALKING = (
    Command("join", "ROOM", "go to a room", _join),
    Command("create", "ROOM [topic]", f"create a room and go there; behind {PRIVATE} only whom you invite", _create),
    Command("leave", "", f"leave the room and go back to {DEFAULT_ROOM}", _leave),
    Command("rooms", "", "list the rooms: > where you are, + where you are as well", _rooms, needs=Needs.NOTHING),
    Command("users", "", "list who is in the room", _users),
    Command("recent", "[N]", "list the newest messages with their numbers", _recent),
    Command("binary", "TEXT", "send a text as bytes", _binary),
)
