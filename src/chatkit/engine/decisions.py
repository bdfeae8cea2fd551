"""What the engine answers: decisions about requests, and the effects the server carries out, in order."""

from __future__ import annotations

from typing import Any, TypeAlias

from attrs import field, frozen

from chatkit.backend.records import Change
from chatkit.protocol.messages import Event

SessionId: TypeAlias = int


@frozen
class Tell:
    """Send an event to one session."""

    session: SessionId
    event: Event


@frozen
class TellRoom:
    """Send an ephemeral event to every session in a room, except one."""

    room_id: str
    event: Event
    but: SessionId | None = None


@frozen
class TellEveryone:
    """Send an ephemeral event to every session that is logged in, except one."""

    event: Event
    but: SessionId | None = None


@frozen
class Attach:
    """Let the session receive the room's log from behind ``after``; None means from the head."""

    session: SessionId
    room_id: str
    after: int | None = None
    announce_caught_up: bool = False


@frozen
class Detach:
    """Let the session receive nothing more of the room."""

    session: SessionId
    room_id: str


@frozen
class Changed:
    """The room's line in everybody's list of rooms is out of date: send it soon, once for several changes."""

    room_id: str


@frozen
class CloseSession:
    """End the session's link with a close code."""

    session: SessionId
    code: int
    reason: str


Effect: TypeAlias = Tell | TellRoom | TellEveryone | Attach | Detach | Changed | CloseSession


@frozen
class Refusal:
    """The request is not granted."""

    code: str
    message: str
    retry_after: float | None = None
    scope: str | None = None
    """Which rate was exceeded, if it was one."""


@frozen
class Reply:
    """The request is done: send ``reply``, then carry out the effects."""

    reply: Any
    effects: tuple[Effect, ...] = ()


NAMES = "names"
"""In a fence: the names people go by."""
EVERYBODY = "everybody"


@frozen
class Proposal:
    """The request is granted if the backend commits ``change``; `Engine.conclude` turns the outcome into the answer.

    ``fence``: it takes rights away, or a name, and whose or where: ids of rooms and people, `NAMES`, or `EVERYBODY`.
    Whatever was proposed meanwhile is judged again once it has been applied, and what has to do with any of those is
    not committed before. ``needs`` is what of the table of permissions the asker must have then, if the request alone
    does not tell. ``note`` is the engine's own, for `Engine.conclude`.
    """

    change: Change
    fence: tuple[str, ...] = ()
    note: Any = None
    needs: str | None = None


@frozen
class Joining:
    """The session may enter: read what it asked for, then call `Engine.join`."""

    room_id: str
    after: int | None
    last: int | None


@frozen(kw_only=True)
class Reading:
    """The session may read this part of the log. ``at`` is in milliseconds since 1970."""

    room_id: str
    before: int | None
    after: int | None
    around: int | None
    at: int | None
    limit: int


@frozen
class Verify:
    """Compare the password with the hash, then call `Engine.verified`. None stands for an account that does not exist:
    it takes the same work, and fails. ``key`` names the account, for the throttle."""

    key: str
    hash: str | None = field(repr=False)
    password: str = field(repr=False)


@frozen
class Hash:
    """Hash the password, then call `Engine.hashed`."""

    password: str = field(repr=False)


@frozen
class Inspect:
    """Read the entry at ``seq``, then call `Engine.inspected`."""

    room_id: str
    seq: int


@frozen
class Search:
    """Read backwards for what somebody said, then call `Engine.found`. ``author`` is their stable id."""

    room_id: str
    author: str


@frozen(kw_only=True)
class ReadAudit:
    """Read acts of moderation, newest first, before seq ``before``: those in one room, or all."""

    room_id: str | None
    before: int | None
    limit: int


Decision: TypeAlias = Refusal | Reply | Proposal | Joining | Reading | Verify | Hash | Inspect | Search | ReadAudit
