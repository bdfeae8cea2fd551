"""Error codes and close codes: what programs go by. The docs' tables are drawn from these objects."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from attrs import frozen


class ErrorCode(StrEnum):
    """Why a request was refused. A server's own actions may use codes of their own besides."""

    BAD_REQUEST = "bad_request"
    UNKNOWN_ACTION = "unknown_action"
    NOT_LOGGED_IN = "not_logged_in"
    ALREADY_LOGGED_IN = "already_logged_in"
    NAME_TAKEN = "name_taken"
    BAD_NAME = "bad_name"
    BAD_CREDENTIALS = "bad_credentials"
    FORBIDDEN = "forbidden"
    BANNED = "banned"
    MUTED = "muted"
    NO_SUCH_ROOM = "no_such_room"
    NOT_IN_ROOM = "not_in_room"
    NO_SUCH_USER = "no_such_user"
    ROOM_EXISTS = "room_exists"
    EMPTY_MESSAGE = "empty_message"
    TOO_LARGE = "too_large"
    TOO_MANY = "too_many"
    OP_CONFLICT = "op_conflict"
    RATE_LIMITED = "rate_limited"
    STORAGE_UNAVAILABLE = "storage_unavailable"
    INTERNAL_ERROR = "internal_error"


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


def may_reconnect(code: int) -> bool:
    """Whether a client told this code should come back by itself. An unknown code is a lost link: yes."""
    close = CLOSE_CODES.get(code)
    return close is None or close.reconnect
