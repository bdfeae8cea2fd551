"""What people type in a chat, the same in every frontend: text, and commands that begin with a slash.

`COMMANDS` is the one table; help, completion and dispatch are drawn from it. Parsing is pure; what a command does is
done through a `Client`, so a terminal, a web page and a window can all use it.
"""

from __future__ import annotations

from chatkit.frontends.commands.command import Command, May, Needs
from chatkit.frontends.commands.conversation import DEFAULT_ROOM, Conversation
from chatkit.frontends.commands.table import COMMANDS, GROUPS, Call, Say, needs_of, parse

__all__ = [
    "COMMANDS",
    "DEFAULT_ROOM",
    "GROUPS",
    "Call",
    "Command",
    "Conversation",
    "May",
    "Needs",
    "Say",
    "needs_of",
    "parse",
]
