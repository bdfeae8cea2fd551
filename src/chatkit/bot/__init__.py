"""Bots: commands, conversations, jobs and plugins over the client.

A `Bot` is what a program declares; `Context` is what its handlers get. Everything a handler needs is one of the two,
or is imported from here.
"""

from __future__ import annotations

from chatkit.bot.bot import Bot
from chatkit.bot.context import Context, JobContext
from chatkit.bot.filter import (
    Filter,
    contains,
    everything,
    from_bots,
    from_user,
    in_room,
    is_event,
    is_reply,
    matches,
    where,
)
from chatkit.bot.guard import Guard, allow, at_least, at_most, cooldown, has_role, is_owner
from chatkit.bot.job import Job
from chatkit.bot.later import Later
from chatkit.bot.memory import FileMemory, Memory, RamMemory, Shelf
from chatkit.bot.pattern import Match, Pattern
from chatkit.bot.plugin import Plugin, command, daily, every, lifespan, listen, once
from chatkit.bot.scope import Group, Scope
from chatkit.bot.speaking import Broadcast
from chatkit.bot.words import quote, split
from chatkit.client import Message, Room
from chatkit.errors import BadArgument, CommandFailed, ConversationEnded, NotAllowed
from chatkit.protocol.messages import UserInfo as User

__all__ = [
    "BadArgument",
    "Bot",
    "Broadcast",
    "CommandFailed",
    "Context",
    "ConversationEnded",
    "FileMemory",
    "Filter",
    "Group",
    "Guard",
    "Job",
    "JobContext",
    "Later",
    "Match",
    "Memory",
    "Message",
    "NotAllowed",
    "Pattern",
    "Plugin",
    "RamMemory",
    "Room",
    "Scope",
    "Shelf",
    "User",
    "allow",
    "at_least",
    "at_most",
    "command",
    "contains",
    "cooldown",
    "daily",
    "every",
    "everything",
    "from_bots",
    "from_user",
    "has_role",
    "in_room",
    "is_event",
    "is_owner",
    "is_reply",
    "lifespan",
    "listen",
    "matches",
    "once",
    "quote",
    "split",
    "where",
]
