"""What a backend keeps, and what may be asked of it: plain facts, no behaviour.

A *change* is proposed and either committed or refused as a whole. A committed change comes back through the feed:
an `Append` as the `Row` it became, those in a `Together` one by one, every other change as itself.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, TypeAlias

import orjson
from attrs import field, frozen

from chatkit.backend.accounts import RECORDS, Account, Ban, BanKind, Invitation, Record, TokenKind, TokenRecord

__all__ = [
    "RECORDS",
    "UNCHECKED",
    "Account",
    "Append",
    "Appended",
    "Applied",
    "Ban",
    "BanKind",
    "Batch",
    "Body",
    "Change",
    "CreateRoom",
    "DeleteRoom",
    "Fact",
    "Invitation",
    "Member",
    "Outcome",
    "Page",
    "Put",
    "PutMember",
    "Record",
    "Redact",
    "Refused",
    "Remove",
    "RemoveMember",
    "RoomRecord",
    "Row",
    "Snapshot",
    "Together",
    "TokenKind",
    "TokenRecord",
    "Trim",
    "Unchecked",
    "UpdateRoom",
]

Body: TypeAlias = str | bytes | None


class Unchecked(Enum):
    """The type of `UNCHECKED`."""

    UNCHECKED = "unchecked"


UNCHECKED: Final = Unchecked.UNCHECKED
"""In place of what should be there before a change: anything, or nothing."""


@frozen(kw_only=True)
class Row:
    """One entry of a room's log. Fields, never wire bytes.

    ``seq`` counts 1, 2, 3 … within the room, without holes. ``time`` is in milliseconds since 1970, UTC. ``kind`` is
    ``message`` or the action of a durable event; ``about`` a seq of the same room that the entry refers to.
    ``author`` is a stable id, ``name`` what the author was called then. The body of a redacted row is None.
    """

    room_id: str
    seq: int
    kind: str
    author: str
    name: str
    time: int
    body: Body
    op: str | None = None
    about: int | None = None
    thread: int | None = None

    @property
    def size(self) -> int:
        """Roughly the bytes this row takes on the wire or in memory, at most; bounds pages and rings."""
        body = self.body
        if body is None:
            return 200
        if isinstance(body, bytes):
            return 200 + (len(body) + 2) // 3 * 4
        return 198 + len(orjson.dumps(body))  # one character can take six bytes


@frozen(kw_only=True)
class RoomRecord:
    """A room as the directory keeps it. ``key`` is the case-mapped name and unique; ``epoch`` names the room's log.

    ``read_only``: only who moderates it may write. ``slow``: seconds between two messages of one person, finite, 0 for
    no limit. ``closed``: nobody new comes in.

    ``head`` is the seq of the newest row (0: none yet), also after that row was trimmed, and ``first`` that of the
    oldest still kept; ``head + 1`` if none is.
    """

    room_id: str
    epoch: str
    name: str
    key: str
    topic: str = ""
    private: bool = False
    permanent: bool = False
    created_by: str = ""
    created_at: int = 0
    read_only: bool = False
    slow: float = 0.0
    closed: bool = False
    head: int = 0
    first: int = 1


@frozen(kw_only=True)
class Member:
    """Somebody's durable membership in a room: they may read it. ``principal`` is the id rights are tied to."""

    room_id: str
    principal: str
    role: str = "member"


@frozen(kw_only=True)
class Append:
    """Append a row to a room's log. Refused with ``no_such_room``, or ``op_conflict`` when the author used this
    ``op`` in this room for other content; with the same content it is answered by the first row, as a duplicate. If
    that row has no body (any more), any body counts as the same."""

    room_id: str
    kind: str
    author: str
    name: str
    time: int
    body: Body
    op: str | None = None
    about: int | None = None
    thread: int | None = None


@frozen(kw_only=True)
class CreateRoom:
    """Create a room and its log, and make ``owner`` (when given) a member. Refused with ``room_exists`` if the key
    is taken."""

    room: RoomRecord
    owner: Member | None = None


