"""Serving one session's requests, in the order they arrive.

Something said is handed to the committer without waiting, so that a sender may have many under way; every other
request first waits until those are answered, and is then served alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from logging import DEBUG
from typing import Any, TypeAlias, assert_never

import trio

from chatkit.backend.records import Appended, Outcome, Page, Refused
from chatkit.engine import (
    Decision,
    Hash,
    Inspect,
    Joining,
    Proposal,
    ReadAudit,
    Reading,
    Refusal,
    Reply,
    Search,
    Verify,
)
from chatkit.engine.applying import OUT
from chatkit.engine.secrets import is_of_account
from chatkit.engine.state import Room
from chatkit.errors import ProtocolError, RequestFailed, StorageUnavailable, UsageError
from chatkit.protocol import accounts as acc
from chatkit.protocol import messages as m
from chatkit.protocol.codec import Ref
from chatkit.protocol.codes import ErrorCode
from chatkit.protocol.moderation import AuditPage
from chatkit.server.authenticator import authenticate
from chatkit.server.committer import Ticket
from chatkit.server.core import Core
from chatkit.server.extension import Extensions
from chatkit.server.history import END, read_anew, read_history
from chatkit.server.limits import SessionLimits
from chatkit.server.logbook import bind, log
from chatkit.server.replies import Slot
from chatkit.server.searching import audit_page, row_at, said_by
from chatkit.server.session import Session

Settled: TypeAlias = Refusal | Reply | Proposal | Joining | Reading | ReadAudit
ATTEMPTS = 5
"""How often a change is decided that meets changes of the same thing."""
UNKNOWN_OUTCOME = "the message may or may not be kept: repeat it with the same op"


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
        self._anew: Callable[[], Decision]
        """Decides the request that is served alone once more, from its last step on."""

    async def run(self) -> None:
        """Serve until the link ends. Raises `Disconnected`."""
        session = self._session
        try:
            with trio.move_on_after(self._core.config.login_timeout) as patience:
                await self._serve_all(until_login=True)
            if patience.cancelled_caught and not self._logged_in:
                session.end(4401, "not logged in in time", reconnect=True)
            await self._serve_all()
        finally:
            vars(self).pop("_anew", None)  # it knows this object: a connection is to go without the garbage collector

    async def _serve_all(self, *, until_login: bool = False) -> None:
        session = self._session
        receive, decode = session.connection.receive, session.codec.decode_request
        while session.closing is None and not (until_login and self._logged_in):
            await self._make_way()
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
                await self._say(request, ref, size)
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

    async def _say(self, request: m.SendMessage, ref: Ref, size: int) -> None:
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
        self._core.committer.submit(_Saying(decision, size, session, slot, request, self._core))
        if self._too_much_in_flight() or self._core.committer.full:
            await self._wait_capacity()

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
        decision = await self._work_out(request)
        match decision:
            case Refusal():
                self._refuse(request, decision, ref)
            case Reply():
                self._reply(request, decision, ref)
            case Proposal():
                await self._propose(request, decision, ref)
            case Joining():
                await self._join(decision, ref)
            case Reading():
                self._answer(session.success(await self._read(decision), ref), ref)
            case ReadAudit():
                self._answer(session.success(await self._read_audit(decision), ref), ref)
            case _:
                assert_never(decision)

    async def _work_out(self, request: m.Request[Any]) -> Settled:
        """Decide a request, however many steps that takes."""
        self._anew = partial(self._decide, request)
        decision = await self._vouched_for(request) or self._decide(request)
        while isinstance(decision, Verify | Hash | Inspect | Search):
            decision = await self._step(request, decision)
        return decision

    async def _vouched_for(self, request: m.Request[Any]) -> Decision | None:
        core, session = self._core, self._session
        if core.authenticator is None or not isinstance(request, m.Login) or self._logged_in:
            return None
        if request.token is not None and is_of_account(request.token):
            return None
        identity = await authenticate(core.authenticator, request, session.address)
        return None if identity is None else self._engine.identified(session.id, request, identity, core.moment())

    async def _step(self, request: Any, step: Verify | Hash | Inspect | Search) -> Decision:
        core, engine, id = self._core, self._engine, self._session.id
        try:
            match step:
                case Verify():
                    return await self._verify(request, step)
                case Hash(password):
                    await self._wait_turn(None)
                    hash = await core.passwords.hash(password)
                    self._anew = lambda: engine.hashed(id, request, hash, core.moment())
                    return self._anew()
                case Inspect(room_id, seq):
                    row = await row_at(core.backend.log, room_id, seq)
                    return engine.inspected(id, request, row, core.moment())
                case Search(room_id, author):
                    seqs, more = await said_by(core.backend.log, room_id, author)
                    return engine.found(id, request, seqs, more, core.moment())
        except KeyError:
            raise ProtocolError("the room has been deleted meanwhile", code=ErrorCode.NO_SUCH_ROOM) from None
        assert_never(step)

    async def _verify(self, request: m.Request[Any], asked: Verify) -> Decision:
        core, passwords = self._core, self._core.passwords
        await self._wait_turn(asked.key)
        with core.tries.under_way(self._session.address, asked.key) as one:
            right = one.right = await passwords.verify(asked.hash, asked.password)
        rehash = None
        if right and asked.hash is not None and passwords.outdated(asked.hash):
            rehash = await passwords.hash(asked.password)
        return self._engine.verified(self._session.id, request, asked, right, rehash, core.moment())

    async def _wait_turn(self, key: str | None) -> None:
        """Count one hash. Raises `RequestFailed` (``rate_limited``) if it is one too many, for the address or for the
        account ``key``."""
        wait = await self._core.tries.wait_turn(self._session.address, key)
        if wait is not None:
            log.warning("%r tries too many passwords, for %.64r", self._session, key or "", event="guessing")
            message = "too many passwords were tried: wait a little"
            raise RequestFailed(ErrorCode.RATE_LIMITED, message, retry_after=wait, scope="login")

    async def _propose(self, request: m.Request[Any], proposal: Proposal, ref: Ref) -> None:
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
            decision = self._anew()
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

    async def _make_way(self) -> None:
        """Do not answer a client faster than it reads: it would be the server's memory that fills."""
        if self._session.connection.waiting_bytes > self._core.config.transport.outlet_bytes:
            await self._session.connection.wait_drained()

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
        room = self._engine.rooms[joining.room_id]
        was_inside = self._is_inside(room)
        page, reset = await read_anew(room, lambda: self._page_for(joining))
        inside = self._is_inside(room)
        if was_inside and not inside:
            raise ProtocolError("you were sent out of the room meanwhile", code=ErrorCode.NOT_IN_ROOM)
        effects = self._engine.join(session.id, joining.room_id, core.moment())
        if isinstance(effects, Refusal):
            self._answer(session.failure(effects.code, effects.message, ref), ref)
            return
        # What is kept but not yet published will come live, in its turn.
        rows = [row for row in page.rows if row.seq <= room.head] if page else []
        entries = tuple(core.renderer.entry(row, room.name) for row in rows)
        reached = None if page is None else rows[-1].seq if rows else min(page.head, room.head)
        more_after = reached is not None and reached < room.head
        most = self._engine.limits.joined_members
        reply = m.Joined(
            **room.glance(),
            members=room.some_present(most),
            members_more=len(room.present) > most,
            events=entries,
            more_after=more_after,
            reset=reset,
        )
        self._answer(session.success(reply, ref), ref)
        if not inside or joining.after is not None:
            core.attach(session.id, room.id, reached, announce_caught_up=more_after)
        core.carry_out(effects)

    def _is_inside(self, room: Room) -> bool:
        state = self._engine.sessions.get(self._session.id)
        return state is not None and room.id in state.rooms

    async def _page_for(self, joining: Joining) -> tuple[Page | None, bool]:
        """Return the page a joining session asked for, and whether its position is not in the log: then the page
        begins with the oldest row that is kept."""
        read, most, after = self._core.backend.log.read, self._core.config.page_bytes, joining.after
        try:
            if after is not None:
                page = await read(joining.room_id, after=after, limit=500, max_bytes=most)
                if page.first - 1 <= after <= page.head:
                    return page, False
                return await read(joining.room_id, after=0, limit=500, max_bytes=most), True
            if joining.last:
                return await read(joining.room_id, before=END, limit=joining.last, max_bytes=most), False
        except KeyError:
            raise ProtocolError("the room has been deleted meanwhile", code=ErrorCode.NO_SUCH_ROOM) from None
        return None, False

    async def _read(self, reading: Reading) -> m.HistoryPage:
        room = self._engine.rooms[reading.room_id]
        try:
            log, most = self._core.backend.log, self._core.config.page_bytes
            found = await read_anew(room, lambda: read_history(log, reading, most))
        except KeyError:
            raise ProtocolError("the room has been deleted meanwhile", code=ErrorCode.NO_SUCH_ROOM) from None
        if not self._engine.may_read(self._session.id, room.id, self._core.moment()):
            raise ProtocolError("you are not in the room any more", code=ErrorCode.NOT_IN_ROOM)
        return m.HistoryPage(
            epoch=room.record.epoch,
            events=tuple(self._core.renderer.entry(row, room.name) for row in found.rows),
            more_before=found.more_before,
            more_after=found.more_after,
        )

    async def _read_audit(self, reading: ReadAudit) -> AuditPage:
        audit_log = self._engine.audit_log
        assert audit_log is not None
        log = self._core.backend.log
        page = await audit_page(log, audit_log, reading.room_id, reading.before, reading.limit)
        if not self._engine.may_see_audit(self._session.id, reading.room_id, self._core.moment()):
            raise ProtocolError("you may not see that any more", code=ErrorCode.FORBIDDEN)
        return page


