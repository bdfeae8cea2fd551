"""Checks of the log: rows, seqs, pages, trimming."""

from __future__ import annotations

import trio

from chatkit.backend.interface import Backend
from chatkit.backend.records import Appended, Body, Page, Row, Trim
from chatkit.errors import UsageError
from chatkit.testing.backend.tools import (
    about,
    all_rows,
    codes,
    collect,
    expect,
    expect_error,
    followed,
    make_room,
    new_post,
    new_room,
    rows_of,
)


async def fields_are_kept(backend: Backend) -> None:
    """Rows come back as they were appended, whatever they hold."""
    room = await make_room(backend)
    bodies: list[Body] = ["", "naïve ☃ \U0001f600", "a\0b\r\n\x1b", b"", b"\x00\xff\xfe", "12", None, "x" * 70_000]
    appends = [new_post(room, body, op=f"op {index}", about=1, thread=2) for index, body in enumerate(bodies)]
    appends.append(new_post(room, author="günther", name="", kind="topic", time=2**53))
    rows = rows_of(await backend.commit(appends))
    for seq, (row, change) in enumerate(zip(rows, appends, strict=True), 1):
        wanted = Row(
            room_id=change.room_id,
            seq=seq,
            kind=change.kind,
            author=change.author,
            name=change.name,
            time=change.time,
            body=change.body,
            op=change.op,
            about=change.about,
            thread=change.thread,
        )
        expect("the row in the outcome", row, wanted)
    expect("the rows in the log", await all_rows(backend, room), rows)
    for row, kept in zip(rows, await all_rows(backend, room), strict=True):
        expect("the type of a body", type(kept.body), type(row.body))


async def seq_is_dense(backend: Backend) -> None:
    """Seqs count 1, 2, 3 … in each room, over commits with many rooms, refusals and many callers."""
    rooms = [await make_room(backend) for _ in range(3)]
    nowhere = new_room()
    returned: list[Row] = []

    async def post(who: int) -> None:
        for number in range(15):
            changes = [new_post(room, f"{who} {number}") for room in rooms[: number % 3 + 1]]
            outcomes = await backend.commit([new_post(nowhere), *changes, changes[0]])
            returned.extend(rows_of(outcomes[1:]))

    async with trio.open_nursery() as nursery:
        for who in range(4):
            nursery.start_soon(post, who)
    for room in rooms:
        kept = await all_rows(backend, room)
        expect("the seqs of a room", [row.seq for row in kept], list(range(1, len(kept) + 1)))
        mine = sorted((row for row in returned if row.room_id == room.room_id), key=lambda row: row.seq)
        expect("the rows of a room", kept, mine)


async def commits_keep_their_order(backend: Backend) -> None:
    """Commits take effect in the order of the calls."""
    room = await make_room(backend)
    numbers = iter(range(30))
    called: list[str] = []

    async def post() -> None:
        called.append(str(next(numbers)))
        await backend.commit([new_post(room, called[-1])])

    async with trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(post)
    expect("the bodies", [row.body for row in await all_rows(backend, room)], called)


