"""What a commit does, worked out before anything is stored.

The law of this file: no awaits, no clock, no store of its own. A draft asks a store's *books* what is kept already,
takes the changes one after another, each seeing what those before it did, and ends with the outcomes and the items to
keep. The books are not touched: whoever keeps them applies the items once they are committed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from attrs import evolve

from chatkit.backend.books import Books, Overlay, Place
from chatkit.backend.records import (
    UNCHECKED,
    Append,
    Appended,
    Applied,
    Ban,
    Batch,
    Change,
    CreateRoom,
    DeleteRoom,
    Fact,
    Outcome,
    Put,
    PutMember,
    Redact,
    Refused,
    Remove,
    RemoveMember,
    Row,
    Together,
    Trim,
    UpdateRoom,
)
from chatkit.backend.storable import why_not

NO_SUCH_ROOM = Refused("no_such_room", "there is no such room")
NO_SUCH_MESSAGE = Refused("no_such_message", "there is no such message")
ROOM_EXISTS = Refused("room_exists", "a room of that name exists")
NAME_TAKEN = Refused("name_taken", "that name is taken")
OP_CONFLICT = Refused("op_conflict", "this op was used before, with other content")
CONFLICT = Refused("conflict", "somebody else has changed this meanwhile")


class Draft:
    """One commit being worked out from ``changes``, to follow the feed's ``position``.

    With ``trusting``, appends are taken to be storable and their ops to be new to the books: cheaper, and right
    whenever the store then takes the rows. A store that refuses one makes a new draft that does not trust. Where there
    is a `Together` nothing is taken on trust: if it is refused, its rows do not reach the store, and nobody would know.

    ``outcomes`` has one for each change; ``batch`` what there is to keep, or None; ``places`` the rooms touched, as
    they are afterwards (None: deleted).
    """

    def __init__(self, changes: Sequence[Change], books: Books, position: int, *, trusting: bool = False) -> None:
        self._trusting = trusting and Together not in map(type, changes)
        self._seen = Overlay(books, trusting=self._trusting)
        self._items: list[Row | Fact] = []
        decided = [self._append(change) if type(change) is Append else self._decide(change) for change in changes]
        end = position + len(self._items)
        applied = Applied(end)
        self.outcomes: list[Outcome] = [applied if outcome is None else outcome for outcome in decided]
        self.batch = Batch(end, tuple(self._items)) if self._items else None
        self.places: dict[str, Place | None] = self._seen.places

    def _append(self, change: Append) -> Outcome:
        if not self._trusting and (reason := why_not(change)) is not None:
            return Refused("bad_request", reason)
        room_id, op = change.room_id, change.op
        place = self._seen.place(room_id)
        if place is None:
            return NO_SUCH_ROOM
        if op is not None and (first := self._seen.row_of(room_id, change.author, op)) and first.seq >= place.first:
            return repeated(first, change, place.record.epoch)
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
            self._seen.rows[room_id, change.author, op] = row
        return Appended(row, place.record.epoch)

    def _decide(self, change: Change) -> Outcome | None:
        """Take a change; None means applied."""
        if isinstance(change, Append):
            return self._append(change)
        if (reason := why_not(change)) is not None:
            return Refused("bad_request", reason)
        match change:
            case CreateRoom():
                return self._create(change)
            case Put():
                return self._put(change)
            case Remove(record=record):
                return self._remove(change, record.KIND, record.id)
            case Together(changes):
                return self._together(changes)
            case PutMember(member=member):
                place = self._seen.place(member.room_id)
            case UpdateRoom(room=room):
                place = self._seen.place(room.room_id)
            case DeleteRoom() | RemoveMember() | Trim() | Redact():
                place = self._seen.place(change.room_id)
            case _:
                assert_never(change)
        return NO_SUCH_ROOM if place is None else self._within(place, change)

    def _within(
        self, place: Place, change: UpdateRoom | DeleteRoom | PutMember | RemoveMember | Trim | Redact
    ) -> Outcome | None:
        match change:
            case UpdateRoom():
                return self._update(place, change)
            case PutMember(member=member, was=was):
                if was is not UNCHECKED and was != self._seen.member(member.room_id, member.principal):
                    return CONFLICT
                self._seen.put_member(member)
            case RemoveMember(room_id=room_id, principal=principal):
                self._seen.remove_member(room_id, principal)
            case Trim(room_id=room_id, first=first):
                first = min(first, place.head + 1)
                if first <= place.first:
                    return None
                place.first = first
                change = Trim(room_id=room_id, first=first)
            case Redact(room_id=room_id, seq=seq):
                if not place.first <= seq <= place.head:
                    return NO_SUCH_MESSAGE
                self._seen.redact(room_id, seq)
            case DeleteRoom():
                self._seen.delete(place)
            case _:
                assert_never(change)
        self._items.append(change)
        return None

    def _create(self, change: CreateRoom) -> Outcome | None:
        room, owner = change.room, change.owner
        if self._seen.place(room.room_id) is not None or self._seen.room_of(room.key) is not None:
            return ROOM_EXISTS
        if room.head != 0 or room.first != 1:
            room = evolve(room, head=0, first=1)
        self._seen.create(room)
        if owner is not None:
            self._seen.put_member(owner)
        self._items.append(CreateRoom(room=room, owner=owner))
        return None

    def _update(self, place: Place, change: UpdateRoom) -> Outcome | None:
        was = place.as_record
        if evolve(change.was, head=was.head, first=was.first) != was:
            return CONFLICT
        room = evolve(change.room, head=was.head, first=was.first)
        if self._seen.room_of(room.key) not in (None, room.room_id):
            return ROOM_EXISTS
        self._seen.update(place, room)
        self._items.append(UpdateRoom(room=room, was=was))
        return None

    def _put(self, change: Put) -> Outcome | None:
        record, was = change.record, change.was
        kind, key = record.KIND, record.unique
        if self._seen.record(kind, record.id) != was:
            return CONFLICT
        if key is not None and self._seen.holder(kind, key) not in (None, record.id):
            return NAME_TAKEN
        if isinstance(record, Ban) and record.room_id is not None and self._seen.place(record.room_id) is None:
            return NO_SUCH_ROOM
        self._seen.put(record, was)
        self._items.append(change)
        return None

    def _remove(self, change: Remove, kind: str, id_: str) -> Outcome | None:
        if self._seen.record(kind, id_) != change.record:
            return CONFLICT
        self._seen.remove(change.record)
        self._items.append(change)
        return None

    def _together(self, changes: tuple[Append | Fact, ...]) -> Outcome | None:
        seen, items = self._seen, self._items
        self._seen, self._items = Overlay(seen), []
        refused = next((one for one in map(self._decide, changes) if isinstance(one, Refused)), None)
        if refused is None:
            seen.take(self._seen)
            items += self._items
        self._seen, self._items = seen, items
        return refused


def repeated(first: Row, change: Append, epoch: str) -> Outcome:
    """Answer an append whose op was used before: a duplicate if its content is the same."""
    same = (
        first.kind == change.kind
        and (first.body is None or first.body == change.body)  # nobody can tell any more what a redacted body was
        and first.about == change.about
        and first.thread == change.thread
    )
    return Appended(first, epoch, True) if same else OP_CONFLICT
