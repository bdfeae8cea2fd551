"""The queue of one person in one room, by itself."""

from __future__ import annotations

import pytest
import trio.testing

from chatkit.bot.incoming import Incoming
from chatkit.bot.lane import Lane
from chatkit.errors import ConversationEnded
from chatkit.protocol.messages import Event, UserJoined, UserLeft


def happened(event: Event) -> Incoming:
    return Incoming.of(event, 0)


LEFT = happened(UserLeft(room="tea", user="ann", users=1))
JOINED = happened(UserJoined(room="tea", user="ann", users=2))


async def test_who_leaves_and_is_back_at_once_has_left_the_question_open(
    autojump_clock: trio.testing.MockClock,
) -> None:
    lane = Lane(("tea", "ann"), lambda _: None)
    ends: list[str] = []

    async def ask() -> None:
        with pytest.raises(ConversationEnded) as ended:
            await lane.answer(1)
        ends.append(ended.value.reason)

    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            lane.put(LEFT)
            lane.put(JOINED)
    assert ends == ["left"]
