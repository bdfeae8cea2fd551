"""What readers who are a little behind are served from: all there is of it, or nothing, and never more than may be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chatkit.backend.records import Row
from chatkit.server.ring import Encoded, Rings

EVENTS, SIZE, TOTAL = 5, 2_000, 5_000
ROOMS = 4
STEPS = st.lists(
    st.tuples(st.integers(0, ROOMS - 1), st.lists(st.integers(0, 2_500), max_size=8)),
    max_size=40,
)
"""What is said: in which room, and how long each message is; in none, the room's ring is emptied."""


def row(seq: int, size: int) -> Row:
    return Row(room_id="r", seq=seq, kind="message", author="a", name="ann", time=0, body="x" * size)


@given(STEPS)
def test_rings_hold_the_newest_and_stay_within_their_bounds(steps: list[tuple[int, list[int]]]) -> None:
    rings = Rings(EVENTS, SIZE, TOTAL)
    rooms = [rings.open() for _ in range(ROOMS)]
    heads = [0] * ROOMS
    for number, sizes in steps:
        if sizes:
            added = [row(heads[number] + 1 + offset, size) for offset, size in enumerate(sizes)]
            rooms[number].extend([Encoded(one) for one in added])
            heads[number] += len(sizes)
            newest = added[-1]
            assert (rooms[number].after(newest.seq - 1) is not None) == (newest.size <= SIZE)
        else:
            rooms[number].clear()
        assert rings.bytes == sum(room.bytes for room in rooms) <= TOTAL
        for room, head in zip(rooms, heads, strict=True):
            assert room.after(head) is None, "nothing comes behind the newest"
            held = [found for seq in range(head) if (found := room.after(seq)) is not None]
            assert all([one.row.seq for one in found] == list(range(found[0].row.seq, head + 1)) for found in held)
            assert room.bytes == (sum(one.row.size for one in held[0]) if held else 0) <= SIZE
            assert len(held) <= EVENTS


def test_where_nothing_was_said_for_the_longest_time_makes_room() -> None:
    rings = Rings(EVENTS, SIZE, TOTAL)
    busy, quiet, third, fourth = (rings.open() for _ in range(4))
    for ring, seq in ((busy, 1), (quiet, 1), (third, 1), (busy, 2), (fourth, 1)):
        ring.extend([Encoded(row(seq, 1_300))])
    assert [ring.bytes > 0 for ring in (busy, quiet, third, fourth)] == [True, False, True, True]
