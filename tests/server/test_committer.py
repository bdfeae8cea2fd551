"""The one task that commits, by itself."""

from __future__ import annotations

import pytest
import trio.testing

from chatkit.backend import open_backend
from chatkit.backend.records import Append, Outcome, Refused
from chatkit.errors import StorageUnavailable
from chatkit.server import ServerConfig
from chatkit.server.committer import CROWD, Committer, Ticket
from chatkit.server.statistics import Counters

SAID = Append(room_id="nowhere", kind="receive_message", author="ann", name="ann", time=0, body="hi")


class Unlawful(Ticket):
    """Something that may not be done any more when it is judged again."""

    def resolve(self, outcome: Outcome | StorageUnavailable) -> None:
        assert isinstance(outcome, Refused)

    def judge_again(self) -> Refused | None:
        return Refused("forbidden", "not any more")


async def arrive(position: int) -> None:
    pytest.fail("nothing takes rights away")


async def test_whoever_waits_for_capacity_goes_on_when_all_that_waited_is_refused(
    autojump_clock: trio.testing.MockClock,
) -> None:
    backend = await open_backend("memory://")
    config = ServerConfig(in_flight_total_bytes=100, commit_gather=0.05)
    committer = Committer(backend, config, Counters(), lambda: committer.published(), arrive)
    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(committer.run)
            for _ in range(CROWD):
                committer.submit(Unlawful(SAID, 1))
            await committer.wait_idle()
            committer.submit(Unlawful(SAID, 200))  # waits a moment for the rest of the crowd
            async with trio.open_nursery() as waiting:
                waiting.start_soon(committer.wait_capacity)
                await trio.testing.wait_all_tasks_blocked()
                assert committer.full
                committer.judge_again()
            nursery.cancel_scope.cancel()
    await backend.aclose()
