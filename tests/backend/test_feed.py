"""Feeds that fall behind, start too late, or end; on both stores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trio.testing
from stores import ROOM, opened, post

from chatkit.backend.feed import MAX_BATCHES, Feed, Feeds, Stretch
from chatkit.backend.interface import Backend
from chatkit.backend.records import Batch, CreateRoom, Member, PutMember, RoomRecord, Row
from chatkit.errors import StorageError, StorageUnavailable, UsageError

stores = pytest.mark.parametrize("scheme", ["memory", "sqlite"])


def url(scheme: str, tmp_path: Path) -> str:
    return "memory://" if scheme == "memory" else f"sqlite:///{tmp_path}/store.db"


def put(number: int) -> PutMember:
    return PutMember(member=Member(room_id="r", principal=str(number % 7), role=str(number)))


async def position(backend: Backend) -> int:
    return (await backend.directory.snapshot()).position


@stores
async def test_more_commits_than_a_feed_holds(scheme: str, tmp_path: Path) -> None:
    total = MAX_BATCHES + 300
    async with opened(url(scheme, tmp_path), ROOM) as backend, backend.log.tail(1) as feed:
        await backend.commit([post("first")])
        assert (await anext(feed)).position == 2
        for number in range(total):
            await backend.commit([post(str(number))])
        found: list[Batch] = []
        for number in range(total):
            found.append(await anext(feed))
            if number % 100 == 0:
                await backend.commit([post("meanwhile")])
        found += [await anext(feed) for _ in range(0, total, 100)]
        assert [batch.position for batch in found] == list(range(3, 3 + len(found)))


@stores
async def test_old_directory_changes_are_let_go(scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("memory_store", "sqlite_writer"):
        monkeypatch.setattr(f"chatkit.backend.{module}.FACTS_KEPT", 50)
        monkeypatch.setattr(f"chatkit.backend.{module}.TRIM_EVERY", 10)
    async with opened(url(scheme, tmp_path), ROOM) as backend:
        stalled = backend.log.tail(1)
        async with stalled as feed:
            for number in range(60):
                await backend.commit([put(2 * number), post(str(number)), put(2 * number + 1)])
            assert (await anext(feed)).position == 4  # it held all of them itself
        newest = await position(backend)
        with pytest.raises(StorageError, match=r"position 1 is no longer kept .*: take a new snapshot"):
            async with backend.log.tail(1):
                pass
        async with backend.log.tail(newest - 75) as feed:
            found = [await anext(feed) for _ in range(25)]
        assert [batch.position for batch in found] == list(range(newest - 72, newest + 1, 3))
        assert {len(batch.items) for batch in found} == {3}
        snapshot = await backend.directory.snapshot()
        assert {(member.principal, member.role) for member in snapshot.members} == {
            (str(number % 7), str(number)) for number in range(113, 120)
        }
        assert (await backend.log.read("r", after=0, limit=1000)).head == 60


@stores
async def test_a_position_of_another_store(scheme: str, tmp_path: Path) -> None:
    async with opened(url(scheme, tmp_path), ROOM) as backend:
        with pytest.raises(StorageError, match=r"position 9 is not of this store"):
            async with backend.log.tail(9):
                pass


@stores
async def test_a_feed_serves_one_task(scheme: str, tmp_path: Path) -> None:
    async with (
        opened(url(scheme, tmp_path), ROOM) as backend,
        backend.log.tail(1) as feed,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(anext, feed)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(UsageError, match="another task"):
            await anext(feed)
        await backend.commit([post()])


@stores
async def test_a_closed_store_ends_its_feeds(scheme: str, tmp_path: Path) -> None:
    async with opened(url(scheme, tmp_path), ROOM) as backend:
        async with backend.log.tail(1) as feed:
            await backend.commit([post("a")])
            await backend.commit([post("b")])
            await backend.aclose()
            left = [item.body async for batch in feed for item in batch.items if isinstance(item, Row)]
            assert left == ["a", "b"]
        async with backend.log.tail(0) as feed:
            assert [batch async for batch in feed] == []


@stores
async def test_a_large_commit_is_one_batch(scheme: str, tmp_path: Path) -> None:
    room = CreateRoom(room=RoomRecord(room_id="s", epoch="f", name="S", key="s"))
    changes = [change for n in range(700) for change in (post("x" * 10_000), put(n))]
    async with opened(url(scheme, tmp_path), ROOM) as backend, backend.log.tail(1) as feed:
        await backend.commit([*changes, room, *[post(room_id="s") for _ in range(77)]])
        live = await anext(feed)
        assert len(live.items) == 1478
        await backend.commit([post("next")])
        async with backend.log.tail(1) as again:
            assert await anext(again) == live
            assert (await anext(again)).position == live.position + 1


class Shelf:
    """A store of batches of one fact each; ``before`` and ``after`` are called as a re-reading looks at it."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.feeds = Feeds()
        self.reads = 0
        self.before: Callable[[], None] = lambda: None
        self.after: Callable[[], None] = lambda: None

    def add(self, number: int = 1) -> None:
        for _ in range(number):
            batch = Batch(len(self.batches) + 1, (put(0),))
            self.batches.append(batch)
            self.feeds.publish(batch)

    async def since(self, after: int) -> Stretch:
        self.reads += 1
        self.before()
        batches = self.batches[after : after + 3]
        newest = len(self.batches)
        self.after()
        await trio.lowlevel.checkpoint()
        return Stretch(tuple(batches), newest, after + 3 < newest)

    async def take(self, feed: Feed, number: int) -> list[int]:
        with trio.fail_after(5):
            return [(await anext(feed)).position for _ in range(number)]


