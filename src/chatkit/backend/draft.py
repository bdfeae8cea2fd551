"""What a commit does, worked out before anything is stored.

The law of this file: no awaits, no clock, no store of its own. A draft asks its *books* what is kept already, takes the
changes one after another, each seeing what those before it did, and ends with the outcomes and the items to keep. The
books are not touched: whoever keeps them applies the items once they are committed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, assert_never

from attrs import define, evolve

from chatkit.backend.records import (
    Append,
    Appended,
    Applied,
    Batch,
    Change,
    CreateRoom,
    DeleteRoom,
    Fact,
    Outcome,
    PutMember,
    Refused,
    RemoveMember,
    Row,
    Trim,
)
from chatkit.backend.storable import why_not

NO_SUCH_ROOM = Refused("no_such_room", "there is no such room")
ROOM_EXISTS = Refused("room_exists", "a room of that name exists")
OP_CONFLICT = Refused("op_conflict", "this op was used before, with other content")


@define(eq=False)
class Place:
    """A room as a commit needs it. ``fresh``: made by this very commit, so the books know nothing of its rows.

    Rows below ``first`` are gone, whether or not the books have let go of them yet."""

    epoch: str
    key: str
    head: int
    first: int
    fresh: bool = False


class Books(Protocol):
    """What is kept already."""

    def place(self, room_id: str) -> Place | None:
        """Return a room. The draft changes a copy."""

    def room_of(self, key: str) -> str | None:
        """Return the id of the room that has this key."""

    def row_of(self, room_id: str, author: str, op: str) -> Row | None:
        """Return the row an author appended with this op."""


class Draft:
    """One commit being worked out from ``changes``, to follow the feed's ``position``.

    With ``trusting``, appends are taken to be storable and their ops to be new to the books: cheaper, and right
    whenever the store then takes the rows. A store that refuses one makes a new draft that does not trust.

    ``outcomes`` has one for each change; ``batch`` what there is to keep, or None; ``places`` the rooms touched, as
    they are afterwards (None: deleted).
    """

    def __init__(self, changes: Sequence[Change], books: Books, position: int, *, trusting: bool = False) -> None:
        self.places: dict[str, Place | None] = {}
        self._books = books
        self._trusting = trusting
        self._keys: dict[str, str | None] = {}
        self._rows: dict[tuple[str, str, str], Row] = {}
        self._items: list[Row | Fact] = []
        decided = [self._append(change) if type(change) is Append else self._fact(change) for change in changes]
        end = position + len(self._items)
        applied = Applied(end)
        self.outcomes: list[Outcome] = [applied if outcome is None else outcome for outcome in decided]
        self.batch = Batch(end, tuple(self._items)) if self._items else None

    def _place(self, room_id: str) -> Place | None:
        try:
            return self.places[room_id]
        except KeyError:
            known = self._books.place(room_id)
            place = self.places[room_id] = known and Place(known.epoch, known.key, known.head, known.first)
            return place

    def _append(self, change: Append) -> Outcome:
        if not self._trusting and (reason := why_not(change)) is not None:
            return Refused("bad_request", reason)
        room_id, op = change.room_id, change.op
        place = self._place(room_id)
        if place is None:
            return NO_SUCH_ROOM
        if op is not None and (first := self._first(place, room_id, change.author, op)) is not None:
            return repeated(first, change, place.epoch)
        place.head += 1
        row = Row(
            room_id=room_id,
            seq=place.head,
            kind=change.kind,
            author=change.author,
            name=change.name,
            time=change.time,
            body=change.body,
            op=op,
            about=change.about,
            thread=change.thread,
        )
        self._items.append(row)
        if op is not None:
            self._rows[room_id, change.author, op] = row
        return Appended(row, place.epoch)

    def _first(self, place: Place, room_id: str, author: str, op: str) -> Row | None:
        row = self._rows.get((room_id, author, op))
        if row is None and not self._trusting and not place.fresh:
            row = self._books.row_of(room_id, author, op)
        return row if row is not None and row.seq >= place.first else None

    def _fact(self, change: Change) -> Outcome | None:
        """Take a directory change; None means applied."""
        if (reason := why_not(change)) is not None:
            return Refused("bad_request", reason)
        match change:
            case CreateRoom():
                return self._create(change)
            case DeleteRoom(room_id=room_id):
                return self._delete(change, room_id)
            case PutMember(member=member):
                return self._keep(change, member.room_id)
            case RemoveMember(room_id=room_id):
                return self._keep(change, room_id)
            case Trim(room_id=room_id, first=first):
                return self._trim(room_id, first)
            case Append():  # a subclass of it: the caller's dispatch is by exact type, for speed
                return self._append(change)
            case _:
                assert_never(change)

    def _keep(self, fact: Fact, room_id: str) -> Outcome | None:
        if self._place(room_id) is None:
            return NO_SUCH_ROOM
        self._items.append(fact)
        return None

    def _create(self, change: CreateRoom) -> Outcome | None:
        room = change.room
        if self._place(room.room_id) is not None or self._room_of(room.key) is not None:
            return ROOM_EXISTS
        self.places[room.room_id] = Place(room.epoch, room.key, 0, 1, fresh=True)
        self._keys[room.key] = room.room_id
        if room.head != 0 or room.first != 1:
            change = evolve(change, room=evolve(room, head=0, first=1))
        self._items.append(change)
        return None

    def _delete(self, change: DeleteRoom, room_id: str) -> Outcome | None:
        place = self._place(room_id)
        if place is None:
            return NO_SUCH_ROOM
        self.places[room_id] = None
        self._keys[place.key] = None
        self._rows = {key: row for key, row in self._rows.items() if key[0] != room_id}
        self._items.append(change)
        return None

    def _trim(self, room_id: str, first: int) -> Outcome | None:
        place = self._place(room_id)
        if place is None:
            return NO_SUCH_ROOM
        first = min(first, place.head + 1)
        if first > place.first:
            place.first = first
            self._items.append(Trim(room_id=room_id, first=first))
        return None

    def _room_of(self, key: str) -> str | None:
        return self._keys[key] if key in self._keys else self._books.room_of(key)


def repeated(first: Row, change: Append, epoch: str) -> Outcome:
    """Answer an append whose op was used before: a duplicate if its content is the same."""
    same = (
        first.kind == change.kind
        and first.body == change.body
        and first.about == change.about
        and first.thread == change.thread
    )
    return Appended(first, epoch, True) if same else OP_CONFLICT
