"""Commands about the room one is in: what it is called, who may enter and speak."""

from __future__ import annotations

from collections.abc import Sequence

from chatkit.errors import UsageError
from chatkit.frontends.commands.command import Command, May, Needs
from chatkit.frontends.commands.conversation import Conversation
from chatkit.frontends.commands.words import switch, term_typed

NO_TOPIC = "-"


async def _topic(conversation: Conversation, argument: str) -> Sequence[str]:
    room = conversation.room()
    if not argument:
        return (room.state.summary.topic or f"{room.name} has no topic",)
    await room.update(topic="" if argument == NO_TOPIC else argument)
    return (f"{room.name}: {argument}" if argument != NO_TOPIC else f"{room.name} has no topic now",)


async def _private(conversation: Conversation, _: str) -> Sequence[str]:
    room = conversation.room()
    await room.update(private=True)
    return (f"{room.name} is private now: /invite lets somebody in",)


async def _public(conversation: Conversation, _: str) -> Sequence[str]:
    room = conversation.room()
    await room.update(private=False)
    return (f"{room.name} is public now",)


async def _readonly(conversation: Conversation, argument: str) -> Sequence[str]:
    room, only = conversation.room(), switch(argument)
    await room.update(read_only=only)
    return (f"only moderators speak in {room.name} now" if only else f"everybody may speak in {room.name} again",)


async def _slow(conversation: Conversation, argument: str) -> Sequence[str]:
    room = conversation.room()
    if argument.lower() == "off":
        pause = 0.0
    elif argument.isascii() and argument.isdigit() and len(argument) < 9:
        pause = float(argument)
    else:
        pause = term_typed(argument).total_seconds()
    await room.update(slow=pause)
    if not pause:
        return (f"{room.name} is slow no longer",)
    return (f"everybody speaks in {room.name} every {pause:g} seconds at most now",)


async def _close(conversation: Conversation, _: str) -> Sequence[str]:
    room = conversation.room()
    await room.update(closed=True)
    return (f"{room.name} is closed: everybody but its moderators is out",)


async def _reopen(conversation: Conversation, argument: str) -> Sequence[str]:
    room = conversation.room()
    await room.update(closed=False)
    return (f"{room.name} is open again",)


async def _rename_room(conversation: Conversation, argument: str) -> Sequence[str]:
    room = conversation.room()
    await room.update(name=argument)
    conversation.current = room.name
    return ()


async def _delete(conversation: Conversation, argument: str) -> Sequence[str]:
    room = conversation.room()
    if argument != room.name:
        raise UsageError(f"this deletes the room and all that was said in it: to be sure, type /delete {room.name}")
    await room.delete()
    return (f"you have deleted {argument}",)


ROOMS = (
    Command(
        "topic",
        "[TEXT]",
        f"show the room's topic, or set it; {NO_TOPIC} for none",
        _topic,
        May.MODERATOR,
        Needs.NOTHING,
    ),
    Command("private", "", "let in nobody but whom you invite", _private, May.OWNER),
    Command("public", "", "let everybody in", _public, May.OWNER),
    Command("readonly", "on|off", "let only moderators speak", _readonly, May.OWNER),
    Command("slow", "SECONDS|off", "let everybody wait between two messages", _slow, May.OWNER),
    Command("close", "", "send everybody out but the moderators", _close, May.OWNER),
    Command("reopen", "", "open the room again", _reopen, May.OWNER),
    Command("rename-room", "NAME", "give the room another name", _rename_room, May.OWNER),
    Command("delete", "ROOM", "delete the room you are in, with all that was said in it", _delete, May.OWNER),
)
