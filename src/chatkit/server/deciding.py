"""Deciding one request, in as many steps as that takes: some ask for a look at a password, or into the log."""

from __future__ import annotations

from typing import Any, TypeAlias, assert_never

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
from chatkit.engine.secrets import is_of_account
from chatkit.errors import ProtocolError, RequestFailed
from chatkit.protocol import messages as m
from chatkit.protocol.codes import ErrorCode
from chatkit.server.authenticator import authenticate
from chatkit.server.core import Core
from chatkit.server.logbook import log
from chatkit.server.searching import row_at, said_by
from chatkit.server.session import Session

Settled: TypeAlias = Refusal | Reply | Proposal | Joining | Reading | ReadAudit


class Deciding:
    """One session's request, until it is decided."""

    def __init__(self, session: Session, core: Core, request: m.Request[Any]) -> None:
        self._request: Any = request
        self._session = session
        self._core = core
        self._engine = core.engine
        self._hash: str | None = None
        """Of the password that the request brings, once it is known."""

    async def settle(self, *, newcomer: bool) -> Settled:
        """Decide, however many steps that takes; a ``newcomer`` has not logged in yet. Raises `RequestFailed`,
        `ProtocolError`, `StorageUnavailable`."""
        vouched = await self._vouched_for() if newcomer else None
        decision = vouched or self.anew()
        while isinstance(decision, Verify | Hash | Inspect | Search):
            decision = await self._step(decision)
        return decision

    def anew(self) -> Decision:
        """Decide once more, from the last step on that takes long."""
        id, now = self._session.id, self._core.moment()
        if self._hash is None:
            return self._engine.handle(id, self._request, now)
        return self._engine.hashed(id, self._request, self._hash, now)

    async def _vouched_for(self) -> Decision | None:
        core, session, request = self._core, self._session, self._request
        if core.authenticator is None or not isinstance(request, m.Login):
            return None
        if request.token is not None and is_of_account(request.token):
            return None
        identity = await authenticate(core.authenticator, request, session.address)
        return None if identity is None else self._engine.identified(session.id, request, identity, core.moment())

    async def _step(self, step: Verify | Hash | Inspect | Search) -> Decision:
        core, engine, id, request = self._core, self._engine, self._session.id, self._request
        try:
            match step:
                case Verify():
                    return await self._verify(step)
                case Hash(password):
                    await self._wait_turn(None)
                    self._hash = await core.passwords.hash(password)
                    return self.anew()
                case Inspect(room_id, seq):
                    row = await row_at(core.backend.log, room_id, seq)
                    return engine.inspected(id, request, row, core.moment())
                case Search(room_id, author):
                    seqs, more = await said_by(core.backend.log, room_id, author)
                    return engine.found(id, request, seqs, more, core.moment())
        except KeyError:
            raise ProtocolError("the room has been deleted meanwhile", code=ErrorCode.NO_SUCH_ROOM) from None
        assert_never(step)

    async def _verify(self, asked: Verify) -> Decision:
        core, passwords = self._core, self._core.passwords
        await self._wait_turn(asked.key)
        with core.tries.under_way(self._session.address, asked.key) as one:
            right = one.right = await passwords.verify(asked.hash, asked.password)
        rehash = None
        if right and asked.hash is not None and passwords.outdated(asked.hash):
            rehash = await passwords.hash(asked.password)
        return self._engine.verified(self._session.id, self._request, asked, right, rehash, core.moment())

    async def _wait_turn(self, key: str | None) -> None:
        """Count one hash. Raises `RequestFailed` (``rate_limited``) if it is one too many, for the address or for the
        account ``key``."""
        wait = await self._core.tries.wait_turn(self._session.address, key)
        if wait is not None:
            log.warning("%r tries too many passwords, for %.64r", self._session, key or "", event="guessing")
            message = "too many passwords were tried: wait a little"
            raise RequestFailed(ErrorCode.RATE_LIMITED, message, retry_after=wait, scope="login")
