"""How a command ends: exit codes, and one sentence for every error. The docs' table is drawn from `Exit`."""

from __future__ import annotations

from enum import IntEnum

from chatkit.errors import (
    ChatError,
    ConnectFailed,
    Disconnected,
    ListenFailed,
    RequestFailed,
    StorageError,
    UsageError,
)
from chatkit.frontends.visible import visible


class Exit(IntEnum):
    """An exit code."""

    meaning: str
    """What it says, in one sentence."""

    def __new__(cls, code: int, meaning: str) -> Exit:
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    OK = 0, "Everything was done."
    REFUSED = 1, "The server said no: a name that is taken, a room that does not exist, an empty message."
    USAGE = 2, "The command was called wrongly, or needs an extra that is not installed."
    NO_LINK = 3, "No connection came to be; for `serve`: an address cannot be listened on."
    LINK_LOST = 4, "The connection was lost, or the server stopped."
    STORE = 5, "The store cannot be opened, or cannot keep what was sent."
    FAILED = 70, "chatkit itself failed; the traceback says where."
    INTERRUPTED = 130, "Interrupted by Ctrl-C (SIGINT)."
    BROKEN_PIPE = 141, "Whoever read the output went away."
    TERMINATED = 143, "Ended by SIGTERM. `serve` ends with 0 instead, having stopped gracefully."


_BY_ERROR: tuple[tuple[type[ChatError], Exit], ...] = (
    (RequestFailed, Exit.REFUSED),
    (UsageError, Exit.USAGE),
    (ConnectFailed, Exit.NO_LINK),
    (ListenFailed, Exit.NO_LINK),
    (Disconnected, Exit.LINK_LOST),
    (StorageError, Exit.STORE),
)


def exit_for(error: ChatError) -> Exit:
    """Return the exit code for an error that ended a command."""
    return next((code for kind, code in _BY_ERROR if isinstance(error, kind)), Exit.FAILED)


def sentence(error: ChatError) -> str:
    """Say an error in one plain line that is safe to write to a terminal."""
    if isinstance(error, Disconnected):
        return visible(f"connection lost: {error.reason or 'the link broke'} ({error.code})")
    if isinstance(error, ConnectFailed) and error.refused:
        return visible(f"{error}; is the server running? chatkit serve starts one")
    return visible(str(error))
