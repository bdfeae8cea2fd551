"""Commands that keep order: who is sent out, kept out, silenced, invited, promoted; what is removed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import islice
from typing import Literal

from chatkit.client import AuditEntry, BanInfo
from chatkit.client.terms import written
from chatkit.errors import UsageError
from chatkit.frontends.commands.command import Command, May
from chatkit.frontends.commands.conversation import Conversation
from chatkit.frontends.commands.words import (
    SERVER,
    Act,
    act_of,
    because,
    is_address,
    number_of,
    server_of,
    when,
)

AUDIT_LINES = 30
"""Acts that ``/audit`` lists."""
ROLES: tuple[Literal["owner", "moderator", "member"], ...] = ("owner", "moderator", "member")


def _for(act: Act) -> str:
    return f" for {written(act.term)}" if act.term is not None else ""


async def _kick(conversation: Conversation, argument: str) -> Sequence[str]:
    act = act_of(argument, term=False)
    await (conversation.client if act.server else conversation.room()).kick(act.who, act.reason)
    return (f"{act.who} is off the server" if act.server else f"{act.who} is out of {conversation.current}",)


async def _ban(conversation: Conversation, argument: str) -> Sequence[str]:
    act = act_of(argument, term=True)
    if not act.server:
        await conversation.room().ban(act.who, for_=act.term, reason=act.reason)
        return (f"{act.who} is banned from {conversation.current}{_for(act)}",)
    if is_address(act.who):
        await conversation.client.ban(address=act.who, for_=act.term, reason=act.reason)
    else:
        await conversation.client.ban(act.who, for_=act.term, reason=act.reason)
    return (f"{act.who} is banned from the server{_for(act)}",)


async def _unban(conversation: Conversation, argument: str) -> Sequence[str]:
    act = act_of(argument, term=False)
    await (conversation.client if act.server else conversation.room()).unban(act.who)
    where = "the server" if act.server else conversation.current
    return (f"{act.who} may come back to {where}",)


async def _bans(conversation: Conversation, argument: str) -> Sequence[str]:
    server, rest = server_of(argument)
    if rest:
        raise UsageError(f"{rest!r} is too much: /bans [{SERVER}]")
    found = await (conversation.client if server else conversation.room()).bans()
    # A guest is banned by name and as the guest they are, who is not known by name once they are gone: one line.
    names = {(ban.at, ban.mute) for ban in found if ban.kind == "name"}
    named = [ban for ban in found if ban.kind == "name" or (ban.at, ban.mute) not in names]
    return tuple(_ban_line(ban) for ban in named) or (
        f"nobody is banned from {'the server' if server else conversation.current}",
    )


def _ban_line(ban: BanInfo) -> str:
    until = f"until {when(ban.until)}" if ban.until is not None else "for good"
    return f"{ban.value} is {'muted' if ban.mute else 'banned'} {until}, by {ban.by}{because(ban.reason)}"


async def _mute(conversation: Conversation, argument: str) -> Sequence[str]:
    act = act_of(argument, term=True)
    _only_here(act)
    await conversation.room().mute(act.who, for_=act.term, reason=act.reason)
    return (f"{act.who} may not speak in {conversation.current}{_for(act)}",)


def _only_here(act: Act) -> None:
    if act.server:
        raise UsageError("somebody is muted in a room, not on the server")


async def _unmute(conversation: Conversation, argument: str) -> Sequence[str]:
    await conversation.room().unmute(argument)
    return (f"{argument} may speak in {conversation.current} again",)


async def _invite(conversation: Conversation, argument: str) -> Sequence[str]:
    await conversation.room().invite(argument)
    return (f"{argument} may enter {conversation.current}",)


async def _withdraw(conversation: Conversation, argument: str) -> Sequence[str]:
    await conversation.room().withdraw(argument)
    return (f"{argument} may not enter {conversation.current} any more",)


async def _role(conversation: Conversation, argument: str) -> Sequence[str]:
    who, _, role = argument.partition(" ")
    for known in ROLES:
        if role.strip().lower() == known:
            room = conversation.room()
            await room.set_role(who, known)
            told = who in room.state.members  # then everybody is told
            return () if told else (f"{who} is {known} of {room.name} now",)
    raise UsageError(f"which role? /role NAME {'|'.join(ROLES)}")


async def _remove(conversation: Conversation, argument: str) -> Sequence[str]:
    number, _, reason = argument.partition(" ")
    await conversation.room().delete_message(number_of(number), reason=reason.strip())
    return ()


async def _removeall(conversation: Conversation, argument: str) -> Sequence[str]:
    act = act_of(argument, term=False)
    _only_here(act)
    count = await conversation.room().delete_messages_of(act.who, reason=act.reason)
    messages = "1 message" if count == 1 else f"{count} messages"
    return (f"removed {messages} of {act.who} from {conversation.current}",)


async def _audit(conversation: Conversation, argument: str) -> Sequence[str]:
    server, rest = server_of(argument)
    if rest:
        raise UsageError(f"{rest!r} is too much: /audit [{SERVER}]")
    stream = (conversation.client if server else conversation.room()).audit()
    found: list[AuditEntry] = []
    async for entry in stream:
        found.append(entry)
        if len(found) == AUDIT_LINES:
            break
    return tuple(_audit_line(entry, server) for entry in reversed(found)) or ("nothing was done here yet",)


def _audit_line(entry: AuditEntry, server: bool) -> str:
    place = f" [{entry.room}]" if server and entry.room else ""
    details = ", ".join(_detail(name, value) for name, value in islice(entry.details.items(), 8) if value is not None)
    whom = f" {entry.whom}" if entry.whom else ""
    more = f" ({details})" if details else ""
    return f"{when(entry.at)}{place} {entry.by}: {entry.act}{whom}{more}{because(entry.reason)}"


def _detail(name: str, value: object) -> str:
    if name == "seconds" and isinstance(value, int):
        return f"for {written(timedelta(seconds=value))}"
    return f"{name} {value}"


ORDER = (
    Command("kick", "NAME [reason]", "send somebody out of the room", _kick, May.MODERATOR),
    Command("ban", "NAME [1h] [reason]", "keep somebody out, for a term or for good", _ban, May.MODERATOR),
    Command("unban", "NAME", "lift a ban", _unban, May.MODERATOR),
    Command("bans", "", "list who is banned or muted", _bans, May.MODERATOR),
    Command("mute", "NAME [10m] [reason]", "let somebody read but not speak", _mute, May.MODERATOR),
    Command("unmute", "NAME", "let somebody speak again", _unmute, May.MODERATOR),
    Command("invite", "NAME", "let somebody into a private room", _invite, May.MODERATOR),
    Command("withdraw", "NAME", "take an invitation back", _withdraw, May.MODERATOR),
    Command("role", "NAME owner|moderator|member", "give somebody a role in the room", _role, May.OWNER),
    Command("remove", "N [reason]", "remove a message, one's own or as a moderator; /recent shows numbers", _remove),
    Command("removeall", "NAME [reason]", "remove everything somebody said here", _removeall),
    Command("audit", "", "list what was done here to keep order", _audit, May.MODERATOR),
)
