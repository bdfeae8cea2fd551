"""Rooms, members, logs and the journal of a store in memory. Synchronous; it never fails."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from operator import is_
from typing import assert_never

from attrs import define, evolve, field

from chatkit.backend.books import Place
from chatkit.backend.bus import LocalBus
from chatkit.backend.draft import Draft
from chatkit.backend.feed import FACTS_KEPT, Feeds, Stretch, check_position
from chatkit.backend.records import (
    Ban,
    Batch,
    Change,
    CreateRoom,
    DeleteRoom,
    Fact,
    Member,
    Outcome,
    Put,
    PutMember,
    Record,
    Redact,
    Remove,
    RemoveMember,
    RoomRecord,
    Row,
    Snapshot,
    Trim,
    UpdateRoom,
)

STRETCH_BATCHES = 500
"""Batches handed to a feed at a time."""
TRIM_EVERY = 1_000
"""Directory changes beyond those kept that gather before the journal is trimmed."""


@define(eq=False)
class MemoryRoom:
    """A room, its rows (``rows[seq - first]``), who is in it, and the rows that carry an op."""

    record: RoomRecord
    rows: list[Row] = field(factory=list)
    members: dict[str, Member] = field(factory=dict)
    ops: dict[tuple[str, str], Row] = field(factory=dict)
    first: int = 1

    @property
    def head(self) -> int:
        """The seq of the newest row, also after it was trimmed."""
        return self.first + len(self.rows) - 1

    def trim(self, first: int) -> int:
        """Let go of the rows below ``first``; return how many that were."""
        gone = first - self.first
        for row in self.rows[:gone]:
            if row.op is not None:
                del self.ops[row.author, row.op]
        del self.rows[:gone]
        self.first = first
        return gone

    def redact(self, seq: int) -> tuple[Row, Row]:
        """Empty the body of a row; return it as it was and as it is."""
        was = self.rows[seq - self.first]
        row = self.rows[seq - self.first] = evolve(was, body=None)
        if row.op is not None:
            self.ops[row.author, row.op] = row
        return was, row


class MemoryStore:
    """What all openings of one store share.

    The journal repeats every batch for feeds that are behind. As in a database, the rows of a deleted room and those
    that were trimmed go from it, bodies that were redacted too, and of the directory changes the newest `FACTS_KEPT`
    stay.
    """

    def __init__(self) -> None:
        self.bus = LocalBus()
        self.openings: dict[Feeds, None] = {}
        self._rooms: dict[str, MemoryRoom] = {}
        self._keys: dict[str, str] = {}
        self._records: dict[tuple[str, str], Record] = {}
        self._holders: dict[tuple[str, str], str] = {}
        self._journal: list[Batch] = []
        self._oldest = 0
        self._newest = 0
        self._facts = 0
        self._rows = 0
        self._trimmed = 0  # rows still in the journal, though no longer kept

    def commit(self, changes: Sequence[Change]) -> list[Outcome]:
        """Apply changes and hand the batch to every feed."""
        draft = Draft(changes, self, self._newest)
        if (batch := draft.batch) is not None:
            self._newest = batch.position
            outlived = self._applied(batch)
            self._journal.append(outlived)
            if self._facts >= FACTS_KEPT + TRIM_EVERY:
                self._forget_facts()
            if self._trimmed >= TRIM_EVERY and self._trimmed > self._rows // 2:
                self._strip()
            for feeds in self.openings:
                feeds.publish(batch)
        return draft.outcomes

    def rows(self, room_id: str, start: int, forward: bool, limit: int) -> tuple[Iterator[Row], int, int]:
        """Return the rows after or before a seq, nearest first, and the room's first and head. Raises KeyError."""
        room = self._rooms[room_id]
        rows = room.rows
        index = min(max(0, start - room.first + forward), len(rows))
        near = islice(rows, index, None) if forward else reversed(rows[max(0, index - limit) : index])
        return islice(near, min(limit, len(rows))), room.first, room.head

    def since(self, after: int) -> Stretch:
        """Return some batches after a position of the feed."""
        check_position(after, self._oldest, self._newest)
        start = bisect_right(self._journal, after, key=lambda batch: batch.position)
        batches = tuple(islice(self._kept(islice(self._journal, start, None)), STRETCH_BATCHES + 1))
        return Stretch(batches[:STRETCH_BATCHES], self._newest, len(batches) > STRETCH_BATCHES)

    def snapshot(self) -> Snapshot:
        """Return the directory."""
        rooms = self._rooms.values()
        return Snapshot(
            position=self._newest,
            rooms=tuple(evolve(room.record, head=room.head, first=room.first) for room in rooms),
            members=tuple(member for room in rooms for member in room.members.values()),
            records=tuple(self._records.values()),
        )

    def place(self, room_id: str) -> Place | None:
        """See `Books`."""
        room = self._rooms.get(room_id)
        return None if room is None else Place(room.record, room.head, room.first)

    def room_of(self, key: str) -> str | None:
        """See `Books`."""
        return self._keys.get(key)

    def row_of(self, room_id: str, author: str, op: str) -> Row | None:
        """See `Books`."""
        room = self._rooms.get(room_id)
        return None if room is None else room.ops.get((author, op))

    def member(self, room_id: str, principal: str) -> Member | None:
        """See `Books`."""
        room = self._rooms.get(room_id)
        return None if room is None else room.members.get(principal)

    def record(self, kind: str, id_: str) -> Record | None:
        """See `Books`."""
        return self._records.get((kind, id_))

    def holder(self, kind: str, key: str) -> str | None:
        """See `Books`."""
        return self._holders.get((kind, key))

    def _applied(self, batch: Batch) -> Batch:
        """Apply a batch; return what of it outlives it, for the journal."""
        kept: list[Row | Fact] = []
        for item in batch.items:
            if isinstance(item, Row):
                room = self._rooms[item.room_id]
                room.rows.append(item)
                self._rows += 1
                if item.op is not None:
                    room.ops[item.author, item.op] = item
            else:
                self._apply(item, kept)
            kept.append(item)
        whole = len(kept) == len(batch.items) and all(map(is_, kept, batch.items))
        return batch if whole else Batch(batch.position, tuple(kept))

    def _apply(self, fact: Fact, kept: list[Row | Fact]) -> None:
        self._facts += 1
        match fact:
            case CreateRoom(room=record, owner=owner):
                members = {owner.principal: owner} if owner is not None else {}
                self._rooms[record.room_id] = MemoryRoom(record, members=members)
                self._keys[record.key] = record.room_id
            case DeleteRoom(room_id=room_id):
                gone = self._rooms.pop(room_id)
                del self._keys[gone.record.key]
                for record in list(self._records.values()):
                    if isinstance(record, Ban) and record.room_id == room_id:
                        self._remove(record)
                kept[:] = [one for one in kept if not (isinstance(one, Row) and one.room_id == room_id)]
                if gone.head:
                    self._strip()
            case UpdateRoom(room=record):
                room = self._rooms[record.room_id]
                del self._keys[room.record.key]
                self._keys[record.key] = record.room_id
                room.record = record
            case PutMember(member=member):
                self._rooms[member.room_id].members[member.principal] = member
            case RemoveMember(room_id=room_id, principal=principal):
                self._rooms[room_id].members.pop(principal, None)
            case Trim(room_id=room_id, first=first):
                self._trimmed += self._rooms[room_id].trim(first)
            case Put(record=record, was=was):
                if was is not None:
                    self._remove(was)
                self._records[record.KIND, record.id] = record
                if record.unique is not None:
                    self._holders[record.KIND, record.unique] = record.id
            case Remove(record=record):
                self._remove(record)
            case Redact(room_id=room_id, seq=seq):
                rows = self._rooms[room_id].redact(seq)
                if not _replace(kept, *rows):
                    self._replace(*rows)
            case _:
                assert_never(fact)

    def _remove(self, record: Record) -> None:
        del self._records[record.KIND, record.id]
        if record.unique is not None:
            del self._holders[record.KIND, record.unique]

    def _replace(self, was: Row, row: Row) -> None:
        """Let the journal tell of a row as it is now."""
        for index in range(len(self._journal) - 1, -1, -1):
            items = list(self._journal[index].items)
            if _replace(items, was, row):
                self._journal[index] = Batch(self._journal[index].position, tuple(items))
                return

    def _forget_facts(self) -> None:
        kept = 0
        for batch in reversed(self._journal):
            if kept >= FACTS_KEPT:
                self._oldest = batch.position
                break
            kept += sum(not isinstance(item, Row) for item in batch.items)
        self._facts = kept
        self._strip()

    def _strip(self) -> None:
        """Let the journal go of what is no longer kept."""
        self._journal = list(self._kept(self._journal))
        self._rows = sum(isinstance(item, Row) for batch in self._journal for item in batch.items)
        self._trimmed = 0

    def _kept(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Give what is kept of some batches of the journal."""
        for batch in batches:
            items = tuple(item for item in batch.items if self._is_kept(item, batch.position))
            if items:
                yield batch if len(items) == len(batch.items) else Batch(batch.position, items)

    def _is_kept(self, item: Row | Fact, position: int) -> bool:
        if not isinstance(item, Row):
            return position > self._oldest
        room = self._rooms.get(item.room_id)
        return room is not None and item.seq >= room.first


def _replace(items: list[Row | Fact], was: Row, row: Row) -> bool:
    """Put one row in the place of another, if it is there; return whether it was."""
    for index, item in enumerate(items):
        if item is was:
            items[index] = row
            return True
    return False
