"""Pages of history are what a plain list says, at every border, also of a log whose beginning was trimmed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone

import pytest
from attrs import evolve, frozen
from hypothesis import given
from hypothesis import strategies as st

from chatkit.backend import open_backend
from chatkit.backend.records import Append, CreateRoom, RoomRecord, Row, Trim
from chatkit.engine.decisions import Reading
from chatkit.errors import RequestFailed, UsageError
from chatkit.protocol import messages as m
from chatkit.server import ServerConfig
from chatkit.server.history import read_history
from chatkit.testing import open_test_server

NEWEST = Reading(room_id="r", before=None, after=None, around=None, at=None, limit=1)
ROW_BYTES = 210


@frozen
class Log:
    """A plain list: so many rows, of which those below ``first`` are gone; row n was said at time 10 n."""

    said: int
    first: int

    @property
    def seqs(self) -> list[int]:
        return list(range(self.first, self.said + 1))

    def page(self, reading: Reading, most: int) -> tuple[list[int], bool, bool]:
        """Say which seqs a page holds, and whether there are others before and after."""
        limit = min(reading.limit, most)
        if reading.before is not None:
            below = [seq for seq in self.seqs if seq < reading.before]
            page = below[-limit:]
            return page, len(page) < len(below), len(below) < len(self.seqs)
        if reading.after is not None:
            above = [seq for seq in self.seqs if seq > reading.after]
            page = above[:limit]
            return page, len(above) < len(self.seqs), len(page) < len(above)
        around = reading.around
        if reading.at is not None:
            around = next((seq for seq in self.seqs if seq * 10 >= reading.at), self.said)
        if around is None:
            page = self.seqs[-limit:]
        else:
            below, above = [s for s in self.seqs if s <= around], [s for s in self.seqs if s > around]
            wanted = -(-limit // 2)
            earlier = min(len(below), max(wanted, limit - len(above)))
            page = below[len(below) - earlier :] + above[: limit - earlier]
        return page, bool(page) and page[0] > self.first, bool(page) and page[-1] < self.said


logs = st.integers(0, 12).flatmap(lambda said: st.builds(Log, st.just(said), st.integers(1, said + 1)))
places = st.integers(0, 15)
readings = st.one_of(
    st.just(NEWEST),
    places.map(lambda seq: evolve(NEWEST, before=seq)),
    places.map(lambda seq: evolve(NEWEST, after=seq)),
    places.map(lambda seq: evolve(NEWEST, around=seq)),
    st.integers(0, 150).map(lambda time: evolve(NEWEST, at=time)),
)


@given(logs, st.lists(st.tuples(readings, st.integers(1, 15), st.sampled_from([1, 3, 100])), max_size=20))
async def test_pages_are_what_a_list_says(log: Log, asked: Sequence[tuple[Reading, int, int]]) -> None:
    backend = await open_backend("memory://")
    room = RoomRecord(room_id="r", epoch="e", name="R", key="r")
    said = [
        Append(room_id="r", kind="message", author="ann", name="Ann", time=10 * seq, body="x" * 10)
        for seq in range(1, log.said + 1)
    ]
    await backend.commit([CreateRoom(room=room), *said, Trim(room_id="r", first=log.first)])
    for place, limit, rows in asked:
        reading = evolve(place, limit=limit)
        found = await read_history(backend.log, reading, rows * ROW_BYTES)
        assert ([row.seq for row in found.rows], found.more_before, found.more_after) == log.page(reading, rows)
    await backend.aclose()


@given(logs, st.integers(1, 5))
async def test_walking_from_page_to_page_gives_everything_once(log: Log, limit: int) -> None:
    backend = await open_backend("memory://")
    room = RoomRecord(room_id="r", epoch="e", name="R", key="r")
    said = Append(room_id="r", kind="message", author="ann", name="Ann", time=1, body="x")
    await backend.commit([CreateRoom(room=room), *[said] * log.said, Trim(room_id="r", first=log.first)])
    newest = await read_history(backend.log, evolve(NEWEST, limit=limit), 10_000)
    found: list[Row] = list(newest.rows)
    more = newest.more_before
    while more:
        page = await read_history(backend.log, evolve(NEWEST, before=found[0].seq, limit=limit), 10_000)
        found[:0] = page.rows
        more = page.more_before
        assert page.more_after
    assert [row.seq for row in found] == log.seqs
    await backend.aclose()


START = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)


async def test_history_around_a_time() -> None:
    minutes = iter(range(1000))
    config = ServerConfig(now_ms=lambda: int((START + timedelta(minutes=next(minutes))).timestamp() * 1000))
    async with open_test_server(config=config) as server:
        ann = await server.person("ann")
        said = [await ann.says(f"message {number}") for number in range(9)]
        room = ann.room()

        async def seqs(at: datetime, limit: int) -> list[int]:
            return [message.seq for message in said if message.seq in await found(at, limit)]

        async def found(at: datetime, limit: int) -> list[int]:
            page = await room.history(at=at, limit=limit)
            return [entry.event.seq for entry in page.events if isinstance(entry.event, m.ReceiveMessage)]

        fifth = said[4].time
        assert await seqs(fifth, 1) == [5]
        assert await seqs(fifth.astimezone(timezone(timedelta(hours=-7))), 3) == [4, 5, 6]
        assert await seqs(fifth - timedelta(milliseconds=1), 1) == [5]
        assert await seqs(fifth + timedelta(milliseconds=1), 1) == [6]
        assert await seqs(START - timedelta(days=1), 2) == [1, 2]
        assert await seqs(START + timedelta(days=1), 2) == [8, 9]


@pytest.mark.parametrize("at", ["", "yesterday", "2026-11-20", "2026-11-20T10:30:00", "1969-12-31T23:59:59Z"])
async def test_what_is_no_time_is_refused(at: str) -> None:
    async with open_test_server() as server:
        ann = await server.person("ann")
        with pytest.raises(RequestFailed, match=r"data\.at: expected") as refused:
            await ann.asks(m.History(room="general", at=at))
        assert refused.value.code == "bad_request"
        with pytest.raises(RequestFailed, match="give one of"):
            await ann.asks(m.History(room="general", at="2026-11-20T10:30:00Z", around=1))
        with pytest.raises(UsageError, match="no time zone"):
            await ann.room().history(at=datetime(2026, 11, 20))
