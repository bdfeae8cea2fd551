"""Comings and goings: told one by one within a budget, beyond it and in a crowd as counts only."""

from __future__ import annotations

from playbook import Stage

from chatkit.engine import Moment
from chatkit.engine.limits import EngineLimits
from chatkit.protocol.messages import JoinRoom, LeaveRoom, Login


def notices(stage: Stage, since: int = 0) -> int:
    return sum(line.startswith("watcher < user_") for line in stage.lines[since:])


def counts(stage: Stage) -> int:
    return sum(line.startswith("all < room_updated") for line in stage.lines)


def crowd(stage: Stage, number: int) -> None:
    for index in range(number):
        stage.ask(f"p{index}", Login(user=f"p{index}"))


def watched(limits: EngineLimits | None = None) -> Stage:
    stage = Stage(limits)
    stage.ask("watcher", Login(user="watcher"))
    stage.clock += 10
    return stage


def test_twenty_in_a_second_are_told_and_every_one_counts() -> None:
    stage = watched()
    crowd(stage, 30)
    assert notices(stage) == 20
    assert counts(stage) == 31
    assert stage.lines[-2] == "all < room_updated general (31)"


def test_the_budget_is_back_after_a_second_whatever_comes_and_goes() -> None:
    stage = watched()
    crowd(stage, 25)
    for do in (
        lambda: stage.disconnect("p0"),
        lambda: stage.ask("p1", LeaveRoom(room="general")),
        lambda: stage.ask("p1", JoinRoom(room="general")),
        lambda: stage.ask("p30", Login(user="p30")),
    ):
        stage.clock += 1.01
        since = len(stage.lines)
        do()
        assert notices(stage, since) == 1


def test_comings_and_goings_of_every_kind_share_one_budget() -> None:
    stage = watched()
    crowd(stage, 10)
    since = len(stage.lines)
    for index in range(10):
        stage.ask(f"p{index}", LeaveRoom(room="general"))
    assert notices(stage, since) == 10
    since = len(stage.lines)
    for index in range(5):
        stage.ask(f"p{index}", JoinRoom(room="general"))
        stage.disconnect(f"p{index + 5}")
    assert notices(stage, since) == 0


def test_setting_the_time_of_day_does_not_touch_the_budget() -> None:
    stage = watched()
    for index in range(25):
        stage.now += 86_400_000 * (-1) ** index
        stage.ask(f"p{index}", Login(user=f"p{index}"))
    assert notices(stage) == 20


def test_in_a_crowd_only_counts_are_told() -> None:
    stage = watched(EngineLimits(crowd=5, notices_per_second=1000))
    crowd(stage, 8)
    assert notices(stage) == 4, "the watcher and four others are five"
    since = len(stage.lines)
    for index in range(8):
        stage.disconnect(f"p{index}")
    assert notices(stage, since) == 5, "when the fourth goes five are left"
    assert stage.lines[-2] == "all < room_updated general (1)"


def test_five_hundred_and_no_more_are_told_by_default() -> None:
    stage = watched()
    for index in range(505):
        stage.clock += 0.06
        stage.ask(f"p{index}", Login(user=f"p{index}"))
    assert notices(stage) == 499
    since = len(stage.lines)
    joined = stage.ask("late", Login(user="late"))
    assert joined.rooms[0].users == 507
    assert notices(stage, since) == 0


def test_the_answer_to_a_join_lists_a_bounded_number_of_members() -> None:
    stage = watched(EngineLimits(joined_members=3))
    crowd(stage, 5)
    room = stage.engine.room_named("general")
    assert room is not None
    assert [info.user for info in room.some_present(3)] == ["watcher", "p0", "p1"]


def test_a_person_with_two_links_comes_once_and_goes_once() -> None:
    """While a takeover is under way the same person is there twice, on the older link and the newer."""
    stage = watched()
    stage.ask("ann", Login(user="ann"))
    old, token = stage.links["ann"], stage.tokens["ann"]
    stage.connect("new")
    stage.engine.handle(stage.links["new"], Login(user="ann", token=token), Moment(stage.now, stage.clock))
    room = stage.engine.room_named("general")
    assert room is not None
    assert len(room.present) == 2
    assert not [e for e in stage.engine.close_session(old, stage.clock) if type(e).__name__ != "Detach"]
    assert len(room.present) == 2
    assert [type(e).__name__ for e in stage.engine.close_session(stage.links["new"], stage.clock)] == [
        "Detach",
        "Changed",
        "TellRoom",
    ]
    assert len(room.present) == 1
