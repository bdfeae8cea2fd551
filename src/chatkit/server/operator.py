"""A store in the hands of its operator: who has an account, and acts on accounts, whether a server runs on it or not.

Laws: every act is kept together with its row in the audit log, or not at all; one that meets a change by somebody else
is worked out anew. A running server takes it in as it takes in its own, within a second.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

from attrs import frozen

from chatkit.backend import Backend, open_backend
from chatkit.backend.records import Account, Invitation, Refused, Together, TokenRecord
from chatkit.backend.sqlite import path_of
from chatkit.engine.audit import audit_row, entry_of
from chatkit.engine.engine import Engine
from chatkit.engine.limits import EngineLimits
from chatkit.engine.secrets import API, INVITATION
from chatkit.engine.world import AUDIT
from chatkit.errors import RequestFailed, StorageUnavailable, StorageUnreadable, UsageError
from chatkit.protocol.moderation import AuditEntry
from chatkit.server.acts import OPERATOR, Act, account_named, bans_on, check_new_name
from chatkit.server.config import system_time

SHOWN_AS = "(operator)"
TRIES = 10
"""Times an act is worked out anew, because somebody else changed what it is about."""
ID_BYTES = 16
SECRET_BYTES = 32
T = TypeVar("T")


@frozen(kw_only=True)
class Person:
    """An account with what hangs on it. ``rooms`` says which role it has where, ``banned`` where it is kept out or
    silent: a room's name, or None for the server."""

    account: Account
    tokens: tuple[TokenRecord, ...]
    rooms: Mapping[str, str]
    banned: tuple[str | None, ...]

    @property
    def used_at(self) -> int | None:
        """When one of its logins or tokens was last used, in milliseconds since 1970; None if there is none."""
        return max((token.used_at for token in self.tokens), default=None)


@asynccontextmanager
async def open_operator(
    store: str, *, make: bool = False, limits: EngineLimits | None = None, now_ms: Callable[[], int] = system_time
) -> AsyncIterator[Operator]:
    """Open a store for its operator. ``make`` lets a database that does not exist be made, by the first act that is to
    be kept; ``limits`` are those of the server.

    Raises `StorageUnreadable` if the store cannot be opened or does not exist, `UsageError` for a URL that names none,
    or one within a server's own process.
    """
    if not make and not is_there(store):
        raise StorageUnreadable(f"there is no store {store}: chatkit serve makes one, and so does chatkit user add")
    operator = Operator(store, limits, now_ms)
    try:
        await operator.reload()
        yield operator
    finally:
        await operator.aclose()


def is_there(store: str) -> bool:
    """Whether a store exists, as far as its URL tells. Raises `UsageError` for a path that is none."""
    return not store.startswith("sqlite:") or path_of(store).exists()


class Operator:
    """Who has an account in a store, and acts on it. What it tells is as of the last `reload` or `do`."""

    def __init__(self, store: str, limits: EngineLimits | None = None, now_ms: Callable[[], int] = system_time) -> None:
        self._store = store
        self._backend: Backend | None = None
        self._now_ms = now_ms
        self._engine = Engine(
            new_id=lambda: secrets.token_hex(ID_BYTES), new_token=lambda: secrets.token_hex(SECRET_BYTES), limits=limits
        )

    async def open(self) -> Backend:
        """Open the store, making it if it is not there, unless that is done. Raises as `open_operator`."""
        if self._backend is None:
            self._backend = await open_backend(self._store)
            if not self._backend.durable:
                raise UsageError(f"the store {self._store} is within a server's own process: nobody else can change it")
            await self.reload()
        return self._backend

    async def aclose(self) -> None:
        """Close the store."""
        if self._backend is not None:
            await self._backend.aclose()

    async def reload(self) -> None:
        """Look again at what the store holds. Raises `StorageUnavailable`."""
        if self._backend is not None:
            self._engine.load(await self._backend.directory.snapshot())
        elif is_there(self._store):
            await self.open()

    async def do(self, act: Act[T]) -> T:
        """Do something, and return what came of it once it is kept; see `chatkit.server.acts`.

        Raises `RequestFailed` where it cannot be done, `StorageUnavailable` where the store cannot keep it.
        """
        for _ in range(TRIES):
            now = self._now_ms()
            plan = act.plan(self._engine.world, now)
            if not plan.changes:
                return plan.result
            if self._backend is None:
                await self.open()
                continue  # somebody may have made it meanwhile
            row = audit_row(
                await self._audit_log(),
                author=OPERATOR,
                name=SHOWN_AS,
                time=now,
                act=act.name,
                whom=plan.whom.name if plan.whom else "",
                principal=plan.whom.id if plan.whom else "",
                details=plan.details,
            )
            (outcome,) = await self._backend.commit([Together((*plan.changes, row))])
            await self.reload()
            if not isinstance(outcome, Refused):
                return plan.result
            if outcome.code not in ("conflict", "name_taken", "no_such_room"):
                raise RequestFailed(outcome.code, outcome.message)
        raise StorageUnavailable("others change the same again and again: try once more in a moment")

    async def _audit_log(self) -> str:
        """Return the id of the audit log, which a store has from its first server, or its first act, on."""
        backend = await self.open()
        while self._engine.audit_log is None:
            missing = self._engine.missing_rooms(self._now_ms())
            await backend.commit([change for change in missing if change.room.key == AUDIT])
            await self.reload()
        return self._engine.audit_log

    def new_token(self) -> str:
        """Return a fresh secret for a program's token."""
        return API + self._engine.world.new_token()

    def new_invitation(self) -> str:
        """Return a fresh secret for an invitation."""
        return INVITATION + self._engine.world.new_token()

    # ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def check_new_name(self, name: str) -> str:
        """Return a name as an account would have it. Raises `UsageError` if it can be none, `RequestFailed`
        (``name_taken``) if an account has it, or one that looks like it."""
        return check_new_name(self._engine.world, name)

    def people(self) -> list[Person]:
        """Return everybody who has an account, by name."""
        return [self._person(one) for one in sorted(self._engine.world.accounts.values(), key=lambda one: one.key)]

    def person(self, name: str) -> Person:
        """Return who has the account of that name. Raises `RequestFailed` (``no_such_user``)."""
        return self._person(account_named(self._engine.world, name))

    def _person(self, account: Account) -> Person:
        world = self._engine.world
        tokens = world.tokens_of.get(account.id, {}).values()
        rooms = sorted(world.rooms.values(), key=lambda room: room.record.key)
        return Person(
            account=account,
            tokens=tuple(sorted(tokens, key=lambda one: (-one.used_at, one.id))),
            rooms={room.name: room.members[account.id] for room in rooms if account.id in room.members},
            banned=tuple(world.rooms[ban.room_id].name if ban.room_id else None for ban in bans_on(world, account)),
        )

    def invitations(self) -> list[Invitation]:
        """Return the invitations that are good, the newest first."""
        now = self._now_ms()
        good = (
            one for one in self._engine.world.invitations.values() if one.expires_at is None or one.expires_at > now
        )
        return sorted(good, key=lambda one: (-one.created_at, one.id))

    def admins(self) -> int:
        """Return how many accounts can log in as admin."""
        return sum(one.role == "admin" and not one.disabled for one in self._engine.world.accounts.values())

    async def audit(self, limit: int) -> list[AuditEntry]:
        """Return the latest acts of moderators and operators, the newest first. Raises `StorageUnavailable`."""
        log = self._engine.world.audit
        if log is None or self._backend is None:
            return []
        page = await self._backend.log.read(log.room_id, before=log.head + 1, limit=limit)
        return [entry_of(row) for row in reversed(page.rows)]
