"""One command: how it is typed, what it means, who may use it, what it does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, TypeAlias

from attrs import frozen

if TYPE_CHECKING:
    from chatkit.frontends.commands.conversation import Conversation

Run: TypeAlias = Callable[["Conversation", str], Awaitable[Sequence[str]]]


class May(IntEnum):
    """Who may use a command where they are. The server decides; this only orders the help."""

    whose: str
    """How the help calls them."""

    def __new__(cls, value: int, whose: str) -> May:
        member = int.__new__(cls, value)
        member._value_ = value
        member.whose = whose
        return member

    ANYBODY = 0, "everybody"
    GUEST = 1, "guests"
    ACCOUNT = 2, "people with an account"
    MODERATOR = 3, "moderators of the room"
    OWNER = 4, "owners of the room"
    ADMIN = 5, "admins of the server"


class Needs(Enum):
    """What a command needs before it is done."""

    NOTHING = "nobody's answer: it shows what is known already"
    ANSWER = "an answer of the server"
    PASSWORD = "passwords, which it asks for, and an answer of the server"


@frozen
class Command:
    """One row of the table. An argument in brackets may be left out."""

    name: str
    argument: str
    meaning: str
    run: Run
    may: May = May.ANYBODY
    needs: Needs = Needs.ANSWER
    """What it needs as long as nothing stands behind it."""

    @property
    def usage(self) -> str:
        """How it is typed."""
        return f"/{self.name} {self.argument}".rstrip()
