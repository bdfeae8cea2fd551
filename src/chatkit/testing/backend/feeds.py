"""Checks of the feed."""

from __future__ import annotations

import trio

from chatkit.backend.interface import Backend
from chatkit.backend.records import Applied, Batch, CreateRoom, Fact, Member, PutMember, Row
from chatkit.testing.backend.tools import about, collect, expect, followed, make_room, new_post, new_room, rows_of


async def feeds_carry_everything_once(backend: Backend) -> None:
    """Each feed gives every commit as one batch, in order, the items in the order of the changes."""
    room = new_room()
    wanted: list[list[Row | Fact]] = []
    async with followed(backend) as feed, followed(backend) as second:
        create = CreateRoom(room=room)
        await backend.commit([create])
        wanted.append([create])
        for number in range(20):
            put = PutMember(member=Member(room_id=room.room_id, principal=str(number)))
            outcomes = await backend.commit([new_post(room, f"{number}a"), put, new_post(new_room()), new_post(room)])
            first, last = rows_of([outcomes[0], outcomes[3]])
            wanted.append([first, put, last])
        await backend.commit([new_post(new_room())])
        for each in (feed, second):
            batches = await collect(each, 61, room)
            expect("the batches", [items for b in batches if (items := about(room, b))], wanted)
            positions = [batch.position for batch in batches]
            expect("the positions, sorted", sorted(set(positions)), positions)
    applied = [outcome.position for outcome in outcomes if isinstance(outcome, Applied)]
    if applied[0] > positions[-1]:
        raise AssertionError(f"the feed is past a change applied at {applied[0]}, its position is {positions[-1]}")


async def feeds_join_without_a_gap(backend: Backend) -> None:
    """A feed may start at any batch; what was committed before, while and after it was opened comes once."""
    room = await make_room(backend)
    start = (await backend.directory.snapshot()).position

    async def post(who: int) -> None:
        for number in range(20):
            await backend.commit([new_post(room, f"{who} {number}"), new_post(room, f"{who} {number} more")])

    async def follow(after: int, wanted: list[Batch]) -> None:
        async with backend.log.tail(after) as feed:
            found = await collect(feed, sum(len(batch.items) for batch in wanted), room)
            expect(f"the batches after {after}", found, wanted)

    async with trio.open_nursery() as nursery, backend.log.tail(start) as feed:
        for who in range(3):
            nursery.start_soon(post, who)
        live = await collect(feed, 120, room)
    seqs = [item.seq for batch in live for item in batch.items if isinstance(item, Row)]
    expect("the seqs in the feed", seqs, list(range(1, 121)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow, start, live)
        for index in (0, 1, 30, 58):
            nursery.start_soon(follow, live[index].position, live[index + 1 :])


async def a_slow_feed_misses_nothing(backend: Backend) -> None:
    """A reader that falls far behind, by bytes or by commits, still gets every batch, whole and in order."""
    room = await make_room(backend)
    seqs: list[int] = []

    def take(batches: list[Batch]) -> None:
        for batch in batches:
            items = about(room, batch)
            expect("the rows in a batch", len(items), 10)
            seqs.extend(item.seq for item in items if isinstance(item, Row))

    async with followed(backend) as feed:
        for burst in (1, 12, 150, 1):
            body = "x" * (65_536 if burst < 20 else 10)
            for _ in range(burst):
                await backend.commit([new_post(room, body) for _ in range(10)])
            take(await collect(feed, 50 if burst == 12 else 10, room))
        take(await collect(feed, 1640 - len(seqs), room))
        expect("the seqs", seqs, list(range(1, 1641)))


async def what_is_at_hand_is_not_gone_through_again(backend: Backend) -> None:
    """What is taken at hand and what is iterated over are together every batch once, in order."""
    room = await make_room(backend)
    start = (await backend.directory.snapshot()).position
    found: list[Batch] = []

    async with backend.log.tail(start) as feed, trio.open_nursery() as nursery:
        all_there = trio.Event()

        async def follow() -> None:
            async for batch in feed:
                found.append(batch)
                if sum(len(about(room, batch)) for batch in found) == 60:
                    all_there.set()
                    return

        nursery.start_soon(follow)
        for number in range(60):
            await backend.commit([new_post(room, f"{number}")])
            while number % 3 and number < 59 and (batch := feed.at_hand()) is not None:
                found.append(batch)
        await all_there.wait()
    seqs = [item.seq for batch in found for item in about(room, batch) if isinstance(item, Row)]
    expect("the seqs", seqs, list(range(1, 61)))