async def test_only_who_waits_has_something_at_hand(autojump_clock: trio.testing.MockClock) -> None:
    shelf, found = Shelf(), list[int]()
    async with Feed(shelf.feeds, 0, shelf.since) as feed, trio.open_nursery() as nursery:
        shelf.add()
        assert feed.at_hand() is None

        async def follow() -> None:
            found.extend(await shelf.take(feed, 3))

        nursery.start_soon(follow)
        await trio.testing.wait_all_tasks_blocked()
        assert found == []
        for number in range(2, 5):
            shelf.add()
            batch = feed.at_hand()
            assert batch is not None
            assert batch.position == number
            assert feed.at_hand() is None
            await trio.testing.wait_all_tasks_blocked()
        shelf.add(MAX_BATCHES + 1)
        assert feed.at_hand() is None  # too much for the queue: it is read again
    assert found == [1, 5, 6]
    assert shelf.reads > 1


@pytest.mark.parametrize("waiting", [0, 1, 2, 4, 9])
async def test_what_is_read_and_handed_over_comes_once(waiting: int, autojump_clock: trio.testing.MockClock) -> None:
    shelf = Shelf()
    shelf.add(waiting)
    shelf.before = shelf.after = shelf.add  # each re-reading has a commit before and one after it looks
    async with Feed(shelf.feeds, 0, shelf.since) as feed:
        found = await shelf.take(feed, 2)
        shelf.before = shelf.after = lambda: None
        found += await shelf.take(feed, len(shelf.batches) - 2)
        shelf.add()
        found += await shelf.take(feed, 1)
    assert found == list(range(1, len(shelf.batches) + 1))


async def test_all_that_waits_is_read_without_news(autojump_clock: trio.testing.MockClock) -> None:
    shelf = Shelf()
    shelf.add(10)
    async with Feed(shelf.feeds, 0, shelf.since) as feed:
        assert await shelf.take(feed, 10) == list(range(1, 11))


async def test_a_feed_holds_a_bounded_number(autojump_clock: trio.testing.MockClock) -> None:
    shelf = Shelf()
    async with Feed(shelf.feeds, 0, shelf.since) as feed:
        shelf.add(MAX_BATCHES)
        assert await shelf.take(feed, MAX_BATCHES) == list(range(1, MAX_BATCHES + 1))
        assert shelf.reads == 1  # at the start
        shelf.add(MAX_BATCHES + 1)
        assert await shelf.take(feed, MAX_BATCHES + 1) == list(range(MAX_BATCHES + 1, 2 * MAX_BATCHES + 2))
        assert shelf.reads > MAX_BATCHES // 3


async def test_a_failed_reading_can_be_repeated() -> None:
    shelf = Shelf()

    def fail() -> None:
        raise StorageUnavailable("not now")

    async with Feed(shelf.feeds, 0, shelf.since) as feed:
        shelf.add(MAX_BATCHES + 5)
        shelf.before = fail
        for _ in range(2):
            with pytest.raises(StorageUnavailable):
                await anext(feed)
        shelf.before = lambda: None
        assert await shelf.take(feed, MAX_BATCHES + 5) == list(range(1, MAX_BATCHES + 6))


async def test_a_look_that_fails_is_repeated(autojump_clock: trio.testing.MockClock) -> None:
    shelf = Shelf()

    def fail() -> None:
        raise StorageUnavailable("not now")

    async with Feed(shelf.feeds, 0, shelf.since, poll=0.5) as feed, trio.open_nursery() as nursery:
        shelf.before = fail

        async def write_unnoticed() -> None:
            await trio.sleep(2)
            shelf.batches.append(Batch(1, (put(0),)))
            shelf.before = lambda: None

        nursery.start_soon(write_unnoticed)
        assert await shelf.take(feed, 1) == [1]
