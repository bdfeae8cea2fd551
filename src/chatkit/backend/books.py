"""What is kept, as a commit sees it: in a store's books, and over them what the commit itself has done so far.

The law of this file: nothing below an overlay is changed by it. An overlay is books itself, so another can lie on it
and be thrown away.
"""

from __future__ import annotations

from typing import Protocol

from attrs import define, evolve

from chatkit.backend.records import Ban, Member, Record, RoomRecord, Row


@define(eq=False)
class Place:
    """A room as a commit needs it. The record's ``head`` and ``first`` mean nothing, these do.

    Rows below ``first`` are gone, whether or not the books have let go of them yet."""

    record: RoomRecord
    head: int
    first: int

    @property
    def as_record(self) -> RoomRecord:
        """The room's record as it is now."""
        return evolve(self.record, head=self.head, first=self.first)


class Books(Protocol):
    """What is kept already."""

    def place(self, room_id: str) -> Place | None:
        """Return a room. An overlay changes a copy."""

    def room_of(self, key: str) -> str | None:
        """Return the id of the room that has this key."""

    def row_of(self, room_id: str, author: str, op: str) -> Row | None:
        """Return the row an author appended with this op."""

    def member(self, room_id: str, principal: str) -> Member | None:
        """Return a membership."""

    def record(self, kind: str, id_: str) -> Record | None:
        """Return a record."""

    def holder(self, kind: str, key: str) -> str | None:
        """Return the id of the record that holds a unique key."""


class Overlay:
    """Books as some changes leave them.

    With ``trusting``, ops are taken to be new to the books below. ``places`` are the rooms met (None: deleted), to be
    changed in place, ``rows`` those appended here by room, author and op.
    """

    def __init__(self, below: Books, *, trusting: bool = False) -> None:
        self.places: dict[str, Place | None] = {}
        self._below = below
        self._trusting = trusting
        self._void: set[str] = set()  # deleted here: of these rooms nothing below counts, though they be made again
        self._keys: dict[str, str | None] = {}
        self.rows: dict[tuple[str, str, str], Row] = {}
        self._redacted: set[tuple[str, int]] = set()
        self._members: dict[tuple[str, str], Member | None] = {}
        self._records: dict[tuple[str, str], Record | None] = {}
        self._holders: dict[tuple[str, str], str | None] = {}

    def place(self, room_id: str) -> Place | None:
        """See `Books`; what is returned is this overlay's own."""
        try:
            return self.places[room_id]
        except KeyError:
            known = self._below.place(room_id)
            place = self.places[room_id] = known and Place(known.record, known.head, known.first)
            return place

    def room_of(self, key: str) -> str | None:
        """See `Books`."""
        return self._keys[key] if key in self._keys else self._below.room_of(key)

    def row_of(self, room_id: str, author: str, op: str) -> Row | None:
        """See `Books`."""
        row = self.rows.get((room_id, author, op))
        if row is None:
            if self._trusting or room_id in self._void:
                return None
            row = self._below.row_of(room_id, author, op)
            if row is None:
                return None
        return evolve(row, body=None) if (room_id, row.seq) in self._redacted else row

    def member(self, room_id: str, principal: str) -> Member | None:
        """See `Books`."""
        key = room_id, principal
        if key in self._members:
            return self._members[key]
        return None if room_id in self._void else self._below.member(room_id, principal)

    def record(self, kind: str, id_: str) -> Record | None:
        """See `Books`."""
        key = kind, id_
        if key in self._records:
            return self._records[key]
        found = self._below.record(kind, id_)
        return None if isinstance(found, Ban) and found.room_id in self._void else found

    def holder(self, kind: str, key: str) -> str | None:
        """See `Books`."""
        found = kind, key
        return self._holders[found] if found in self._holders else self._below.holder(kind, key)

    def redact(self, room_id: str, seq: int) -> None:
        """Empty a row's body."""
        self._redacted.add((room_id, seq))

    def create(self, room: RoomRecord) -> None:
        """Make a room whose log is empty."""
        self.places[room.room_id] = Place(room, 0, 1)
        self._keys[room.key] = room.room_id

    def update(self, place: Place, room: RoomRecord) -> None:
        """Change a room's record."""
        self._keys[place.record.key] = None
        self._keys[room.key] = room.room_id
        place.record = room

    def delete(self, place: Place) -> None:
        """Delete a room and all that goes with it."""
        room_id = place.record.room_id
        self._forget(room_id)
        self.places[room_id] = None
        self._keys[place.record.key] = None

    def put_member(self, member: Member) -> None:
        """Make or change a membership."""
        self._members[member.room_id, member.principal] = member

    def remove_member(self, room_id: str, principal: str) -> None:
        """End a membership."""
        self._members[room_id, principal] = None

    def put(self, record: Record, was: Record | None) -> None:
        """Keep a record in place of another."""
        if was is not None:
            self.remove(was)
        self._records[record.KIND, record.id] = record
        if record.unique is not None:
            self._holders[record.KIND, record.unique] = record.id

    def remove(self, record: Record) -> None:
        """Let go of a record."""
        self._records[record.KIND, record.id] = None
        if record.unique is not None:
            self._holders[record.KIND, record.unique] = None

    def take(self, other: Overlay) -> None:
        """Do what was done in an overlay that lies on this one."""
        for room_id in other._void:
            self._forget(room_id)
        self.places |= other.places
        self._keys |= other._keys
        self.rows |= other.rows
        self._redacted |= other._redacted
        self._members |= other._members
        self._records |= other._records
        self._holders |= other._holders

    def _forget(self, room_id: str) -> None:
        self._void.add(room_id)
        self.rows = {key: row for key, row in self.rows.items() if key[0] != room_id}
        self._redacted = {key for key in self._redacted if key[0] != room_id}
        self._members = {key: member for key, member in self._members.items() if key[0] != room_id}
        for key, record in self._records.items():
            if isinstance(record, Ban) and record.room_id == room_id:
                self._records[key] = None
