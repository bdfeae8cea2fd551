"""A message on its way into the log, and a request that waits for a commit when rights are taken away."""

from __future__ import annotations

from typing import Any

from chatkit.backend.records import Appended, Outcome, Refused
from chatkit.engine import Proposal
from chatkit.engine.applying import OUT
from chatkit.errors import StorageUnavailable
from chatkit.protocol import messages as m
from chatkit.protocol.codes import ErrorCode
from chatkit.server.committer import Ticket
from chatkit.server.core import Core
from chatkit.server.replies import Slot
from chatkit.server.session import Session

UNKNOWN_OUTCOME = "the message may or may not be kept: repeat it with the same op"


class Saying(Ticket):
    """Something said, until it is kept, and the place of its reply."""

    __slots__ = ("_core", "_proposal", "_request", "_session", "_slot")

    def __init__(
        self, proposal: Proposal, size: int, session: Session, slot: Slot, request: m.SendMessage, core: Core
    ) -> None:
        super().__init__(proposal.change, size)
        self._proposal = proposal
        self._session = session
        self._slot = slot
        self._request = request
        self._core = core

    def resolve(self, outcome: Outcome | StorageUnavailable) -> None:
        session, slot = self._session, self._slot
        session.in_flight_bytes -= self.size
        match outcome:
            case Appended():
                # The reply carries the message's own time, so that its sender knows it as everybody else does.
                slot.blob = session.success(self._core.engine.sent(outcome), slot.ref, outcome.row.time)
            case Refused(code, message):
                slot.blob = session.failure(code, message, slot.ref)
            case StorageUnavailable():
                slot.blob = session.failure(ErrorCode.STORAGE_UNAVAILABLE, UNKNOWN_OUTCOME, slot.ref)
            case _:
                raise AssertionError(f"a message ended as {outcome!r}")

    def judge_again(self) -> Refused | None:
        return judge_again(self._core, self._session, self._request, self._proposal)

    def touches(self) -> tuple[str, ...]:
        return self._core.touched(self._session.id, self._request.room, self._proposal)

    def finish(self) -> None:
        self._session.flush_replies()


def judge_again(core: Core, session: Session, request: m.Request[Any], proposal: Proposal) -> Refused | None:
    """Say whether a request that waits for its commit is unlawful by now: rights were taken away since it was made."""
    if session.closing is not None and session.closing[0] == OUT:
        return Refused(ErrorCode.FORBIDDEN, session.closing[1])
    refusal = core.engine.judge_again(session.id, request, proposal, core.moment(), session.state)
    return None if refusal is None else Refused(refusal.code, refusal.message)
