"""Whether a backend keeps the laws of :mod:`chatkit.backend.interface`: a suite for ours and for anybody's.

::

    async def test_my_backend(tmp_path):
        await check_backend(lambda: open_backend(f"mine://{tmp_path}/store"))
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from secrets import token_hex
from typing import Any

import trio
from attrs import evolve

from chatkit.backend.interface import Backend
from chatkit.backend.records import (
    Append,
    Appended,
    Applied,
    Batch,
    Body,
    Change,
    CreateRoom,
    DeleteRoom,
    Fact,
    Member,
    Outcome,
    Page,
    PutMember,
    Refused,
    RemoveMember,
    RoomRecord,
    Row,
    Trim,
)
from chatkit.errors import ChatError, StorageUnavailable, UsageError

PATIENCE = 20.0
"""Seconds after which something that should have come is missing."""

Check = Callable[[Backend], Awaitable[None]]


async def check_backend(open_: Callable[[], Awaitable[Backend]]) -> None:
    """Run every check over a backend, each over an opening of its own.

    ``open_`` opens it. For a durable backend every call opens the same store; for another it may be a new one each
    time. The store may hold anything before and holds more afterwards (some MiB); nobody else should be slowing it
    down. Nothing is left open.

    Raises AssertionError that begins with the law that was broken. Needs the real clock, not a jumping one, if the
    backend works in threads; takes a few seconds. Cancelling it closes the backend.
    """
    for law, check in CHECKS:
        backend = await open_()
        try:
            await _hold_to(law, partial(check, backend))
        finally:
            await backend.aclose()
    await _hold_to("law 1, what is kept is there when the store is opened again", partial(_survives, open_))
    await _hold_to("closing ends the feeds and is safe to repeat", partial(_closes, open_))


async def _hold_to(law: str, check: Callable[[], Awaitable[None]]) -> None:
    try:
        with trio.fail_after(PATIENCE):
            await check()
    except AssertionError as error:
        raise AssertionError(f"{law}: {error}") from error
    except trio.TooSlowError as error:
        raise AssertionError(f"{law}: nothing happened for {PATIENCE} seconds") from error
    except ChatError as error:
        raise AssertionError(f"{law}: unexpected {type(error).__name__}: {error}") from error


def _expect(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise AssertionError(f"{what}: expected {_brief(wanted)}, found {_brief(found)}")


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 600 else f"{text[:600]}…"


def _room(**fields: Any) -> RoomRecord:
    unique = token_hex(8)
    room = RoomRecord(room_id=unique, epoch=token_hex(8), name=f"Room {unique}", key=f"room {unique}", created_at=1)
    return evolve(room, **fields)


def _append(room: RoomRecord, body: Body = "hello", **fields: Any) -> Append:
    change = Append(room_id=room.room_id, kind="message", author="ann", name="Ann", time=1_700_000_000_000, body=body)
    return evolve(change, **fields)


async def _make_room(backend: Backend, *appends: str) -> RoomRecord:
    room = _room()
    await backend.commit([CreateRoom(room=room), *(_append(room, body) for body in appends)])
    return room


async def _all_rows(backend: Backend, room: RoomRecord) -> list[Row]:
    rows: list[Row] = []
    while True:
        page = await backend.log.read(room.room_id, after=len(rows), limit=1000)
        if not page.rows:
            return rows
        rows += page.rows


def _rows_of(outcomes: Sequence[Outcome]) -> list[Row]:
    rows = []
    for outcome in outcomes:
        if not isinstance(outcome, Appended):
            raise AssertionError(f"an append gave {_brief(outcome)}")
        rows.append(outcome.row)
    return rows


def _codes(outcomes: Sequence[Outcome]) -> list[str]:
    return [outcome.code if isinstance(outcome, Refused) else "ok" for outcome in outcomes]


async def _expect_error(kind: type[BaseException], what: str, call: Callable[[], Awaitable[object]]) -> None:
    try:
        await call()
    except kind:
        return
    raise AssertionError(f"{what}: expected {kind.__name__}")


@asynccontextmanager
async def _followed(backend: Backend) -> AsyncIterator[AsyncIterator[Batch]]:
    async with backend.log.tail((await backend.directory.snapshot()).position) as feed:
        yield feed


async def _collect(feed: AsyncIterator[Batch], items: int, room: RoomRecord) -> list[Batch]:
    """Take batches until ``items`` of them are of a room; others may be writing, too."""
    batches: list[Batch] = []
    while sum(len(_about(room, batch)) for batch in batches) < items:
        batches.append(await anext(feed))
    return batches


def _about(room: RoomRecord, batch: Batch) -> list[Row | Fact]:
    return [item for item in batch.items if _room_id(item) == room.room_id]


def _room_id(item: Row | Fact) -> str:
    match item:
        case CreateRoom(room=room):
            return room.room_id
        case PutMember(member=member):
            return member.room_id
        case _:
            return item.room_id


async def fields_are_kept(backend: Backend) -> None:
    """Rows come back as they were appended, whatever they hold."""
    room = await _make_room(backend)
    bodies: list[Body] = ["", "naïve ☃ \U0001f600", "a\0b\r\n\x1b", b"", b"\x00\xff\xfe", "12", None, "x" * 70_000]
    appends = [_append(room, body, op=f"op {index}", about=1, thread=2) for index, body in enumerate(bodies)]
    appends.append(_append(room, author="günther", name="", kind="topic", time=2**53))
    rows = _rows_of(await backend.commit(appends))
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
        _expect("the row in the outcome", row, wanted)
    _expect("the rows in the log", await _all_rows(backend, room), rows)
    for row, kept in zip(rows, await _all_rows(backend, room), strict=True):
        _expect("the type of a body", type(kept.body), type(row.body))


async def seq_is_dense(backend: Backend) -> None:
    """Seqs count 1, 2, 3 … in each room, over commits with many rooms, refusals and many callers."""
    rooms = [await _make_room(backend) for _ in range(3)]
    nowhere = _room()
    returned: list[Row] = []

    async def post(who: int) -> None:
        for number in range(15):
            changes = [_append(room, f"{who} {number}") for room in rooms[: number % 3 + 1]]
            outcomes = await backend.commit([_append(nowhere), *changes, changes[0]])
            returned.extend(_rows_of(outcomes[1:]))

    async with trio.open_nursery() as nursery:
        for who in range(4):
            nursery.start_soon(post, who)
    for room in rooms:
        kept = await _all_rows(backend, room)
        _expect("the seqs of a room", [row.seq for row in kept], list(range(1, len(kept) + 1)))
        mine = sorted((row for row in returned if row.room_id == room.room_id), key=lambda row: row.seq)
        _expect("the rows of a room", kept, mine)


async def commits_keep_their_order(backend: Backend) -> None:
    """Commits take effect in the order of the calls."""
    room = await _make_room(backend)
    numbers = iter(range(30))
    called: list[str] = []

    async def post() -> None:
        called.append(str(next(numbers)))
        await backend.commit([_append(room, called[-1])])

    async with trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(post)
    _expect("the bodies", [row.body for row in await _all_rows(backend, room)], called)


async def a_refusal_harms_nobody(backend: Backend) -> None:
    """A refused change, or one that cannot be kept at all, leaves the others of its commit alone."""
    room, nowhere = await _make_room(backend), _room()
    await backend.commit([_append(room, "first", op="taken")])
    outcomes = await backend.commit(
        [
            _append(room, "a"),
            _append(nowhere),
            _append(room, "b"),
            _append(room, "other", op="taken"),
            _append(room, "first", op="taken"),
            PutMember(member=Member(room_id=nowhere.room_id, principal="ann")),
            RemoveMember(room_id=nowhere.room_id, principal="ann"),
            DeleteRoom(room_id=nowhere.room_id),
            CreateRoom(room=_room(key=room.key)),
            CreateRoom(room=_room(room_id=room.room_id)),
            _append(room, "c"),
        ]
    )
    none = "no_such_room"
    exists = "room_exists"
    wanted = ["ok", none, "ok", "op_conflict", "ok", none, none, none, exists, exists, "ok"]
    _expect("the outcomes", _codes(outcomes), wanted)
    _expect("the bodies", [row.body for row in await _all_rows(backend, room)], ["first", "a", "b", "c"])
    outcomes = await backend.commit([_append(room, "d"), _append(room, "\ud800"), _append(room, time=2**70)])
    _expect("what cannot be kept", _codes(outcomes), ["ok", "bad_request", "bad_request"])


async def a_repeat_is_kept_once(backend: Backend) -> None:
    """The same op by the same author in the same room is one row: inside a commit, and in a later one."""
    room, other = await _make_room(backend), await _make_room(backend)
    post = _append(room, "once", op="o", about=None, thread=7)
    first, again = await backend.commit([post, post])
    later, *rest = await backend.commit(
        [
            evolve(post, name="Anna", time=post.time + 1),
            evolve(post, body=b"once"),
            evolve(post, kind="topic"),
            evolve(post, about=1),
            evolve(post, thread=None),
            evolve(post, author="bob"),
            evolve(post, room_id=other.room_id),
            evolve(post, op=None),
            evolve(post, op=None),
        ]
    )
    (row,) = _rows_of([first])
    _expect("the first", first, Appended(row, room.epoch, False))
    _expect("a repeat in the same commit", again, Appended(row, room.epoch, True))
    _expect("a repeat in a later commit", later, Appended(row, room.epoch, True))
    conflict = ["op_conflict"] * 4
    _expect("other content, author, room, no op", _codes(rest), [*conflict, "ok", "ok", "ok", "ok"])
    _expect("the rows kept", len(await _all_rows(backend, room)), 4)


async def changes_see_those_before(backend: Backend) -> None:
    """Within a commit each change sees what those before it did."""
    room = _room()
    successor = _room(key=room.key)
    post = _append(room, "x", op="o")
    outcomes = await backend.commit(
        [
            _append(room),
            CreateRoom(room=room, owner=Member(room_id=room.room_id, principal="ann", role="owner")),
            post,
            DeleteRoom(room_id=room.room_id),
            post,
            CreateRoom(room=successor),
            _append(successor, "y", op="o"),
            CreateRoom(room=_room(key=room.key)),
            CreateRoom(room=evolve(room, key=f"{room.key} again")),
            evolve(post, body="z"),
            post,
        ]
    )
    wanted = ["no_such_room", "ok", "ok", "ok", "no_such_room", "ok", "ok", "room_exists", "ok", "ok", "op_conflict"]
    _expect("the outcomes", _codes(outcomes), wanted)
    _expect("the rows of the room made again", [row.body for row in await _all_rows(backend, room)], ["z"])
    _expect("the successor's rows", [row.body for row in await _all_rows(backend, successor)], ["y"])


async def pages_are_consecutive(backend: Backend) -> None:
    """A page holds the rows nearest to where it was asked for, oldest first, within its limits."""
    room = await _make_room(backend, *(f"{number:100}" for number in range(1, 31)))

    async def seqs(**where: int) -> list[int]:
        page = await backend.log.read(room.room_id, **where)
        _expect("first and head", (page.first, page.head), (1, 30))
        return [row.seq for row in page.rows]

    whole = list(range(1, 31))
    for start in (0, 1, 7, 29, 30, 31, 1000, 2**70):
        for limit in (1, 4, 30, 1000):
            _expect(f"after {start}", await seqs(after=start, limit=limit), [s for s in whole if s > start][:limit])
            _expect(f"before {start}", await seqs(before=start, limit=limit), [s for s in whole if s < start][-limit:])
    _expect("after 0 in 950 bytes", await seqs(after=0, max_bytes=950), [1, 2, 3])
    _expect("before 31 in 900 bytes", await seqs(before=31, max_bytes=900), [28, 29, 30])
    _expect("after 0 in 1 byte", await seqs(after=0, max_bytes=1), [1])
    _expect("before 31 in 1 byte", await seqs(before=31, max_bytes=1), [30])
    empty = await _make_room(backend)
    _expect("an empty log", await backend.log.read(empty.room_id, after=0), Page(rows=(), first=1, head=0))
    await _expect_error(KeyError, "no such room", lambda: backend.log.read(_room().room_id, after=0))
    await _expect_error(UsageError, "no direction", lambda: backend.log.read(room.room_id))
    await _expect_error(UsageError, "two directions", lambda: backend.log.read(room.room_id, after=1, before=5))
    await _expect_error(UsageError, "no rows", lambda: backend.log.read(room.room_id, after=1, limit=0))


async def the_directory_is_kept(backend: Backend) -> None:
    """The snapshot holds rooms and members as the changes left them."""
    room = _room(topic="ž", private=True, permanent=True, created_by="ann", created_at=2**41)
    gone = await _make_room(backend, "x")

    def member(who: str, role: str = "member") -> Member:
        return Member(room_id=room.room_id, principal=who, role=role)

    outcomes = await backend.commit(
        [
            CreateRoom(room=evolve(room, head=5, first=3), owner=member("ann", "owner")),
            PutMember(member=member("bob")),
            PutMember(member=member("cid")),
            PutMember(member=member("bob", "moderator")),
            PutMember(member=Member(room_id=gone.room_id, principal="ann")),
            RemoveMember(room_id=room.room_id, principal="cid"),
            RemoveMember(room_id=room.room_id, principal="nobody"),
            _append(room),
            DeleteRoom(room_id=gone.room_id),
        ]
    )
    _expect("the outcomes", _codes(outcomes), ["ok"] * 9)
    snapshot = await backend.directory.snapshot()
    for outcome in outcomes:
        if isinstance(outcome, Applied) and outcome.position > snapshot.position:
            raise AssertionError("the snapshot is older than a commit that returned")
    _expect("the room", [r for r in snapshot.rooms if r.room_id == room.room_id], [evolve(room, head=1, first=1)])
    _expect(
        "the members",
        sorted((m.principal, m.role) for m in snapshot.members if m.room_id == room.room_id),
        [("ann", "owner"), ("bob", "moderator")],
    )
    ids = {r.room_id for r in snapshot.rooms} | {m.room_id for m in snapshot.members}
    _expect("the deleted room is in the snapshot", gone.room_id in ids, False)


async def a_deleted_room_is_gone(backend: Backend) -> None:
    """Deleting a room removes its log and its ops; its name is free for a room with a log of its own."""
    room = await _make_room(backend)
    await backend.commit([_append(room, "x", op="o"), PutMember(member=Member(room_id=room.room_id, principal="bob"))])
    await backend.commit([DeleteRoom(room_id=room.room_id)])
    await _expect_error(KeyError, "the deleted log", lambda: backend.log.read(room.room_id, after=0))
    _expect("an append to it", _codes(await backend.commit([_append(room)])), ["no_such_room"])
    again = evolve(room, epoch=token_hex(8))  # even of the same id
    _, outcome = await backend.commit([CreateRoom(room=again), _append(again, "y", op="o")])
    (row,) = _rows_of([outcome])
    _expect("the first row of the new log", outcome, Appended(row, again.epoch, False))
    _expect("its seq", row.seq, 1)
    members = [m for m in (await backend.directory.snapshot()).members if m.room_id == room.room_id]
    _expect("its members", members, [])


async def feeds_carry_everything_once(backend: Backend) -> None:
    """Each feed gives every commit as one batch, in order, the items in the order of the changes."""
    room = _room()
    wanted: list[list[Row | Fact]] = []
    async with _followed(backend) as feed, _followed(backend) as second:
        create = CreateRoom(room=room)
        await backend.commit([create])
        wanted.append([create])
        for number in range(20):
            put = PutMember(member=Member(room_id=room.room_id, principal=str(number)))
            outcomes = await backend.commit([_append(room, f"{number}a"), put, _append(_room()), _append(room)])
            first, last = _rows_of([outcomes[0], outcomes[3]])
            wanted.append([first, put, last])
        await backend.commit([_append(_room())])
        for each in (feed, second):
            batches = await _collect(each, 61, room)
            _expect("the batches", [items for b in batches if (items := _about(room, b))], wanted)
            positions = [batch.position for batch in batches]
            _expect("the positions, sorted", sorted(set(positions)), positions)
    applied = [outcome.position for outcome in outcomes if isinstance(outcome, Applied)]
    if applied[0] > positions[-1]:
        raise AssertionError(f"the feed is past a change applied at {applied[0]}, its position is {positions[-1]}")


async def feeds_join_without_a_gap(backend: Backend) -> None:
    """A feed may start at any batch; what was committed before, while and after it was opened comes once."""
    room = await _make_room(backend)
    start = (await backend.directory.snapshot()).position

    async def post(who: int) -> None:
        for number in range(20):
            await backend.commit([_append(room, f"{who} {number}"), _append(room, f"{who} {number} more")])

    async def follow(after: int, wanted: list[Batch]) -> None:
        async with backend.log.tail(after) as feed:
            found = await _collect(feed, sum(len(batch.items) for batch in wanted), room)
            _expect(f"the batches after {after}", found, wanted)

    async with trio.open_nursery() as nursery, backend.log.tail(start) as feed:
        for who in range(3):
            nursery.start_soon(post, who)
        live = await _collect(feed, 120, room)
    seqs = [item.seq for batch in live for item in batch.items if isinstance(item, Row)]
    _expect("the seqs in the feed", seqs, list(range(1, 121)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow, start, live)
        for index in (0, 1, 30, 58):
            nursery.start_soon(follow, live[index].position, live[index + 1 :])


async def a_slow_feed_misses_nothing(backend: Backend) -> None:
    """A reader that falls far behind, by bytes or by commits, still gets every batch, whole and in order."""
    room = await _make_room(backend)
    seqs: list[int] = []

    def take(batches: list[Batch]) -> None:
        for batch in batches:
            items = _about(room, batch)
            _expect("the rows in a batch", len(items), 10)
            seqs.extend(item.seq for item in items if isinstance(item, Row))

    async with _followed(backend) as feed:
        for burst in (1, 12, 150, 1):
            body = "x" * (65_536 if burst < 20 else 10)
            for _ in range(burst):
                await backend.commit([_append(room, body) for _ in range(10)])
            take(await _collect(feed, 50 if burst == 12 else 10, room))
        take(await _collect(feed, 1640 - len(seqs), room))
        _expect("the seqs", seqs, list(range(1, 1641)))


async def cancelled_commits_are_whole(backend: Backend) -> None:
    """A commit cancelled at any step is kept whole or not at all; the next works; the feed tells of it alike."""
    room = await _make_room(backend)
    kept: list[str] = []
    step = 0
    async with _followed(backend) as feed:
        while True:
            body = f"step {step}"
            finished = await _cancelled_at(step, partial(backend.commit, [_append(room, body), _append(room, body)]))
            found = [row.body for row in await _all_rows(backend, room)]
            if found != kept:
                kept += [body, body]
                _expect(f"the bodies after a commit cancelled at step {step}", found, kept)
            await backend.commit([_append(room, "next")])
            kept.append("next")
            if finished:
                break
            step += 1
        batches = await _collect(feed, len(kept), room)
    _expect("the feed", [item.body for b in batches for item in b.items if isinstance(item, Row)], kept)


async def cancelled_readers_leave_nothing(backend: Backend) -> None:
    """Reading and following can be cancelled at any step; afterwards all goes on, and a feed has lost nothing."""
    room = await _make_room(backend, "one", "two")

    async def follow() -> None:
        async with _followed(backend) as feed:
            await backend.commit([_append(room)])
            await _collect(feed, 1, room)

    for task in (partial(backend.log.read, room.room_id, after=0), backend.directory.snapshot, follow):
        step = 0
        while not await _cancelled_at(step, task):
            step += 1
    head = (await backend.log.read(room.room_id, after=0)).head
    async with _followed(backend) as feed:
        step = 0
        seqs: list[int] = []

        async def take() -> None:
            (batch,) = await _collect(feed, 1, room)
            seqs.extend(item.seq for item in batch.items if isinstance(item, Row))

        finished = False
        while not finished:
            await backend.commit([_append(room)])
            finished = await _cancelled_at(step, take)
            step += 1
        while len(seqs) < step:
            await take()
        _expect("the seqs", seqs, list(range(head + 1, head + step + 1)))


async def _cancelled_at(step: int, task: Callable[[], Awaitable[object]]) -> bool:
    """Run a task, cancelled after so many of its steps; return whether it had finished before."""
    runner = _Canceller(step)
    with runner.scope:
        trio.lowlevel.add_instrument(runner)
        try:
            await task()
        finally:
            trio.lowlevel.remove_instrument(runner)
    return runner.steps < step or not runner.scope.cancel_called


class _Canceller(trio.abc.Instrument):
    def __init__(self, after: int) -> None:
        self.scope = trio.CancelScope()
        self.steps = 0
        self._after = after
        self._task = trio.lowlevel.current_task()
        if after == 0:
            self.scope.cancel()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self._task:
            self.steps += 1
            if self.steps == self._after:
                self.scope.cancel()


async def the_bus_reaches_all(backend: Backend) -> None:
    """Everyone subscribed gets what is published, the sender included, and publishing never waits."""
    topic = token_hex(8)
    async with backend.bus.subscribe() as first, backend.bus.subscribe() as second:
        for number in range(3):
            await backend.bus.publish(topic, b"%d" % number)
        for subscription in (first, second):
            found = [(await _next_of(subscription, topic)) for _ in range(3)]
            _expect("the signals", found, [b"0", b"1", b"2"])
        for number in range(2_500):
            await backend.bus.publish(topic, b"%d" % number)
        found = [await _next_of(first, topic)]
        while found[-1] != b"2499":
            found.append(await _next_of(first, topic))
        _expect("the newest signals", found, [b"%d" % number for number in range(2_500)][-len(found) :])
        if len(found) > 1_000:
            raise AssertionError(f"{len(found)} signals waited for one subscriber; at most 1000 may")


async def _next_of(subscription: AsyncIterator[tuple[str, bytes]], topic: str) -> bytes:
    while True:
        found, data = await anext(subscription)
        if found == topic:
            return data


async def trimming_lets_go(backend: Backend) -> None:
    """A trim removes the rows below its seq, and their ops, and nothing else; it never goes backwards."""
    room, other = await _make_room(backend), await _make_room(backend, "untouched")
    await backend.commit([_append(room, str(seq), op=f"o{seq}") for seq in range(1, 11)])

    async def expect_kept(what: str, first: int, head: int) -> None:
        page = await backend.log.read(room.room_id, after=0, limit=100)
        _expect(f"the rows {what}", [row.seq for row in page.rows], list(range(first, head + 1)))
        _expect(f"first and head {what}", (page.first, page.head), (first, head))
        page = await backend.log.read(room.room_id, before=first + 1)
        _expect(f"what comes before the second row {what}", [row.seq for row in page.rows], [first][: head + 1 - first])
        (record,) = [r for r in (await backend.directory.snapshot()).rooms if r.room_id == room.room_id]
        _expect(f"the record {what}", (record.first, record.head), (first, head))

    async with _followed(backend) as feed:
        outcomes = await backend.commit(
            [
                Trim(room_id=room.room_id, first=4),
                Trim(room_id=room.room_id, first=2),
                _append(room, "3 anew", op="o3"),
                _append(room, "4", op="o4"),
                Trim(room_id=_room().room_id, first=2),
            ]
        )
        _expect("the outcomes", _codes(outcomes), ["ok", "ok", "ok", "ok", "no_such_room"])
        again, repeat = outcomes[2:4]
        duplicates = [isinstance(one, Appended) and one.duplicate for one in (again, repeat)]
        _expect("which of the ops are remembered", duplicates, [False, True])
        await expect_kept("after a trim", 4, 11)
        await backend.commit([Trim(room_id=room.room_id, first=-5), Trim(room_id=room.room_id, first=4)])
        await expect_kept("after a trim backwards", 4, 11)
        await backend.commit([_append(room, "12"), Trim(room_id=room.room_id, first=2**53), _append(room, "13")])
        await expect_kept("after a trim of everything before the newest", 13, 13)
        await backend.commit([Trim(room_id=room.room_id, first=14)])
        await expect_kept("after a trim of everything", 14, 13)
        _expect("the next seq", [row.seq for row in _rows_of(await backend.commit([_append(room)]))], [14])
        batches = await _collect(feed, 7, room)
    items = [item.seq if isinstance(item, Row) else item for b in batches for item in _about(room, b)]
    wanted = [Trim(room_id=room.room_id, first=4), 11, 12, Trim(room_id=room.room_id, first=13), 13]
    _expect("the feed", items, [*wanted, Trim(room_id=room.room_id, first=14), 14])
    _expect("another room", [row.body for row in await _all_rows(backend, other)], ["untouched"])
    start = batches[0].position - len(batches[0].items)
    async with backend.log.tail(start) as feed:
        seqs = [item.seq for b in await _collect(feed, 4, room) for item in b.items if isinstance(item, Row)]
    _expect("the rows in a feed that was behind", seqs, [14])


async def _survives(open_: Callable[[], Awaitable[Backend]]) -> None:
    backend = await open_()
    try:
        if not backend.durable:
            return
        room = await _make_room(backend, "one", "two")
        member = Member(room_id=room.room_id, principal="bob")
        outcomes = await backend.commit([_append(room, "three", op="o"), PutMember(member=member)])
        trimmed = await _make_room(backend, "one", "two")
        await backend.commit([Trim(room_id=trimmed.room_id, first=3)])
        before = await backend.directory.snapshot()
        rows = await _all_rows(backend, room)
    finally:
        await backend.aclose()
    backend = await open_()
    try:
        after = await backend.directory.snapshot()
        _expect("the rooms", set(after.rooms), set(before.rooms))
        _expect("the members", set(after.members), set(before.members))
        _expect("the position", after.position, before.position)
        _expect("the rows", await _all_rows(backend, room), rows)
        again, more = await backend.commit([_append(room, "three", op="o"), _append(room, "four")])
        _expect("the op", again, Appended(_rows_of(outcomes[:1])[0], room.epoch, True))
        _expect("the next seq", _rows_of([more])[0].seq, 4)
        (more,) = await backend.commit([_append(trimmed, "three")])
        _expect("the next seq where all was trimmed", _rows_of([more])[0].seq, 3)
    finally:
        await backend.aclose()


async def _closes(open_: Callable[[], Awaitable[Backend]]) -> None:
    backend = await open_()
    ended: list[str] = []

    async def drain(name: str, source: AsyncIterator[object]) -> None:
        async for _ in source:
            pass
        ended.append(name)

    async with _followed(backend) as feed, backend.bus.subscribe() as signals, trio.open_nursery() as nursery:
        nursery.start_soon(drain, "feed", feed)
        if backend.durable:  # a store in memory may share its bus with other openings
            nursery.start_soon(drain, "bus", signals)
        await _make_room(backend)
        await backend.aclose()
        await backend.aclose()
    _expect("what ended", sorted(ended), ["bus", "feed"] if backend.durable else ["feed"])
    changes: list[Change] = [_append(_room())]
    await _expect_error(StorageUnavailable, "a commit to a closed store", lambda: backend.commit(changes))
    await _expect_error(StorageUnavailable, "reading a closed store", backend.directory.snapshot)


CHECKS: tuple[tuple[str, Check], ...] = (
    ("law 1, what is kept comes back as it was", fields_are_kept),
    ("law 2, seq is dense", seq_is_dense),
    ("law 2, commits keep the order of the calls", commits_keep_their_order),
    ("law 3, a refusal harms nobody", a_refusal_harms_nobody),
    ("law 3, a repeat is kept once", a_repeat_is_kept_once),
    ("law 3, changes see those before", changes_see_those_before),
    ("reading, pages are consecutive", pages_are_consecutive),
    ("the directory is kept", the_directory_is_kept),
    ("a deleted room is gone", a_deleted_room_is_gone),
    ("law 4, feeds carry everything once", feeds_carry_everything_once),
    ("law 4, feeds join without a gap", feeds_join_without_a_gap),
    ("law 4, a slow feed misses nothing", a_slow_feed_misses_nothing),
    ("law 5, cancelled commits are whole", cancelled_commits_are_whole),
    ("law 5, cancelled readers leave nothing", cancelled_readers_leave_nothing),
    ("the bus reaches all", the_bus_reaches_all),
    ("law 2, trimming lets go of rows, never of seqs", trimming_lets_go),
)
"""The checks by the law they hold a backend to, in the order they run."""
