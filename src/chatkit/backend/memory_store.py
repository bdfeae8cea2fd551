"""Rooms, members, logs and the journal of a store in memory. Synchronous; it never fails."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from attrs import define, evolve, field

from chatkit.backend.bus import LocalBus
from chatkit.backend.draft import Draft, Place
from chatkit.backend.feed import FACTS_KEPT, Feeds, Stretch, check_position
from chatkit.backend.records import (
    Batch,
    Change,
    CreateRoom,
    DeleteRoom,
    Fact,
    Member,
    Outcome,
    PutMember,
    RemoveMember,
    RoomRecord,
    Row,
    Snapshot,
)

STRETCH_BATCHES = 500
"""Batches handed to a feed at a time."""
TRIM_EVERY = 1_000
"""Directory changes beyond those kept that gather before the journal is trimmed."""


@define(eq=False)
class MemoryRoom:
    """A room, its rows (``rows[seq - 1]``), who is in it, and the rows that carry an op."""

    record: RoomRecord
    rows: list[Row] = field(factory=list)
    members: dict[str, Member] = field(factory=dict)
    ops: dict[tuple[str, str], Row] = field(factory=dict)


class MemoryStore:
    """What all openings of one store share.

    The journal repeats every batch for feeds that are behind. As in a database, the rows of a deleted room go from it,
    and of the directory changes the newest `FACTS_KEPT` stay.
    """

    def __init__(self) -> None:
        self.bus = LocalBus()
        self.openings: dict[Feeds, None] = {}
        self._rooms: dict[str, MemoryRoom] = {}
        self._keys: dict[str, str] = {}
        self._journal: list[Batch] = []
        self._oldest = 0
        self._newest = 0
        self._facts = 0

    def commit(self, changes: Sequence[Change]) -> list[Outcome]:
        """Apply changes and hand the batch to every feed."""
        draft = Draft(changes, self, self._newest)
        if (batch := draft.batch) is not None:
            self._journal.append(batch)
            self._newest = batch.position
            for item in batch.items:
                self._apply(item)
            if self._facts >= FACTS_KEPT + TRIM_EVERY:
                self._trim()
            for feeds in self.openings:
                feeds.publish(batch)
        return draft.outcomes

    def rows(self, room_id: str, start: int, forward: bool, limit: int) -> tuple[Iterator[Row], int]:
        """Return the rows after or before a seq, nearest first, and the room's head. Raises KeyError."""
        rows = self._rooms[room_id].rows
        near = islice(rows, min(start, len(rows)), None) if forward else reversed(rows[: max(0, start - 1)][-limit:])
        return islice(near, min(limit, len(rows))), len(rows)

    def since(self, after: int) -> Stretch:
        """Return some batches after a position of the feed."""
        check_position(after, self._oldest, self._newest)
        start = bisect_right(self._journal, after, key=lambda batch: batch.position)
        batches = tuple(self._journal[start : start + STRETCH_BATCHES])
        return Stretch(batches, self._newest, start + len(batches) < len(self._journal))

    def snapshot(self) -> Snapshot:
        """Return the directory."""
        rooms = self._rooms.values()
        return Snapshot(
            position=self._newest,
            rooms=tuple(evolve(room.record, head=len(room.rows)) for room in rooms),
            members=tuple(member for room in rooms for member in room.members.values()),
        )

    def place(self, room_id: str) -> Place | None:
        """See `Books`."""
        room = self._rooms.get(room_id)
        return None if room is None else Place(room.record.epoch, room.record.key, len(room.rows))

    def room_of(self, key: str) -> str | None:
        """See `Books`."""
        return self._keys.get(key)

    def row_of(self, room_id: str, author: str, op: str) -> Row | None:
        """See `Books`."""
        return self._rooms[room_id].ops.get((author, op))

    def _apply(self, item: Row | Fact) -> None:
        match item:
            case Row():
                room = self._rooms[item.room_id]
                room.rows.append(item)
                if item.op is not None:
                    room.ops[item.author, item.op] = item
                return
            case CreateRoom(room=record, owner=owner):
                members = {owner.principal: owner} if owner is not None else {}
                self._rooms[record.room_id] = MemoryRoom(record, members=members)
                self._keys[record.key] = record.room_id
            case DeleteRoom(room_id=room_id):
                gone = self._rooms.pop(room_id)
                del self._keys[gone.record.key]
                if gone.rows:
                    self._strip(lambda _, kept: not (isinstance(kept, Row) and kept.room_id == room_id))
            case PutMember(member=member):
                self._rooms[member.room_id].members[member.principal] = member
            case RemoveMember(room_id=room_id, principal=principal):
                self._rooms[room_id].members.pop(principal, None)
        self._facts += 1

    def _trim(self) -> None:
        kept = 0
        for batch in reversed(self._journal):
            if kept >= FACTS_KEPT:
                self._oldest = batch.position
                break
            kept += sum(not isinstance(item, Row) for item in batch.items)
        self._facts = kept
        self._strip(lambda position, item: isinstance(item, Row) or position > self._oldest)

    def _strip(self, keep: Callable[[int, Row | Fact], bool]) -> None:
        """Keep of the journal what ``keep(position of the batch, item)`` says."""
        stripped = (
            Batch(batch.position, tuple(item for item in batch.items if keep(batch.position, item)))
            for batch in self._journal
        )
        self._journal = [batch for batch in stripped if batch.items]
