"""What the checks share: rooms and changes to try, and how to say what was expected."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from secrets import token_hex
from typing import Any

from attrs import evolve

from chatkit.backend.interface import Backend
from chatkit.backend.records import (
    Account,
    Append,
    Appended,
    Ban,
    Batch,
    Body,
    CreateRoom,
    Fact,
    Outcome,
    Put,
    PutMember,
    Record,
    Refused,
    Remove,
    RoomRecord,
    Row,
    UpdateRoom,
)


def expect(what: str, found: object, wanted: object) -> None:
    """Raise AssertionError unless two things are equal."""
    if found != wanted:
        raise AssertionError(f"{what}: expected {brief(wanted)}, found {brief(found)}")


def brief(value: object) -> str:
    """Return what something looks like, if that is not too long."""
    text = repr(value)
    return text if len(text) <= 600 else f"{text[:600]}…"


async def expect_error(kind: type[BaseException], what: str, call: Callable[[], Awaitable[object]]) -> None:
    """Raise AssertionError unless a call raises an error of a kind."""
    try:
        await call()
    except kind:
        return
    raise AssertionError(f"{what}: expected {kind.__name__}")


def new_room(**fields: Any) -> RoomRecord:
    """Return a room that no store has yet."""
    unique = token_hex(8)
    room = RoomRecord(room_id=unique, epoch=token_hex(8), name=f"Room {unique}", key=f"room {unique}", created_at=1)
    return evolve(room, **fields)


def new_post(room: RoomRecord, body: Body = "hello", **fields: Any) -> Append:
    """Return a message to append."""
    change = Append(room_id=room.room_id, kind="message", author="ann", name="Ann", time=1_700_000_000_000, body=body)
    return evolve(change, **fields)


async def make_room(backend: Backend, *appends: str) -> RoomRecord:
    """Create a room with some messages in it."""
    room = new_room()
    await backend.commit([CreateRoom(room=room), *(new_post(room, body) for body in appends)])
    return room


async def all_rows(backend: Backend, room: RoomRecord) -> list[Row]:
    """Read a whole log."""
    rows: list[Row] = []
    while True:
        page = await backend.log.read(room.room_id, after=len(rows), limit=1000)
        if not page.rows:
            return rows
        rows += page.rows


def rows_of(outcomes: Sequence[Outcome]) -> list[Row]:
    """Return the rows of appends; raise AssertionError if there are other outcomes."""
    rows = []
    for outcome in outcomes:
        if not isinstance(outcome, Appended):
            raise AssertionError(f"an append gave {brief(outcome)}")
        rows.append(outcome.row)
    return rows


def codes(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the codes of refusals, "ok" for everything else."""
    return [outcome.code if isinstance(outcome, Refused) else "ok" for outcome in outcomes]


@asynccontextmanager
async def followed(backend: Backend) -> AsyncIterator[AsyncIterator[Batch]]:
    """Follow what is committed from now on."""
    async with backend.log.tail((await backend.directory.snapshot()).position) as feed:
        yield feed


async def collect(feed: AsyncIterator[Batch], items: int, room: RoomRecord) -> list[Batch]:
    """Take batches until ``items`` of them are of a room; others may be writing, too."""
    batches: list[Batch] = []
    while sum(len(about(room, batch)) for batch in batches) < items:
        batches.append(await anext(feed))
    return batches


def about(room: RoomRecord, batch: Batch) -> list[Row | Fact]:
    """Return the items of a batch that are about a room."""
    return [item for item in batch.items if _room_id(item) == room.room_id]


def _room_id(item: Row | Fact) -> str | None:
    match item:
        case CreateRoom(room=room) | UpdateRoom(room=room):
            return room.room_id
        case PutMember(member=member):
            return member.room_id
        case Put(record=record) | Remove(record=record):
            return record.room_id if isinstance(record, Ban) else None
        case _:
            return item.room_id


def new_account(**fields: Any) -> Account:
    """Return an account that no store has yet."""
    unique = token_hex(8)
    return evolve(Account(id=unique, name=f"Name {unique}", key=f"name {unique}"), **fields)


async def kept_records(backend: Backend, *ids: str) -> list[Record]:
    """Return the records of some ids, in the order of the ids."""
    records = (await backend.directory.snapshot()).records
    return sorted((record for record in records if record.id in ids), key=lambda record: ids.index(record.id))


async def kept_room(backend: Backend, room: RoomRecord) -> RoomRecord | None:
    """Return a room as the directory has it."""
    rooms = (await backend.directory.snapshot()).rooms
    return next((one for one in rooms if one.room_id == room.room_id), None)


@asynccontextmanager
async def expect_no_change(backend: Backend, when: str) -> AsyncIterator[None]:
    """Raise AssertionError if what happens inside leaves anything changed; nobody else may be writing."""
    before = await backend.directory.snapshot()
    yield
    expect(f"the directory {when}", await backend.directory.snapshot(), before)
