"""Who may do what in which state of a room: one table. Tests assert every cell, and the docs show it.

A person's *standing* in a room sums up their roles there and on the server; a rule names the lowest standing that may
do something in each state. Beyond the table, nobody acts on somebody of their own standing or above.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, IntEnum
from types import MappingProxyType


class Standing(IntEnum):
    """What somebody is in a room, from the least to the most."""

    meaning: str
    """Who that is, in a few words."""

    def __new__(cls, value: int, meaning: str) -> Standing:
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    OUTSIDER = 0, "not invited to a private room"
    BANNED = 1, "kept out of the room"
    READER = 2, "may read but not speak: muted, or a guest where guests only read"
    MEMBER = 3, "anybody else; in a private room, whoever was invited"
    MODERATOR = 4, "keeps order in the room"
    OWNER = 5, "created the room, or was made an owner"
    ADMIN = 6, "an admin of the server, in every room"


class RoomMode(Enum):
    """The state a room is in."""

    OPEN = "open"
    READ_ONLY = "read-only"
    CLOSED = "closed"


def _always(standing: Standing) -> Mapping[RoomMode, Standing]:
    return MappingProxyType(dict.fromkeys(RoomMode, standing))


def _modes(open_: Standing, read_only: Standing, closed: Standing) -> Mapping[RoomMode, Standing]:
    return MappingProxyType({RoomMode.OPEN: open_, RoomMode.READ_ONLY: read_only, RoomMode.CLOSED: closed})


S = Standing
PERMISSIONS: Mapping[str, Mapping[RoomMode, Standing]] = MappingProxyType(
    {
        "know": _always(S.BANNED),
        "enter": _modes(S.READER, S.READER, S.MODERATOR),
        "read": _modes(S.READER, S.READER, S.MODERATOR),
        "speak": _modes(S.MEMBER, S.MODERATOR, S.MODERATOR),
        "speak without waiting": _always(S.MODERATOR),
        "delete own messages": _modes(S.READER, S.READER, S.MODERATOR),
        "delete messages": _always(S.MODERATOR),
        "kick": _always(S.MODERATOR),
        "ban": _always(S.MODERATOR),
        "mute": _always(S.MODERATOR),
        "invite": _always(S.MODERATOR),
        "see bans": _always(S.MODERATOR),
        "see audit": _always(S.MODERATOR),
        "set topic": _always(S.MODERATOR),
        "change room": _always(S.OWNER),
        "set role": _always(S.OWNER),
        "delete room": _always(S.OWNER),
        "moderate server": _always(S.ADMIN),
    }
)
"""The lowest standing that may do each thing, by the room's state."""


def allowed(act: str, standing: Standing, mode: RoomMode = RoomMode.OPEN) -> bool:
    """Whether somebody of this standing may do this in a room in this state."""
    return standing >= PERMISSIONS[act][mode]


def above(actor: Standing, target: Standing) -> bool:
    """Whether somebody may act on somebody else."""
    return actor > target
