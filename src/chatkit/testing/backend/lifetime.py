"""Checks of opening a store again, and of closing it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import trio
from attrs import evolve

from chatkit.backend.interface import Backend
from chatkit.backend.records import Appended, Ban, Change, Member, Put, PutMember, Redact, Trim, UpdateRoom
from chatkit.errors import StorageUnavailable
from chatkit.testing.backend.tools import (
    all_rows,
    expect,
    expect_error,
    followed,
    make_room,
    new_account,
    new_post,
    new_room,
    rows_of,
)


async def what_is_kept_survives(open_: Callable[[], Awaitable[Backend]]) -> None:
    backend = await open_()
    try:
        if not backend.durable:
            return
        room = await make_room(backend, "one", "two")
        member = Member(room_id=room.room_id, principal="bob")
        outcomes = await backend.commit([new_post(room, "three", op="o"), PutMember(member=member)])
        trimmed = await make_room(backend, "one", "two")
        await backend.commit([Trim(room_id=trimmed.room_id, first=3)])
        account = new_account(password="$argon2id$…")
        await backend.commit(
            [
                Put(record=account),
                Put(record=Ban(id=account.id, room_id=room.room_id, kind="name", value="v", by="b", until=3)),
                Redact(room_id=room.room_id, seq=2),
                UpdateRoom(room=evolve(room, slow=1.5, closed=True), was=room),
            ]
        )
        before = await backend.directory.snapshot()
        rows = await all_rows(backend, room)
    finally:
        await backend.aclose()
    backend = await open_()
    try:
        after = await backend.directory.snapshot()
        expect("the rooms", set(after.rooms), set(before.rooms))
        expect("the members", set(after.members), set(before.members))
        expect("the records", set(after.records), set(before.records))
        expect("the position", after.position, before.position)
        expect("the rows", await all_rows(backend, room), rows)
        again, more = await backend.commit([new_post(room, "three", op="o"), new_post(room, "four")])
        expect("the op", again, Appended(rows_of(outcomes[:1])[0], room.epoch, True))
        expect("the next seq", rows_of([more])[0].seq, 4)
        (more,) = await backend.commit([new_post(trimmed, "three")])
        expect("the next seq where all was trimmed", rows_of([more])[0].seq, 3)
    finally:
        await backend.aclose()


async def closing_ends_feeds(open_: Callable[[], Awaitable[Backend]]) -> None:
    backend = await open_()
    ended: list[str] = []

    async def drain(name: str, source: AsyncIterator[object]) -> None:
        async for _ in source:
            pass
        ended.append(name)

    async with followed(backend) as feed, backend.bus.subscribe() as signals, trio.open_nursery() as nursery:
        nursery.start_soon(drain, "feed", feed)
        if backend.durable:  # a store in memory may share its bus with other openings
            nursery.start_soon(drain, "bus", signals)
        await make_room(backend)
        await backend.aclose()
        await backend.aclose()
    expect("what ended", sorted(ended), ["bus", "feed"] if backend.durable else ["feed"])
    changes: list[Change] = [new_post(new_room())]
    await expect_error(StorageUnavailable, "a commit to a closed store", lambda: backend.commit(changes))
    await expect_error(StorageUnavailable, "reading a closed store", backend.directory.snapshot)
