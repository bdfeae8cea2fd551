"""Any commits at all have the outcomes a plain model says, in memory and in SQLite alike; and a feed retells them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from attrs import evolve, frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import opened

from chatkit.backend.interface import Backend
from chatkit.backend.records import (
    UNCHECKED,
    Account,
    Append,
    Appended,
    Applied,
    Ban,
    Batch,
    Change,
    CreateRoom,
    DeleteRoom,
    Member,
    Outcome,
    Page,
    Put,
    PutMember,
    Record,
    Redact,
    Remove,
    RemoveMember,
    RoomRecord,
    Row,
    Together,
    TokenRecord,
    Trim,
    UpdateRoom,
)

few = st.sampled_from
ids = few(["r1", "r2", "r3"])
people = few(["ann", "bob"])
text = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=3)
rooms = st.builds(RoomRecord, room_id=ids, epoch=few(["e1", "e2"]), name=text, key=few(["k1", "k2"]), topic=text)
members = st.builds(Member, room_id=ids, principal=people, role=few(["member", "owner"]))
appends = st.builds(
    Append,
    room_id=ids,
    kind=few(["message", "topic"]),
    author=people,
    name=text,
    time=st.integers(0, 2**53),
    body=few(["a", "b", b"a", None]) | st.text(st.characters(exclude_categories=["Cs"]), max_size=2),
    op=few([None, "o1", "o2", "o3"]),
    about=few([None, 1]),
)
creations = st.builds(CreateRoom, room=rooms) | rooms.flatmap(
    lambda room: st.builds(CreateRoom, room=st.just(room), owner=members.map(lambda m: evolve(m, room_id=room.room_id)))
)
names = few(["n1", "n2"])
accounts = st.builds(Account, id=few(["a", "b", "c"]), name=text, key=names, password=few([None, "hash"]))
tokens = st.builds(TokenRecord, id=few(["a", "b"]), account_id=few(["a", "b"]), digest=names, role=few([None, "x"]))
bans = st.builds(Ban, id=few(["a", "b"]), room_id=few([None, "r1", "r2"]), kind=few(["name"]), value=names, by=people)
records: st.SearchStrategy[Record] = st.one_of(accounts, accounts, tokens, bans)
updated = st.fixed_dictionaries(
    {"key": few(["k1", "k2", "k3"])},
    optional={"name": text, "topic": text, "slow": few([0, 0.5, 3]), "read_only": st.booleans(), "head": few([0, 5])},
)


@st.composite
def updates(draw: st.DrawFn) -> UpdateRoom:
    """Mostly of rooms that may be as they are thought to be."""
    was = draw(rooms)
    fields: dict[str, Any] = draw(updated)
    return UpdateRoom(room=evolve(was, **fields), was=was)


@frozen
class Knowing:
    """A change by somebody who knows what is there before it."""

    change: Change


compared: st.SearchStrategy[Change] = st.one_of(
    updates(),
    st.builds(PutMember, member=members, was=few([UNCHECKED, None]) | members),
    st.builds(Put, record=records, was=st.none() | records),
    st.builds(Remove, record=records),
)
others: st.SearchStrategy[Change | Knowing] = st.one_of(
    creations,
    st.builds(DeleteRoom, room_id=ids),
    st.builds(RemoveMember, room_id=ids, principal=people),
    st.builds(Trim, room_id=ids, first=st.integers(-1, 5)),
    compared,
    compared.map(Knowing),
    compared.map(Knowing),
)
single = st.one_of(appends, appends, others, st.builds(Redact, room_id=ids, seq=st.integers(0, 3)))
changes = single | st.lists(single, max_size=5)


def settle(model: Model, change: Change | Knowing | list[Change | Knowing]) -> Change:
    """Return the change itself, with what is there filled in; a list becomes one of changes made together."""
    if isinstance(change, list):
        return Together(settle_all(deepcopy(model), change))  # type: ignore[arg-type]
    if not isinstance(change, Knowing):
        return change
    match change.change:
        case UpdateRoom(room=room) if known := model.rooms.get(room.room_id):
            wanted = {name: getattr(room, name) for name in ("key", "name", "topic", "slow", "read_only", "head")}
            return UpdateRoom(room=evolve(known, **wanted), was=known)
        case PutMember(member=member):
            return PutMember(member=member, was=model.members.get((member.room_id, member.principal)))
        case Put(record=record):
            return Put(record=record, was=model.records.get((record.KIND, record.id)))
        case Remove(record=record):
            return Remove(record=model.records.get((record.KIND, record.id), record))
        case other:
            return other


def settle_all(model: Model, commit: Sequence[Change | Knowing | list[Change | Knowing]]) -> tuple[Change, ...]:
    """Settle changes one after another, and apply them."""
    settled = []
    for change in commit:
        settled.append(settle(model, change))
        model.apply(settled[-1])
    return tuple(settled)


class Model:
    """What a backend is, in the plainest words."""

    def __init__(self) -> None:
        self.rooms: dict[str, RoomRecord] = {}
        self.rows: dict[str, list[Row]] = {}
        self.heads: dict[str, int] = {}
        self.members: dict[tuple[str, str], Member] = {}
        self.records: dict[tuple[str, str], Record] = {}

    def apply(self, change: Change) -> str | Row | None:
        """Return the code of a refusal, a row, or None."""
        match change:
            case Together(parts):
                tried = deepcopy(self)
                for part in parts:
                    if isinstance(code := tried.apply(part), str):
                        return code
                self.__dict__ = tried.__dict__
                return None
            case CreateRoom(room=room, owner=owner):
                if room.room_id in self.rooms or self.named(room.key):
                    return "room_exists"
                self.rooms[room.room_id] = room
                self.rows[room.room_id] = []
                self.heads[room.room_id] = 0
                if owner is not None:
                    self.members[room.room_id, owner.principal] = owner
                return None
            case Put(record=record, was=was):
                return self.put(record, was)
            case Remove(record=record):
                place = record.KIND, record.id
                if self.records.get(place) != record:
                    return "conflict"
                del self.records[place]
                return None
            case UpdateRoom(room=room):
                room_id = room.room_id
            case PutMember(member=member):
                room_id = member.room_id
            case _:
                room_id = change.room_id
        return self.within(room_id, change) if room_id in self.rooms else "no_such_room"

    def within(self, room_id: str, change: Change) -> str | Row | None:
        match change:
            case Append():
                return self.append(change)
            case DeleteRoom():
                del self.rooms[room_id], self.rows[room_id]
                self.members = {key: member for key, member in self.members.items() if key[0] != room_id}
                self.records = {
                    key: record
                    for key, record in self.records.items()
                    if not (isinstance(record, Ban) and record.room_id == room_id)
                }
            case UpdateRoom(room=room, was=was):
                if evolve(was, head=0, first=1) != evolve(self.rooms[room_id], head=0, first=1):
                    return "conflict"
                if self.named(room.key) not in (None, room_id):
                    return "room_exists"
                self.rooms[room_id] = room
            case PutMember(member=member, was=before):
                if before is not UNCHECKED and before != self.members.get((room_id, member.principal)):
                    return "conflict"
                self.members[room_id, member.principal] = member
            case RemoveMember(principal=principal):
                self.members.pop((room_id, principal), None)
            case Trim(first=first):
                self.rows[room_id] = [row for row in self.rows[room_id] if row.seq >= first]
            case Redact(seq=seq):
                if all(row.seq != seq for row in self.rows[room_id]):
                    return "no_such_message"
                self.rows[room_id] = [evolve(r, body=None) if r.seq == seq else r for r in self.rows[room_id]]
        return None

    def named(self, key: str) -> str | None:
        return next((room.room_id for room in self.rooms.values() if room.key == key), None)

    def put(self, record: Record, was: Record | None) -> str | None:
        place = record.KIND, record.id
        if self.records.get(place) != was:
            return "conflict"
        others = [one for key, one in self.records.items() if key != place and one.KIND == record.KIND]
        if record.unique is not None and any(one.unique == record.unique for one in others):
            return "name_taken"
        if isinstance(record, Ban) and record.room_id is not None and record.room_id not in self.rooms:
            return "no_such_room"
        self.records[place] = record
        return None

    def first(self, room_id: str) -> int:
        return self.rows[room_id][0].seq if self.rows[room_id] else self.heads[room_id] + 1

    def append(self, change: Append) -> str | Row:
        rows = self.rows[change.room_id]
        for row in rows:
            if change.op is not None and (row.author, row.op) == (change.author, change.op):
                body = change.body if row.body is None else row.body
                same = (row.kind, body, row.about) == (change.kind, change.body, change.about)
                return row if same else "op_conflict"
        self.heads[change.room_id] += 1
        row = Row(
            room_id=change.room_id,
            seq=self.heads[change.room_id],
            kind=change.kind,
            author=change.author,
            name=change.name,
            time=change.time,
            body=change.body,
            op=change.op,
            about=change.about,
        )
        rows.append(row)
        return row


def plain(outcome: Outcome) -> str | Row | None:
    if isinstance(outcome, Appended):
        return outcome.row
    return None if isinstance(outcome, Applied) else outcome.code


async def same_as(model: Model, backend: Backend) -> None:
    snapshot = await backend.directory.snapshot()
    found = {room.room_id: room for room in snapshot.rooms}
    assert found == {
        key: evolve(room, head=model.heads[key], first=model.first(key)) for key, room in model.rooms.items()
    }
    assert {(m.room_id, m.principal): m for m in snapshot.members} == model.members
    assert {(record.KIND, record.id): record for record in snapshot.records} == model.records
    for room_id, rows in model.rows.items():
        page = Page(rows=tuple(rows), first=model.first(room_id), head=model.heads[room_id])
        assert await backend.log.read(room_id, after=0, limit=1000) == page


async def live(backend: Backend, commits: Sequence[Sequence[Change]]) -> tuple[list[list[Outcome]], list[Batch]]:
    model = Model()
    outcomes: list[list[Outcome]] = []
    batches: list[Batch] = []
    async with backend.log.tail(0) as feed:
        for commit in commits:
            outcomes.append(await backend.commit(commit))
            assert [plain(outcome) for outcome in outcomes[-1]] == [model.apply(change) for change in commit]
            await same_as(model, backend)
        end = (await backend.directory.snapshot()).position
        while (not batches and end > 0) or (batches and batches[-1].position < end):
            batches.append(await anext(feed))
    return outcomes, batches


async def reread(backend: Backend, end: int) -> list[Batch]:
    batches: list[Batch] = []
    async with backend.log.tail(0) as feed:
        while not batches or batches[-1].position < end:
            batches.append(await anext(feed))
    return batches


BEGINNING: list[Change | Knowing | list[Change | Knowing]] = [
    CreateRoom(room=RoomRecord(room_id=f"r{number}", epoch="e1", name="", key=f"k{number}")) for number in (1, 2)
]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(changes, max_size=8), max_size=8))
async def test_memory_sqlite_and_model_agree(proposed: list[list[Change | Knowing | list[Change | Knowing]]]) -> None:
    model = Model()
    commits = [settle_all(model, commit) for commit in (BEGINNING, *proposed)]
    with tempfile.TemporaryDirectory() as directory:
        async with opened("memory://") as memory, opened(f"sqlite:///{directory}/store.db") as sqlite:
            outcomes, batches = await live(memory, commits)
            assert await live(sqlite, commits) == (outcomes, batches)
            if batches:
                again = await reread(sqlite, batches[-1].position)
                assert again == await reread(memory, batches[-1].position)
                rows = [item for batch in again for item in batch.items if isinstance(item, Row)]
                assert sorted(rows, key=lambda row: (row.room_id, row.seq)) == [
                    row for _, kept in sorted(model.rows.items()) for row in kept
                ]
                facts = [[item for item in batch.items if not isinstance(item, Row)] for batch in again]
                told = [[item for item in batch.items if not isinstance(item, Row)] for batch in batches]
                assert [items for items in facts if items] == [items for items in told if items]
