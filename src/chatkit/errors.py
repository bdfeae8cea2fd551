"""Every exception chatkit raises, as one tree.

::

    ChatError
    ├── ProtocolError          the peer sent what the protocol does not allow
    ├── UsageError             this program called chatkit wrongly
    │   └── MissingExtra       a part needs a package that is not installed
    ├── RequestFailed          the server said no to one request; the connection lives
    ├── Disconnected           the link is gone; says whether coming back makes sense
    ├── ConnectFailed          no link came to be: wrong address, refused, handshake failed
    ├── PositionLost           a reader's position is no longer in the log; it has been moved to what is kept
    ├── ListenFailed           an address cannot be listened on
    ├── CommandFailed          what somebody asked of a bot cannot be done; the text is for them
    │   ├── BadArgument        a command's argument is missing or not what was expected
    │   └── NotAllowed         a guard refused: a role, a cooldown, too many at once
    ├── ConversationEnded      somebody did not answer a bot: no more time, a cancel word, gone
    └── StorageError           the backend cannot do what was asked
        ├── StorageUnavailable a commit's outcome is unknown; safe to repeat with the same op
        └── StorageUnreadable  the store cannot be opened: not ours, damaged, from a newer version

No exception of trio, ssl, sqlite or another dependency crosses chatkit's surface; the original is kept as
``__cause__``.
"""

from __future__ import annotations


class ChatError(Exception):
    """The base of everything chatkit raises."""


class ProtocolError(ChatError):
    """The peer sent what the protocol does not allow.

    ``str(error)`` is a sentence for people that says where and what was expected, such as
    ``data.room: expected a string``. ``code`` is the error code a server answers with (default ``bad_request``).
    ``ref`` is the request's reference when it could be read, else None.
    """

    def __init__(self, message: str, *, code: str = "bad_request", ref: int | str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.ref = ref


class UsageError(ChatError):
    """This program called chatkit wrongly: a malformed URL, an unknown scheme, an argument out of bounds."""


class MissingExtra(UsageError):
    """A part of chatkit needs a package that is not installed; the message names the extra that brings it."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an extra: pip install 'chatkit[{extra}]'")
        self.extra = extra


class RequestFailed(ChatError):
    """The server refused one request. The connection is as good as before.

    ``code`` is for programs (see :mod:`chatkit.protocol.codes`), ``message`` for people, ``retry_after`` the seconds
    after which the same request may succeed, when the server knows; ``scope`` which rate was exceeded, if it was one.
    """

    def __init__(self, code: str, message: str, *, retry_after: float | None = None, scope: str | None = None) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code
        self.message = message
        self.retry_after = retry_after
        self.scope = scope


class Disconnected(ChatError):
    """The link is gone. ``code`` is the close code (1006 when it broke without one), ``reconnect`` whether coming
    back makes sense."""

    def __init__(self, code: int = 1006, reason: str = "", *, reconnect: bool = True) -> None:
        super().__init__(f"disconnected: {reason or 'the link broke'} ({code})")
        self.code = code
        self.reason = reason
        self.reconnect = reconnect


class ConnectFailed(ChatError):
    """No link came to be: the address does not resolve, nobody listens there, or what listens is no chatkit server.

    ``refused`` is whether the machine is there and nobody listens at the address.
    """

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


class PositionLost(ChatError):
    """A reader cannot go on without a gap: the log is another one, or what followed its position is no longer kept.

    The reader has been moved to the oldest entry that is kept; reading on from there is up to the program. ``room`` is
    the room's name, ``epoch`` and ``seq`` the position that was lost.
    """

    def __init__(self, room: str, epoch: str, seq: int) -> None:
        super().__init__(f"what followed {seq} in {room!r} is no longer kept")
        self.room = room
        self.epoch = epoch
        self.seq = seq


class ListenFailed(ChatError):
    """An address cannot be listened on: in use, not allowed, not local."""


class CommandFailed(ChatError):
    """What somebody asked of a bot cannot be done. Raise it in a handler: its text is the answer they get."""


class BadArgument(CommandFailed):
    """An argument of a command is missing or not what was expected.

    ``parameter`` is its name, ``got`` what was typed (None if it was missing), ``expected`` what should have been,
    ``usage`` the command's usage line; the text says it all in one sentence and the usage.
    """

    def __init__(self, parameter: str, got: str | None, expected: str, usage: str) -> None:
        if got is None:
            sentence = f"{parameter} is missing: expected {expected}."
        else:
            shown = got if len(got) <= 40 else f"{got[:39]}…"
            sentence = f"{parameter}: expected {expected}, not “{shown}”."
        super().__init__(f"{sentence} Usage: {usage}")
        self.parameter = parameter
        self.got = got
        self.expected = expected
        self.usage = usage


class NotAllowed(CommandFailed):
    """A guard refused. ``retry_after`` is in how many seconds it may not refuse any more, if that is known."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ConversationEnded(ChatError):
    """Somebody did not answer a bot's question. ``reason`` is ``timeout``, ``cancelled`` (they said a cancel word),
    ``left`` (they are gone, or the room is), or ``busy`` (another question to them is open there). ``user`` is whom
    the question was for, if that is not the person the handler runs for."""

    def __init__(self, reason: str, user: str = "") -> None:
        super().__init__(f"the conversation has ended: {reason}")
        self.reason = reason
        self.user = user


class StorageError(ChatError):
    """The backend cannot do what was asked."""


class StorageUnavailable(StorageError):
    """A commit failed and its outcome is unknown: a later recovery may still show it. Repeat it with the same op."""


class StorageUnreadable(StorageError):
    """The store cannot be opened: no permission, not a chatkit database, damaged, or from a newer version."""
