"""A track takes each seq once, whatever the mixture of replayed and live events."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chatkit.protocol import Position, Step, Track


@given(start=st.integers(0, 2**53 - 100), data=st.data())
def test_replay_and_live_in_any_interleaving(start: int, data: st.DataObject) -> None:
    last = start + data.draw(st.integers(0, 30))
    live_from = data.draw(st.integers(start + 1, last + 1))
    replay, live = list(range(start + 1, last + 1)), list(range(live_from, last + 1))
    track, taken, gaps = Track("e", start), [], []
    while replay or live:
        source = data.draw(st.sampled_from([queue for queue in (replay, live) if queue]))
        seq = source.pop(0)
        before = track.seq
        match track.step(seq):
            case Step.TAKE:
                taken.append(seq)
                assert track.seq == seq == before + 1
            case Step.SKIP:
                assert seq <= before == track.seq
            case Step.GAP:
                gaps.append(seq)
                assert seq > before + 1 == track.seq + 1
    assert taken == list(range(start + 1, last + 1))
    assert track.position == Position("e", last)
    assert all(seq in taken for seq in gaps)


@given(seqs=st.lists(st.integers(0, 20)), start=st.integers(0, 20))
def test_any_seqs_at_all(seqs: list[int], start: int) -> None:
    track, taken = Track("e", start), []
    for seq in seqs:
        if track.step(seq) is Step.TAKE:
            taken.append(seq)
    assert taken == list(range(start + 1, start + 1 + len(taken)))
    assert track.seq == start + len(taken)


def test_a_gap_stays_until_it_is_filled() -> None:
    track = Track("e")
    steps = [track.step(seq) for seq in (1, 3, 3, 2, 3, 1)]
    assert steps == [Step.TAKE, Step.GAP, Step.GAP, Step.TAKE, Step.TAKE, Step.SKIP]


def test_another_log_starts_anew() -> None:
    track = Track("e", 41)
    track.reset("f", 7)
    assert track.position == Position("f", 7)
    assert (track.step(7), track.step(8)) == (Step.SKIP, Step.TAKE)