@frozen(kw_only=True)
class DeleteRoom:
    """Delete a room, its log, its members and its bans. Refused with ``no_such_room``."""

    room_id: str


@frozen(kw_only=True)
class UpdateRoom:
    """Change a room's name, key, topic, ``private``, ``read_only``, ``slow`` or ``closed``.

    ``was`` is the room as the change found it. ``head`` and ``first`` of both are the store's own: ignored here, and in
    the feed what they were at that moment. Refused with ``no_such_room``, with ``conflict`` if the room is not what
    ``was`` says, with ``room_exists`` if another room has the new key, and with ``bad_request`` if ``room`` and ``was``
    differ in anything else."""

    room: RoomRecord
    was: RoomRecord


@frozen(kw_only=True)
class PutMember:
    """Make or change a membership. Refused with ``no_such_room``, and with ``conflict`` if the membership is not the
    one that ``was`` says: None for none; nothing is compared with `UNCHECKED`."""

    member: Member
    was: Member | Unchecked | None = UNCHECKED


@frozen(kw_only=True)
class RemoveMember:
    """End a membership. Removing one that does not exist succeeds. Refused with ``no_such_room``."""

    room_id: str
    principal: str


@frozen(kw_only=True)
class Trim:
    """Let go of a room's rows below seq ``first``, and of the ops they remember. The room's head stays: no seq is
    used again, and ``first`` counts as one past the head at most. Where that much has gone already nothing happens.
    Refused with ``no_such_room``."""

    room_id: str
    first: int


@frozen(kw_only=True)
class Redact:
    """Empty the body of one row for good: no copy of it stays in the store. The row, its seq and its op stay. Repeating
    it succeeds. Refused with ``no_such_room``, and with ``no_such_message`` if there is no such row (any more)."""

    room_id: str
    seq: int


@frozen(kw_only=True)
class Put:
    """Keep a record in place of ``was``; None: there is none of its kind and id. Refused with ``conflict`` if something
    else is kept there, with ``name_taken`` if another of its kind holds its unique key, and with ``no_such_room`` for a
    `Ban` from a room that does not exist."""

    record: Record
    was: Record | None = None


@frozen(kw_only=True)
class Remove:
    """Let go of a record. Refused with ``conflict`` if what is kept there is not equal to it, or nothing is."""

    record: Record


Fact: TypeAlias = CreateRoom | DeleteRoom | UpdateRoom | PutMember | RemoveMember | Trim | Redact | Put | Remove


@frozen
class Together:
    """All of these changes or none, in order, each seeing those before it. The first that is refused refuses the whole;
    otherwise the outcome is `Applied`. A repeated `Append` is not refused. It holds no other `Together`."""

    changes: tuple[Append | Fact, ...]


Change: TypeAlias = Append | Fact | Together


@frozen
class Appended:
    """The row is kept: ``row.seq`` tells where. ``duplicate`` when an earlier append with the same op put it there."""

    row: Row
    epoch: str
    duplicate: bool = False


@frozen
class Applied:
    """The directory change is kept; it has passed through the feed once the feed's position is at least this."""

    position: int


@frozen
class Refused:
    """A precondition failed; nothing of this change is kept. ``code`` is an error code of the protocol."""

    code: str
    message: str


Outcome: TypeAlias = Appended | Applied | Refused


@frozen
class Batch:
    """What one commit added, in order. ``position`` is the feed's position after it and grows from batch to batch."""

    position: int
    items: tuple[Row | Fact, ...]


@frozen(kw_only=True)
class Page:
    """Consecutive rows of one log, oldest first. ``first`` and ``head`` say what the log holds at that moment."""

    rows: tuple[Row, ...]
    first: int
    head: int


@frozen(kw_only=True)
class Snapshot:
    """The whole directory at one position of the feed; tail from ``position`` to follow it."""

    position: int
    rooms: tuple[RoomRecord, ...] = field(factory=tuple)
    members: tuple[Member, ...] = field(factory=tuple)
    records: tuple[Record, ...] = field(factory=tuple)
