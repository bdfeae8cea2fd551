"""Any commits at all have the outcomes a plain model says, in memory and in SQLite alike; and a feed retells them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import opened

from chatkit.backend.interface import Backend
from chatkit.backend.records import (
    Append,
    Appended,
    Applied,
    Batch,
    Change,
    CreateRoom,
    DeleteRoom,
    Member,
    Outcome,
    Page,
    PutMember,
    RemoveMember,
    RoomRecord,
    Row,
    Trim,
)

few = st.sampled_from
ids = few(["r1", "r2", "r3"])
people = few(["ann", "bob"])
text = st.text(max_size=3).filter(lambda value: value.isprintable())
rooms = st.builds(RoomRecord, room_id=ids, epoch=few(["e1", "e2"]), name=text, key=few(["k1", "k2"]), topic=text)
members = st.builds(Member, room_id=ids, principal=people, role=few(["member", "owner"]))
appends = st.builds(
    Append,
    room_id=ids,
    kind=few(["message", "topic"]),
    author=people,
    name=text,
    time=st.integers(0, 2**53),
    body=few(["a", "b", b"a", None]) | st.text(alphabet=st.characters(), max_size=2),
    op=few([None, "o1", "o2", "o3"]),
    about=few([None, 1]),
)
creations = st.builds(CreateRoom, room=rooms) | rooms.flatmap(
    lambda room: st.builds(CreateRoom, room=st.just(room), owner=members.map(lambda m: evolve(m, room_id=room.room_id)))
)
changes: st.SearchStrategy[Change] = st.one_of(
    appends,
    appends,
    appends,
    creations,
    creations,
    st.builds(DeleteRoom, room_id=ids),
    st.builds(PutMember, member=members),
    st.builds(RemoveMember, room_id=ids, principal=people),
    st.builds(Trim, room_id=ids, first=st.integers(-1, 5)),
)


class Model:
    """What a backend is, in the plainest words."""

    def __init__(self) -> None:
        self.rooms: dict[str, RoomRecord] = {}
        self.rows: dict[str, list[Row]] = {}
        self.heads: dict[str, int] = {}
        self.members: dict[tuple[str, str], Member] = {}

    def apply(self, change: Change) -> str | Row | None:
        """Return the code of a refusal, a row, or None."""
        if isinstance(change, CreateRoom):
            room = change.room
            if room.room_id in self.rooms or any(room.key == other.key for other in self.rooms.values()):
                return "room_exists"
            self.rooms[room.room_id] = room
            self.rows[room.room_id] = []
            self.heads[room.room_id] = 0
            if change.owner is not None:
                self.members[room.room_id, change.owner.principal] = change.owner
            return None
        room_id = change.member.room_id if isinstance(change, PutMember) else change.room_id
        if room_id not in self.rooms:
            return "no_such_room"
        match change:
            case Append():
                return self.append(change)
            case DeleteRoom():
                del self.rooms[room_id], self.rows[room_id]
                self.members = {key: member for key, member in self.members.items() if key[0] != room_id}
            case PutMember(member=member):
                self.members[room_id, member.principal] = member
            case RemoveMember(principal=principal):
                self.members.pop((room_id, principal), None)
            case Trim(first=first):
                self.rows[room_id] = [row for row in self.rows[room_id] if row.seq >= first]
        return None

    def first(self, room_id: str) -> int:
        return self.rows[room_id][0].seq if self.rows[room_id] else self.heads[room_id] + 1

    def append(self, change: Append) -> str | Row:
        rows = self.rows[change.room_id]
        for row in rows:
            if change.op is not None and (row.author, row.op) == (change.author, change.op):
                same = (row.kind, row.body, row.about) == (change.kind, change.body, change.about)
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


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(changes, max_size=8), max_size=8))
async def test_memory_sqlite_and_model_agree(commits: list[list[Change]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        async with opened("memory://") as memory, opened(f"sqlite:///{directory}/store.db") as sqlite:
            outcomes, batches = await live(memory, commits)
            assert await live(sqlite, commits) == (outcomes, batches)
            gone = Model()
            for commit in commits:
                for change in commit:
                    gone.apply(change)
            if batches:
                again = await reread(sqlite, batches[-1].position)
                assert again == await reread(memory, batches[-1].position)
                rows = [item for batch in again for item in batch.items if isinstance(item, Row)]
                assert sorted(rows, key=lambda row: (row.room_id, row.seq)) == [
                    row for _, kept in sorted(gone.rows.items()) for row in kept
                ]
