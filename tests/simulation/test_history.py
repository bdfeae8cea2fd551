"""The judge of histories: what it lets pass, and what it calls by which name."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chatkit.testing.history import History, HistoryViolated

LOG = "general#1"


def laws(tell: Callable[[History], object], *, keep: list[tuple[int, str | None]] | None = None) -> list[str]:
    """Return the laws that a history breaks, in which ann is in the room from the start and bob is not."""
    history = History()
    history.join("ann", LOG, 0)
    tell(history)
    history.keep(LOG, keep if keep is not None else [])
    return [violation.law for violation in history.violations()]


def see(history: History, *seqs: int, client: str = "ann") -> None:
    for seq in seqs:
        history.receive(client, LOG, seq, f"op{seq}")


THREE: list[tuple[int, str | None]] = [(1, "op1"), (2, "op2"), (3, "op3")]


# ── what may happen ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_ordinary_conversation() -> None:
    def tell(history: History) -> None:
        history.send("ann", "op1", "general")
        history.ack("ann", LOG, 1, "op1")
        see(history, 1, 2)
        history.caught_up("ann", LOG, 2)
        history.resume("ann", LOG, 2)
        see(history, 3)
        history.leave("ann", LOG)

    assert laws(tell, keep=THREE) == []


def test_whoever_is_told_of_a_gap_goes_on_behind_it() -> None:
    def tell(history: History) -> None:
        see(history, 1)
        history.gap("ann", LOG, 2)
        see(history, 3)

    assert laws(tell, keep=THREE) == []


def test_coming_again_may_begin_anywhere() -> None:
    def tell(history: History) -> None:
        see(history, 1, 2, 3)
        history.leave("ann", LOG)
        history.join("ann", LOG, 1)
        see(history, 2, 3)

    assert laws(tell, keep=THREE) == []


def test_whoever_has_read_ahead_may_go_on_from_there() -> None:
    def tell(history: History) -> None:
        see(history, 1)
        history.know("ann", LOG, 2)
        history.resume("ann", LOG, 2)
        see(history, 3)

    assert laws(tell, keep=THREE) == []


def test_an_unknown_outcome_is_no_refusal() -> None:
    def tell(history: History) -> None:
        history.send("ann", "op1")
        history.unknown("ann", "op1")

    assert laws(tell, keep=THREE) == []


def test_a_refusal_of_one_try_says_nothing_of_another() -> None:
    def tell(history: History) -> None:
        history.send("ann", "op1")  # the link is lost: nobody knows
        history.send("ann", "op1")
        history.refused("ann", "op1", "not_in_room")

    assert laws(tell, keep=THREE) == []


def test_nothing_is_asked_of_a_log_that_is_gone() -> None:
    def tell(history: History) -> None:
        history.send("ann", "op9")
        history.ack("ann", "red#7", 4, "op9")
        history.forget("red#7")

    assert laws(tell, keep=THREE) == []


# ── what may not ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_acknowledged_and_not_kept() -> None:
    assert laws(lambda history: history.ack("ann", LOG, 4, "op4"), keep=THREE) == ["lost"]


def test_acknowledged_at_another_place() -> None:
    assert "lost" in laws(lambda history: history.ack("ann", LOG, 1, "op2"), keep=THREE)


def test_acknowledged_in_a_log_nobody_knows_of() -> None:
    assert laws(lambda history: history.ack("ann", "red#7", 1, "op9")) == ["lost"]


def test_kept_twice() -> None:
    assert laws(lambda history: None, keep=[(1, "op1"), (2, "op1")]) == ["twice"]


def test_shown_twice() -> None:
    def tell(history: History) -> None:
        history.receive("ann", LOG, 1, "op1")
        history.receive("ann", LOG, 2, "op1")

    assert "twice" in laws(tell, keep=THREE)


def test_two_entries_at_one_place() -> None:
    assert laws(lambda history: None, keep=[(1, "op1"), (1, "op2")]) == ["twice"]


def test_a_log_with_a_hole() -> None:
    assert laws(lambda history: None, keep=[(1, "op1"), (3, "op3")]) == ["hole"]


def test_one_place_with_two_meanings() -> None:
    def tell(history: History) -> None:
        history.join("bob", LOG, 0)
        history.receive("ann", LOG, 1, "op1")
        history.receive("bob", LOG, 1, "other")

    assert laws(tell, keep=THREE) == ["two_ops"]


@pytest.mark.parametrize("again", [1, 2])
def test_seen_again_or_backwards(again: int) -> None:
    assert laws(lambda history: see(history, 1, 2, again), keep=THREE) == ["order"]


def test_a_hole_without_a_notice() -> None:
    assert laws(lambda history: see(history, 1, 3), keep=THREE) == ["hole"]


def test_resumed_behind_what_was_seen() -> None:
    def tell(history: History) -> None:
        see(history, 1)
        history.resume("ann", LOG, 2)

    assert laws(tell, keep=THREE) == ["resume"]


def test_resumed_where_one_has_never_been() -> None:
    assert laws(lambda history: history.resume("bob", LOG, 2), keep=THREE) == ["resume"]


def test_caught_up_without_having_everything() -> None:
    def tell(history: History) -> None:
        see(history, 1)
        history.caught_up("ann", LOG, 2)

    assert laws(tell, keep=THREE) == ["caught_up"]


def test_refused_and_there_all_the_same() -> None:
    def tell(history: History) -> None:
        history.send("ann", "op2")
        history.refused("ann", "op2", "not_in_room")

    assert laws(tell, keep=THREE) == ["refused"]


def test_seen_without_being_there() -> None:
    assert laws(lambda history: see(history, 1, client="bob"), keep=THREE) == ["stranger"]


def test_seen_after_leaving() -> None:
    def tell(history: History) -> None:
        see(history, 1)
        history.leave("ann", LOG)
        see(history, 2)

    assert laws(tell, keep=THREE) == ["stranger"]


# ── the story ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_failure_tells_the_story_round_it() -> None:
    history = History()
    history.at(1.0).join("ann", LOG, 0)
    history.at(1.5).receive("bob", "red#7", 9, "elsewhere")
    for seq in (1, 3):
        history.at(seq + 1.0).receive("ann", LOG, seq, f"op{seq}")
    history.forget("red#7")
    history.keep(LOG, THREE)

    with pytest.raises(HistoryViolated) as caught:
        history.check()

    (stranger, hole) = sorted(caught.value.violations, key=lambda violation: violation.law, reverse=True)
    assert stranger.law == "stranger"
    assert str(hole).splitlines() == [
        "hole: ann sees 3 in general#1 after 1, and was not told of a gap",
        "      1.0000 ann          is in general#1 at 0",
        "      2.0000 ann          sees op1 general#1 at 1",
        ">     4.0000 ann          sees op3 general#1 at 3",
    ]
    assert str(hole) in str(caught.value)


def test_a_possible_history_passes() -> None:
    history = History()
    history.check()
