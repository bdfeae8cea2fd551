"""Serving one session's requests, in the order they arrive.

Something said is handed to the committer without waiting, so that a sender may have many under way; every other
request first waits until those are answered, and is then served alone.
"""

from __future__ import annotations

from functools import partial
from logging import DEBUG
from typing import Any, assert_never

import trio

from chatkit.backend.records import Outcome, Refused
from chatkit.engine import Decision, Joining, Proposal, ReadAudit, Reading, Refusal, Reply
from chatkit.errors import ProtocolError, RequestFailed, StorageUnavailable, UsageError
from chatkit.protocol import accounts as acc
from chatkit.protocol import messages as m
from chatkit.protocol.codec import Ref
from chatkit.protocol.codes import ErrorCode
from chatkit.server.core import Core
from chatkit.server.deciding import Deciding
from chatkit.server.extension import Extensions
from chatkit.server.limits import SessionLimits
from chatkit.server.logbook import bind, log
from chatkit.server.reading import read_audit, read_entrance, read_page
from chatkit.server.saying import Saying, judge_again
from chatkit.server.session import Session

ATTEMPTS = 5
"""How often a change is decided that meets changes of the same thing."""


class Requests:
    """Reads and serves one session's requests until its link ends."""

    def __init__(self, session: Session, core: Core, extensions: Extensions) -> None:
        self._session = session
        self._core = core
        self._engine = core.engine
        self._extensions = extensions
        self._garbage = 0
        self._limits = SessionLimits(core.config.rates) if core.config.rate_limits else None
        self._logged_in = False

    async def run(self) -> None:
        """Serve until the link ends. Raises `Disconnected`."""
        session = self._session
        with trio.move_on_after(self._core.config.login_timeout) as patience:
            await self._serve_all(until_login=True)
        if patience.cancelled_caught and not self._logged_in:
            session.end(4401, "not logged in in time", reconnect=True)
        await self._serve_all()

    async def _serve_all(self, *, until_login: bool = False) -> None:
        session, connection, most = self._session, self._session.connection, self._core.config.transport.outlet_bytes
        receive, decode = connection.receive, session.codec.decode_request
        while session.closing is None and not (until_login and self._logged_in):
            if connection.waiting_bytes > most:
                # Nobody is answered faster than they read: it would be the server's memory that fills.
                await connection.wait_drained()
            try:
                raw = await receive()
                if session.closing is not None:  # it arrived together with the reason to end this link
                    return
                envelope = decode(raw)
            except ProtocolError as error:
                self._refuse_garbage(error)
                continue
            self._garbage = 0
            self._core.counters.received_bytes += len(raw)
            await self._serve(envelope.request, envelope.ref, len(raw))

    def _refuse_garbage(self, error: ProtocolError) -> None:
        session = self._session
        log.warning("%r protocol error: %s", session, _without_words(error), event="protocol_error")
        self._answer(session.failure(error.code, error.message, error.ref), error.ref)
        if error.code != ErrorCode.UNKNOWN_ACTION:
            self._garbage += 1
        if self._garbage >= self._core.config.garbage:
            session.end(4400, "sent garbage", reconnect=True)

    async def _serve(self, request: m.Request[Any], ref: Ref, size: int) -> None:
        if log.logger.isEnabledFor(DEBUG):  # asked for every message said, this is the shortest way
            log.debug("%r asks to %s", self._session, request.action, event="request")
        if self._limits is not None:
            limited = self._limits.check(request, size, trio.current_time())
            if limited is not None:
                self._refuse_rate(request, limited, ref)
                return
        try:
            if self._extensions.hooks:
                request = await self._extensions.amend(request, self._session.id, self._core)
            if isinstance(request, m.SendMessage):
                self._say(request, ref, size)
                if self._too_much_in_flight() or self._core.committer.full:
                    await self._wait_capacity()
            else:
                await self._settle()
                await self._serve_alone(request, ref)
        except RequestFailed as error:
            self._answer(self._session.failure(error.code, error.message, ref, error.retry_after, error.scope), ref)
        except ProtocolError as error:
            self._answer(self._session.failure(error.code, error.message, ref), ref)
        except StorageUnavailable:
            code = ErrorCode.STORAGE_UNAVAILABLE
            self._answer(self._session.failure(code, "the store cannot be reached right now", ref), ref)
        except UsageError:
            log.exception("%r the reply to %s has no place in a message", self._session, request.action)
            code = ErrorCode.INTERNAL_ERROR
            self._answer(self._session.failure(code, "the server failed in this request", ref), ref)

    def _decide(self, request: m.Request[Any]) -> Decision:
        return self._engine.handle(self._session.id, request, self._core.moment())

    def _refuse_rate(self, request: m.Request[Any], limited: Refusal, ref: Ref) -> None:
        session, limits = self._session, self._limits
        self._refuse(request, limited, ref)
        if limits is not None and limits.flooding(trio.current_time()):
            session.end(4429, "flooding", reconnect=True)

    def _answer(self, blob: bytes, ref: Ref) -> None:
        slot = self._session.replies.reserve(ref)
        slot.blob = blob
        self._session.flush_replies()

    # ── saying something ─────────────────────────────────────────────────────────────────────────────────────────────

    def _say(self, request: m.SendMessage, ref: Ref, size: int) -> None:
        session = self._session
        decision = self._decide(request)
        if isinstance(decision, Refusal):
            self._answer(
                session.failure(decision.code, decision.message, ref, decision.retry_after, decision.scope), ref
            )
            return
        if not isinstance(decision, Proposal):
            raise AssertionError(f"a message was decided by {decision!r}")
        session.in_flight_bytes += size
        slot = session.replies.reserve(ref)
        self._core.committer.submit(Saying(decision, size, session, slot, request, self._core))

    def _too_much_in_flight(self) -> bool:
        session, config = self._session, self._core.config
        return len(session.replies) >= config.in_flight_messages or session.in_flight_bytes >= config.in_flight_bytes

    async def _wait_capacity(self) -> None:
        while self._too_much_in_flight():
            await self._session.settled.wait()
        await self._core.committer.wait_capacity()

    async def _settle(self) -> None:
        while len(self._session.replies):
            await self._session.settled.wait()

    # ── everything else ──────────────────────────────────────────────────────────────────────────────────────────────

    async def _serve_alone(self, request: m.Request[Any], ref: Ref) -> None:
        session = self._session
        if self._extensions.serves(request):
            self._answer(session.success(await self._extensions.serve(request, session.id, self._core), ref), ref)
            return
        deciding = Deciding(session, self._core, request)
        decision = await deciding.settle(newcomer=not self._logged_in)
        match decision:
            case Refusal():
                self._refuse(request, decision, ref)
            case Reply():
                self._reply(request, decision, ref)
            case Proposal():
                await self._propose(request, decision, deciding, ref)
            case Joining():
                await self._join(decision, ref)
            case Reading():
                self._answer(session.success(await read_page(self._core, session, decision), ref), ref)
            case ReadAudit():
                self._answer(session.success(await read_audit(self._core, session, decision), ref), ref)
            case _:
                assert_never(decision)

    async def _propose(self, request: m.Request[Any], proposal: Proposal, deciding: Deciding, ref: Ref) -> None:
        """Commit what was proposed, and answer. What meets a change of the same thing is decided anew, without another
        look at a password; a token that two log in with is theirs to try again."""
        core, session = self._core, self._session
        decision: Decision = proposal
        for _ in range(ATTEMPTS):
            judge = partial(judge_again, core, session, request, proposal)
            touches = core.touched(session.id, getattr(request, "room", None), proposal)
            try:
                outcome = await core.commit(proposal.change, fence=proposal.fence, touches=touches, judge=judge)
            except StorageUnavailable:
                self._engine.give_up(session.id, request)
                raise
            met = isinstance(outcome, Refused) and outcome.code == ErrorCode.CONFLICT
            decision = proposal
            if not met or isinstance(request, m.Login):
                break
            decision = deciding.anew()
            if not isinstance(decision, Proposal):
                break
            proposal = decision
        match decision:
            case Refusal():
                self._refuse(request, decision, ref)
            case Reply():
                self._reply(request, decision, ref)
            case _:
                self._conclude(request, outcome, proposal.note, ref)

    def _refuse(self, request: m.Request[Any], refusal: Refusal, ref: Ref) -> None:
        session = self._session
        if isinstance(request, m.Login | acc.Register):
            log.warning(
                "%r login refused for %.64r: %s (%s)",
                session,
                request.user,
                refusal.message,
                refusal.code,
                event="login_refused",
            )
        self._answer(session.failure(refusal.code, refusal.message, ref, refusal.retry_after, refusal.scope), ref)

    def _reply(self, request: m.Request[Any], reply: Reply, ref: Ref) -> None:
        self._answer(self._session.success(reply.reply, ref), ref)
        self._core.carry_out(reply.effects)
        if isinstance(request, m.Login | acc.Register):
            self._logged_in = True
            self._core.logged_in(self._session)
            bind(user=self._session.fields.get("user"))
            log.info("%r logged in", self._session, event="login")

    def _conclude(self, request: m.Request[Any], outcome: Outcome, note: Any, ref: Ref) -> None:
        result = self._engine.conclude(self._session.id, request, outcome, self._core.moment(), note)
        if isinstance(result, Refusal):
            self._refuse(request, result, ref)
        else:
            self._reply(request, result, ref)

    async def _join(self, joining: Joining, ref: Ref) -> None:
        session, core = self._session, self._core
        entrance = await read_entrance(core, session, joining)
        self._answer(session.success(entrance.reply, ref), ref)
        if entrance.is_new:
            core.attach(session.id, joining.room_id, entrance.after, announce_caught_up=entrance.more_after)
        core.carry_out(entrance.effects)


def _without_words(error: ProtocolError) -> str:
    """Say what is wrong with a message without the peer's own words, which the log is not to have."""
    if error.code == ErrorCode.UNKNOWN_ACTION:
        return "unknown action"
    where, colon, what = error.message.rpartition(": ")
    if where.startswith("data."):
        where = ".".join(where.split(".")[:2]).partition("[")[0]
    return where + colon + what
