"""Error codes and close codes: what programs go by. The docs' tables are drawn from these objects."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from attrs import frozen


class ErrorCode(StrEnum):
    """Why a request was refused. A server's own actions may use codes of their own besides."""

    meaning: str
    """What it says, in one sentence."""

    def __new__(cls, code: str, meaning: str) -> ErrorCode:
        member = str.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    BAD_REQUEST = (
        "bad_request",
        "It is no request, or a field is missing, of the wrong type or out of bounds.",
    )
    UNKNOWN_ACTION = "unknown_action", "The server knows no such action."
    NOT_LOGGED_IN = "not_logged_in", "Only `login` is accepted before a login."
    ALREADY_LOGGED_IN = "already_logged_in", "This link has logged in already."
    NAME_TAKEN = "name_taken", "Somebody else has this name now."
    BAD_NAME = "bad_name", "This cannot be the name of a person or a room; the message says why."
    BAD_CREDENTIALS = "bad_credentials", "Wrong name or password, or the token is not good any more."
    FORBIDDEN = "forbidden", "One's role does not allow it."
    BANNED = "banned", "One is banned from the server or the room."
    MUTED = "muted", "One may read here but not write."
    NO_SUCH_ROOM = "no_such_room", "There is no such room, or it is not one's to know of."
    NOT_IN_ROOM = "not_in_room", "One has to be in the room for this."
    NO_SUCH_USER = "no_such_user", "There is nobody of this name."
    NO_SUCH_MESSAGE = "no_such_message", "There is no such message, or it is no longer kept."
    ROOM_EXISTS = "room_exists", "There is a room of this name already."
    EMPTY_MESSAGE = "empty_message", "There is nothing in the message but white space."
    CONFLICT = "conflict", "Somebody else changed the same thing meanwhile: look again, then try again."
    TOO_LARGE = "too_large", "A message or a part of it is longer than the limits in `hello` allow."
    TOO_MANY = "too_many", "One more would exceed a limit on how many there may be."
    OP_CONFLICT = "op_conflict", "This `op` was used before, for other content."
    RATE_LIMITED = "rate_limited", "Too much at once; `retry_after` says when to try again."
    STORAGE_UNAVAILABLE = (
        "storage_unavailable",
        "Whether it is kept is unknown: repeat with the same `op`.",
    )
    INTERNAL_ERROR = "internal_error", "The server failed in this request. It is logged there."


@frozen
class Close:
    """One close code: its number, what it means, and whether a client should come back by itself."""

    code: int
    meaning: str
    reconnect: bool


CLOSE_CODES: Mapping[int, Close] = MappingProxyType(
    {
        close.code: close
        for close in (
            Close(1000, "closed by agreement", reconnect=False),
            Close(1001, "the server is stopping", reconnect=True),
            Close(1002, "broke the WebSocket protocol", reconnect=True),
            Close(1006, "the link broke", reconnect=True),
            Close(1007, "text that is not UTF-8", reconnect=True),
            Close(1009, "message too large", reconnect=True),
            Close(1011, "the server failed in this connection", reconnect=True),
            Close(4400, "sent garbage", reconnect=True),
            Close(4401, "not logged in in time", reconnect=True),
            Close(4403, "kicked or banned", reconnect=False),
            Close(4408, "too slow", reconnect=True),
            Close(4409, "replaced by a newer link of the same session", reconnect=False),
            Close(4429, "flooding", reconnect=True),
        )
    }
)
"""Every close code a server or a link may end with, by number."""


def may_reconnect(code: int) -> bool:
    """Whether a client told this code should come back by itself. An unknown code is a lost link: yes."""
    close = CLOSE_CODES.get(code)
    return close is None or close.reconnect