def judge_again(core: Core, session: Session, request: m.Request[Any], proposal: Proposal) -> Refused | None:
    """Say whether a request that waits for its commit is unlawful by now: rights were taken away since it was made."""
    if session.closing is not None and session.closing[0] == OUT:
        return Refused(ErrorCode.FORBIDDEN, session.closing[1])
    refusal = core.engine.judge_again(session.id, request, proposal, core.moment(), session.state)
    return None if refusal is None else Refused(refusal.code, refusal.message)


def _without_words(error: ProtocolError) -> str:
    """Say what is wrong with a message without the peer's own words, which the log is not to have."""
    if error.code == ErrorCode.UNKNOWN_ACTION:
        return "unknown action"
    where, colon, what = error.message.rpartition(": ")
    if where.startswith("data."):
        where = ".".join(where.split(".")[:2]).partition("[")[0]
    return where + colon + what


class _Saying(Ticket):
    """A message on its way into the log, and the place of its reply."""

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
        session, ref = self._session, self._slot.ref
        session.in_flight_bytes -= self.size
        if isinstance(outcome, StorageUnavailable):
            self._slot.blob = session.failure(ErrorCode.STORAGE_UNAVAILABLE, UNKNOWN_OUTCOME, ref)
            return
        result = self._core.engine.conclude(session.id, self._request, outcome, self._core.moment())
        if isinstance(result, Refusal):
            self._slot.blob = session.failure(result.code, result.message, ref)
        else:
            # The reply carries the message's own time, so that its sender knows it as everybody else does.
            kept_at = outcome.row.time if isinstance(outcome, Appended) else None
            self._slot.blob = session.success(result.reply, ref, kept_at)

    def judge_again(self) -> Refused | None:
        return judge_again(self._core, self._session, self._request, self._proposal)

    def touches(self) -> tuple[str, ...]:
        return self._core.touched(self._session.id, self._request.room, self._proposal)

    def finish(self) -> None:
        self._session.flush_replies()
