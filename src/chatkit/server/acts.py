"""What an operator can do to accounts, tokens and invitations, as rules: no store, no clock.

Laws: an act says what it changes, from what is there at that moment; one that changes nothing is none; whoever has
fewer rights than before keeps no session; a secret is made before and kept only as a hash.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

from attrs import evolve, frozen

from chatkit.backend.records import Account, Ban, Fact, Invitation, Put, Remove, RemoveMember, TokenRecord
from chatkit.engine.login import ACCOUNT
from chatkit.engine.refusal import No
from chatkit.engine.secrets import digest_of
from chatkit.engine.state import GUEST, RANKS
from chatkit.engine.world import World
from chatkit.errors import ProtocolError, RequestFailed, UsageError
from chatkit.protocol.codes import ErrorCode
from chatkit.protocol.names import check_name, name_key

OPERATOR = "#operator"
"""Who an operator is in the store; no name begins like this."""
ROLES = tuple(role for role in sorted(RANKS, key=lambda role: -RANKS[role]) if role != GUEST)
"""Roles an account can have on the server, the most first."""
DAY_MS = 86_400_000
LONGEST_DAYS = 36_500
LONGEST_LABEL = 128
MOST_USES = 1_000_000
T = TypeVar("T")
Rec = TypeVar("Rec", TokenRecord, Invitation)


@frozen(kw_only=True)
class Plan(Generic[T]):
    """What an act comes to: its result, what changes (nothing: it is so already), whom it is about, and what the audit
    log says of it besides."""

    result: T
    changes: Sequence[Fact]
    whom: Account | None = None
    details: Mapping[str, Any] = {}


@frozen
class Act(Generic[T]):
    """Something to do: its name in the audit log, and what it comes to in a world at a time, in milliseconds since
    1970. `plan` raises `RequestFailed` where it cannot be done, such as ``no_such_user`` with the nearest name."""

    name: str
    plan: Callable[[World, int], Plan[T]]


AccountAct: TypeAlias = Act[Account]


# ── accounts ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def account_named(world: World, name: str) -> Account:
    """Return the account of a name, in whatever case. Raises `RequestFailed` (``no_such_user``)."""
    accounts = world.accounts_by_key
    try:
        account = accounts.get(name_key(name))
    except ProtocolError:
        account = None
    if account is not None:
        return account
    near = difflib.get_close_matches(name.lower(), accounts, n=1)
    hint = f"; did you mean {accounts[near[0]].name!r}?" if near else "" if accounts else "; there is none at all"
    raise RequestFailed(ErrorCode.NO_SUCH_USER, f"no account {name!r}{hint}")


def check_new_name(world: World, name: str) -> str:
    """Return a name as an account would have it. Raises `UsageError` if it can be none, `RequestFailed`
    (``name_taken``) if an account has it, or one that looks like it."""
    try:
        shown = check_name(name)
        world.check_free(shown, name_key(shown), "")
    except ProtocolError as error:
        raise UsageError(error.message) from error
    except No as no:
        raise RequestFailed(no.refusal.code, no.refusal.message) from no
    return shown


def add_account(name: str, role: str, password: str | None) -> AccountAct:
    """Open an account. ``password`` is its hash; with None nobody logs in by password."""
    check_role(role)

    def plan(world: World, now: int) -> Plan[Account]:
        shown = check_new_name(world, name)
        id, key = ACCOUNT + world.new_id(), name_key(shown)
        account = Account(id=id, name=shown, key=key, password=password, role=role, created_at=now)
        return Plan(result=account, changes=[Put(record=account)], whom=account, details={"role": role})

    return Act("add_account", plan)


def set_password(name: str, password: str | None, *, keep_tokens: bool = False) -> AccountAct:
    """Give an account another password and log it out everywhere; ``keep_tokens`` leaves programs their tokens."""

    def plan(world: World, now: int) -> Plan[Account]:
        was = account_named(world, name)
        account = evolve(was, password=password)
        changes = [_put(account, was), *_logins(world, was, api=not keep_tokens)]
        return Plan(result=account, changes=changes, whom=account)

    return Act("reset_password", plan)


def set_server_role(name: str, role: str) -> AccountAct:
    """Give an account another role on the server. One that is less ends its sessions."""
    check_role(role)

    def plan(world: World, now: int) -> Plan[Account]:
        was = account_named(world, name)
        account = evolve(was, role=role)
        if account == was:
            return Plan(result=was, changes=())
        less = RANKS[role] < RANKS.get(was.role, 0)
        changes = [_put(account, was), *(_logins(world, was, api=False) if less else ())]
        return Plan(result=account, changes=changes, whom=account, details={"role": role, "was": was.role})

    return Act("set_server_role", plan)


def disable(name: str) -> AccountAct:
    """Let nobody log in to an account any more, end its sessions, and take its tokens away."""

    def plan(world: World, now: int) -> Plan[Account]:
        was = account_named(world, name)
        if was.disabled:
            return Plan(result=was, changes=())
        account = evolve(was, disabled=True)
        return Plan(result=account, changes=[_put(account, was), *_logins(world, was, api=True)], whom=account)

    return Act("disable_account", plan)


def enable(name: str) -> AccountAct:
    """Let an account in again that was disabled."""

    def plan(world: World, now: int) -> Plan[Account]:
        was = account_named(world, name)
        account = evolve(was, disabled=False)
        return Plan(result=account, changes=[_put(account, was)] if was.disabled else (), whom=account)

    return Act("enable_account", plan)


def remove(name: str) -> AccountAct:
    """Remove an account with its logins, its places in rooms and the bans on it. What it said stays; its name is
    free."""

    def plan(world: World, now: int) -> Plan[Account]:
        account = account_named(world, name)
        changes: list[Fact] = [Remove(record=account), *_logins(world, account, api=True)]
        changes += [
            RemoveMember(room_id=room.id, principal=account.id)
            for room in world.rooms.values()
            if account.id in room.members
        ]
        changes += [Remove(record=ban) for ban in bans_on(world, account)]
        return Plan(result=account, changes=changes, whom=account)

    return Act("remove_account", plan)


def bans_on(world: World, account: Account) -> Iterator[Ban]:
    """Give the bans and mutes of an account, on the server and in its rooms."""
    for bans in (world.bans, *(room.bans for room in world.rooms.values())):
        yield from (ban for ban in bans.values() if ban.kind == "account" and ban.value == account.id)


def _put(account: Account, was: Account) -> Fact:
    return Put(record=account, was=was)


def _logins(world: World, account: Account, *, api: bool) -> Iterator[Fact]:
    """Give what takes away an account's sessions, and with ``api`` its programs' tokens."""
    held = world.tokens_of.get(account.id, {}).values()
    return (Remove(record=token) for token in held if api or token.kind == "session")


# ── tokens and invitations ───────────────────────────────────────────────────────────────────────────────────────────


def create_token(
    name: str, secret: str, label: str, *, role: str | None = None, days: int | None = None
) -> Act[TokenRecord]:
    """Let a secret be a token with which a program logs in as an account. ``role`` can be less than the account's;
    after ``days`` it is worth nothing."""
    if len(label.encode()) > LONGEST_LABEL:
        raise UsageError(f"a label is at most {LONGEST_LABEL} bytes long")
    if role is not None:
        check_role(role)
    _check_days(days)

    def plan(world: World, now: int) -> Plan[TokenRecord]:
        account = account_named(world, name)
        if role is not None and RANKS[role] > RANKS.get(account.role, 0):
            why = f"{account.name} is {account.role}, and a token allows no more than its account"
            raise RequestFailed(ErrorCode.FORBIDDEN, f"{why}: chatkit user role {account.name} {role}")
        most = world.limits.sessions_per_account
        if len(world.tokens_of.get(account.id, {})) >= most:
            raise RequestFailed(ErrorCode.TOO_MANY, f"{account.name} has {most} logins and tokens: revoke one first")
        record = TokenRecord(
            id=world.new_id(),
            account_id=account.id,
            digest=digest_of(secret),
            kind="api",
            label=label,
            role=role or account.role,
            created_at=now,
            used_at=now,
            expires_at=_end(now, days),
        )
        details = {"label": label, "role": record.role}
        still_so = _put(account, account)
        return Plan(result=record, changes=[still_so, Put(record=record)], whom=account, details=details)

    return Act("create_token", plan)


def revoke(name: str, id: str) -> Act[TokenRecord]:
    """Take away a login or a token, by its id or the beginning of it."""

    def plan(world: World, now: int) -> Plan[TokenRecord]:
        account = account_named(world, name)
        held = list(world.tokens_of.get(account.id, {}).values())
        token = _one_of(held, id, f"{account.name} has no login or token")
        details = {"label": token.label, "kind": token.kind}
        return Plan(result=token, changes=[Remove(record=token)], whom=account, details=details)

    return Act("revoke_token", plan)


def invite(secret: str, role: str, *, uses: int = 1, days: int | None = None) -> Act[Invitation]:
    """Let a secret be a code with which so many people can open an account."""
    check_role(role)
    _check_days(days)
    if not 1 <= uses <= MOST_USES:
        raise UsageError(f"uses: expected 1 to {MOST_USES:,}, not {uses}")

    def plan(world: World, now: int) -> Plan[Invitation]:
        made = Invitation(
            id=world.new_id(),
            digest=digest_of(secret),
            by=OPERATOR,
            role=role,
            uses=uses,
            created_at=now,
            expires_at=_end(now, days),
        )
        return Plan(result=made, changes=[Put(record=made)], details={"role": role, "uses": uses})

    return Act("create_invitation", plan)


def withdraw(id: str) -> Act[Invitation]:
    """Take an invitation back, by its id or the beginning of it."""

    def plan(world: World, now: int) -> Plan[Invitation]:
        made = _one_of(list(world.invitations.values()), id, "there is no invitation")
        return Plan(result=made, changes=[Remove(record=made)], details={"role": made.role})

    return Act("withdraw_invitation", plan)


def check_role(role: str) -> None:
    """Raise `UsageError` if an account cannot have a role on the server."""
    if role not in ROLES:
        raise UsageError(f"there is no role {role!r}: {', '.join(ROLES[:-1])} or {ROLES[-1]}")


def _check_days(days: int | None) -> None:
    if days is not None and not 1 <= days <= LONGEST_DAYS:
        raise UsageError(f"days: expected 1 to {LONGEST_DAYS:,}, not {days}")


def _end(now: int, days: int | None) -> int | None:
    return None if days is None else now + days * DAY_MS


def _one_of(records: Sequence[Rec], id: str, none: str) -> Rec:
    found = [one for one in records if one.id == id] or [one for one in records if id and one.id.startswith(id)]
    if not found:
        raise RequestFailed(ErrorCode.NO_SUCH_USER, f"{none} {id!r}")
    if len(found) > 1:
        raise RequestFailed(ErrorCode.BAD_REQUEST, f"{len(found)} ids begin with {id!r}: give more of it")
    return found[0]