async def pages_are_consecutive(backend: Backend) -> None:
    """A page holds the rows nearest to where it was asked for, oldest first, within its limits."""
    room = await make_room(backend, *(f"{number:100}" for number in range(1, 31)))

    async def seqs(**where: int) -> list[int]:
        page = await backend.log.read(room.room_id, **where)
        expect("first and head", (page.first, page.head), (1, 30))
        return [row.seq for row in page.rows]

    whole = list(range(1, 31))
    for start in (0, 1, 7, 29, 30, 31, 1000, 2**70):
        for limit in (1, 4, 30, 1000):
            expect(f"after {start}", await seqs(after=start, limit=limit), [s for s in whole if s > start][:limit])
            expect(f"before {start}", await seqs(before=start, limit=limit), [s for s in whole if s < start][-limit:])
    expect("after 0 in 950 bytes", await seqs(after=0, max_bytes=950), [1, 2, 3])
    expect("before 31 in 900 bytes", await seqs(before=31, max_bytes=900), [28, 29, 30])
    expect("after 0 in 1 byte", await seqs(after=0, max_bytes=1), [1])
    expect("before 31 in 1 byte", await seqs(before=31, max_bytes=1), [30])
    empty = await make_room(backend)
    expect("an empty log", await backend.log.read(empty.room_id, after=0), Page(rows=(), first=1, head=0))
    await expect_error(KeyError, "no such room", lambda: backend.log.read(new_room().room_id, after=0))
    await expect_error(UsageError, "no direction", lambda: backend.log.read(room.room_id))
    await expect_error(UsageError, "two directions", lambda: backend.log.read(room.room_id, after=1, before=5))
    await expect_error(UsageError, "no rows", lambda: backend.log.read(room.room_id, after=1, limit=0))


async def trimming_lets_go(backend: Backend) -> None:
    """A trim removes the rows below its seq, and their ops, and nothing else; it never goes backwards."""
    room, other = await make_room(backend), await make_room(backend, "untouched")
    await backend.commit([new_post(room, str(seq), op=f"o{seq}") for seq in range(1, 11)])

    async def expect_kept(what: str, first: int, head: int) -> None:
        page = await backend.log.read(room.room_id, after=0, limit=100)
        expect(f"the rows {what}", [row.seq for row in page.rows], list(range(first, head + 1)))
        expect(f"first and head {what}", (page.first, page.head), (first, head))
        page = await backend.log.read(room.room_id, before=first + 1)
        expect(f"what comes before the second row {what}", [row.seq for row in page.rows], [first][: head + 1 - first])
        (record,) = [r for r in (await backend.directory.snapshot()).rooms if r.room_id == room.room_id]
        expect(f"the record {what}", (record.first, record.head), (first, head))

    async with followed(backend) as feed:
        outcomes = await backend.commit(
            [
                Trim(room_id=room.room_id, first=4),
                Trim(room_id=room.room_id, first=2),
                new_post(room, "3 anew", op="o3"),
                new_post(room, "4", op="o4"),
                Trim(room_id=new_room().room_id, first=2),
            ]
        )
        expect("the outcomes", codes(outcomes), ["ok", "ok", "ok", "ok", "no_such_room"])
        again, repeat = outcomes[2:4]
        duplicates = [isinstance(one, Appended) and one.duplicate for one in (again, repeat)]
        expect("which of the ops are remembered", duplicates, [False, True])
        await expect_kept("after a trim", 4, 11)
        await backend.commit([Trim(room_id=room.room_id, first=-5), Trim(room_id=room.room_id, first=4)])
        await expect_kept("after a trim backwards", 4, 11)
        await backend.commit([new_post(room, "12"), Trim(room_id=room.room_id, first=2**53), new_post(room, "13")])
        await expect_kept("after a trim of everything before the newest", 13, 13)
        await backend.commit([Trim(room_id=room.room_id, first=14)])
        await expect_kept("after a trim of everything", 14, 13)
        expect("the next seq", [row.seq for row in rows_of(await backend.commit([new_post(room)]))], [14])
        batches = await collect(feed, 7, room)
    items = [item.seq if isinstance(item, Row) else item for b in batches for item in about(room, b)]
    wanted = [Trim(room_id=room.room_id, first=4), 11, 12, Trim(room_id=room.room_id, first=13), 13]
    expect("the feed", items, [*wanted, Trim(room_id=room.room_id, first=14), 14])
    expect("another room", [row.body for row in await all_rows(backend, other)], ["untouched"])
    start = batches[0].position - len(batches[0].items)
    async with backend.log.tail(start) as feed:
        seqs = [item.seq for b in await collect(feed, 4, room) for item in b.items if isinstance(item, Row)]
    expect("the rows in a feed that was behind", seqs, [14])
