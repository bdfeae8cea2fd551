"""Rules about coming in: guests by name, accounts by password or token, and whoever another system vouches for.

Laws: a token alone decides who one is; a password is compared by the server, between `Verify` and `verified`; an
account that does not exist, has no password, or was given the wrong one is refused in the same words after the same
work; what was true before a commit is looked at again after it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

from attrs import evolve, field, frozen

from chatkit.backend.records import (
    Account,
    Applied,
    Fact,
    Invitation,
    Outcome,
    Put,
    Refused,
    Remove,
    Together,
    TokenRecord,
)
from chatkit.engine.banning import told_of_mute
from chatkit.engine.decisions import (
    NAMES,
    CloseSession,
    Decision,
    Effect,
    Hash,
    Proposal,
    Refusal,
    Reply,
    Tell,
    Verify,
)
from chatkit.engine.refusal import No
from chatkit.engine.secrets import (
    SESSION,
    author_in,
    digest_of,
    guest_token,
    is_of_account,
    is_of_guest,
    principal_of,
)
from chatkit.engine.state import GUEST, RANKS, Moment, SessionState, User
from chatkit.engine.world import World
from chatkit.protocol import accounts as acc
from chatkit.protocol import messages as m
from chatkit.protocol.codes import ErrorCode
from chatkit.protocol.names import check_name, name_key
from chatkit.protocol.times import to_wire

Entering: TypeAlias = m.Login | acc.Register
ACCOUNT = "@"
"""An account's id begins with this, which no name does: it is nobody's case-mapped name."""
VOUCHED_FOR = "@:"
"""The id of one that another system vouches for begins so; what follows is that system's."""
WRONG = "wrong name or password"
RUN_OUT = "this login has run out: log in again"


@frozen(kw_only=True)
class Identity:
    """Whom another system vouches for. ``id`` is stable there, ``name`` what they are called here, ``role`` one of
    ``member``, ``bot`` and ``admin``; at ``expires_at``, in milliseconds since 1970, they have to prove it again."""

    id: str
    name: str
    role: str = "member"
    expires_at: int | None = None


@frozen
class Entry:
    """A login under way: the account, the token's record and the secret that goes into the answer. ``password`` is the
    account's hash from then on, where it was the password that decided."""

    account: str
    token: str
    secret: str = field(repr=False)
    password: str | None = field(default=None, repr=False)


def ways(world: World) -> tuple[str, ...]:
    """Return the ways to come in, as ``hello`` tells them."""
    guests = () if world.limits.guests == "no" else ("guest",)
    register = {"open": ("register",), "invitation": ("invitation",), "closed": ()}[world.limits.registration]
    return (*guests, "password", "token", *register)


def login(world: World, state: SessionState, request: m.Login, now: Moment) -> Decision:
    """Say who one is."""
    _check_new(state)
    token = request.token
    if token is not None:
        record = world.tokens_by_digest.get(digest_of(token))
        if record is not None:
            return _by_token(world, state, request, record, token, now)
        if is_of_account(token) and request.password is None:
            raise No(ErrorCode.BAD_CREDENTIALS, "the token is not good any more: log in with the password")
    if request.password is not None:
        key = name_key(request.user)
        account = world.accounts_by_key.get(key)
        return Verify(key, account.password if account else None, request.password)
    return _as_guest(world, state, request, now)


def _check_new(state: SessionState) -> None:
    if state.user is not None:
        raise No(ErrorCode.ALREADY_LOGGED_IN, f"you are logged in as {state.user.name}")


# ── guests ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _as_guest(world: World, state: SessionState, request: m.Login, now: Moment) -> Decision:
    name = check_name(request.user, "name")
    key = name_key(name)
    if key in world.accounts_by_key:
        raise No(ErrorCode.BAD_CREDENTIALS, f"the name {name!r} belongs to an account: log in with its password")
    if world.limits.guests == "no":
        raise No(ErrorCode.BAD_CREDENTIALS, "this server lets nobody in without an account")
    token = (
        request.token
        if request.token and is_of_guest(request.token)
        else guest_token(world.new_token(), key, world.seal)
    )
    principal = principal_of(token)
    _check_not_banned(world, state, principal, key, now)
    user = world.users.get(key)
    replaced: tuple[int, ...] = ()
    if user is None:
        world.check_free(name, key, principal)
        author = author_in(token, world.seal) or key
        user = User(principal, author=author, name=name, key=key, role=GUEST)
        world.add_user(user)
    elif user.principal == principal:
        replaced = tuple(sorted(user.sessions))
        _check_latest(request.attempt, (world.sessions[session].attempt for session in replaced))
    else:
        raise No(ErrorCode.NAME_TAKEN, f"the name {name!r} is taken")
    return _come_in(world, state, request, user, token, replaced, now)


def _check_not_banned(world: World, state: SessionState, principal: str, key: str, now: Moment) -> None:
    ban = world.server_ban(principal, key, state.address, now.time)
    if ban is not None:
        until = "" if ban.until is None else f" until {to_wire(ban.until)}"
        why = f": {ban.reason}" if ban.reason else ""
        raise No(ErrorCode.BANNED, f"you are banned from this server{until}{why}")


# ── accounts ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _check_account(world: World, state: SessionState, account: Account, now: Moment) -> None:
    if account.disabled:
        raise No(ErrorCode.FORBIDDEN, "this account is disabled")
    if account.role != "admin":
        _check_not_banned(world, state, account.id, account.key, now)


def _by_token(
    world: World, state: SessionState, request: m.Login, record: TokenRecord, token: str, now: Moment
) -> Decision:
    account = world.accounts.get(record.account_id)
    if account is None or is_over(record, now.time):
        raise No(ErrorCode.BAD_CREDENTIALS, "the token is not good any more: log in with the password")
    _check_account(world, state, account, now)
    if record.kind == "api":
        return _account_in(world, state, request, account, record, token, now)
    _check_latest(request.attempt, [world.attempts.get(record.id)])
    if request.attempt is not None:
        world.attempts[record.id] = request.attempt
    secret = SESSION + world.new_token()
    fresh = evolve(
        record,
        digest=digest_of(secret),
        previous=digest_of(token),
        label=request.device or record.label,
        used_at=now.time,
        expires_at=renewed(world, record, now.time),
    )
    return Proposal(Put(record=fresh, was=record), note=Entry(account.id, record.id, secret))


def _check_latest(attempt: m.Attempt | None, others: Iterable[m.Attempt | None]) -> None:
    """Raise `No` (``forbidden``) if the same client has logged in on a later link: this one is abandoned, and what it
    says was under way for long. Only a client's own numbers are compared, so that nobody else can bar it."""
    for other in others:
        if attempt and other and attempt.client == other.client and attempt.number < other.number:
            raise No(ErrorCode.FORBIDDEN, "a later link of yours has logged in already")


def is_over(record: TokenRecord, now: int) -> bool:
    """Whether a login or token has run out; ``now`` in milliseconds."""
    return record.expires_at is not None and record.expires_at <= now


def renewed(world: World, record: TokenRecord, now: int) -> int | None:
    """Return when a login that is used now will be forgotten; one that another system bounds keeps its end."""
    if record.bounded:
        return record.expires_at
    return now + int(world.limits.session_life * 1000)


def verified(
    world: World, state: SessionState, request: m.Login, asked: Verify, right: bool, rehash: str | None, now: Moment
) -> Decision:
    """Decide `login`, now that the password has been compared. ``rehash`` is a new hash of it, if the old is dated."""
    _check_new(state)
    account = world.accounts_by_key.get(asked.key)
    if not right or account is None or account.password is None or account.password != asked.hash:
        raise No(ErrorCode.BAD_CREDENTIALS, WRONG)
    _check_account(world, state, account, now)
    changes: list[Fact] = []
    if rehash is not None:
        changes.append(Put(record=evolve(account, password=rehash), was=account))
    return _new_device(world, account, changes, request.device, None, now, password=rehash or account.password)


def _new_device(
    world: World,
    account: Account,
    changes: list[Fact],
    device: str | None,
    expires_at: int | None,
    now: Moment,
    *,
    password: str | None = None,
) -> Proposal:
    secret = SESSION + world.new_token()
    life = now.time + int(world.limits.session_life * 1000)
    record = TokenRecord(
        id=world.new_id(),
        account_id=account.id,
        digest=digest_of(secret),
        label=device or "",
        created_at=now.time,
        used_at=now.time,
        expires_at=life if expires_at is None else expires_at,
        bounded=expires_at is not None,
    )
    changes += [Remove(record=old) for old in _making_room(world, account)]
    changes.append(Put(record=record))
    return Proposal(Together(tuple(changes)), note=Entry(account.id, record.id, secret, password))


def _making_room(world: World, account: Account) -> list[TokenRecord]:
    held = world.tokens_of.get(account.id, {})
    over = len(held) + 1 - world.limits.sessions_per_account
    sessions = sorted((one for one in held.values() if one.kind == "session"), key=lambda one: one.used_at)
    return sessions[: max(0, over)]


# ── registering ──────────────────────────────────────────────────────────────────────────────────────────────────────


def register(world: World, state: SessionState, request: acc.Register, now: Moment) -> Decision:
    """Open an account."""
    _check_new(state)
    _new_name(world, state, request, now)
    return Hash(request.password)


def _new_name(world: World, state: SessionState, request: acc.Register, now: Moment) -> tuple[str, Invitation | None]:
    name = check_name(request.user, "name")
    invitation = _invitation(world, request.invitation, now)
    if invitation is None and world.limits.registration != "open":
        by = "by invitation only" if world.limits.registration == "invitation" else "closed"
        raise No(ErrorCode.FORBIDDEN, f"registration is {by}")
    _check_not_banned(world, state, "", name_key(name), now)
    world.check_free(name, name_key(name), "")
    return name, invitation


def _invitation(world: World, secret: str | None, now: Moment) -> Invitation | None:
    if secret is None:
        return None
    invitation = world.invitations.get(digest_of(secret))
    if invitation is None or (invitation.expires_at is not None and invitation.expires_at <= now.time):
        raise No(ErrorCode.FORBIDDEN, "the invitation is not good, or not any more")
    return invitation


def hashed(world: World, state: SessionState, request: acc.Register, hash: str, now: Moment) -> Decision:
    """Decide `register`, now that the password is hashed."""
    _check_new(state)
    name, invitation = _new_name(world, state, request, now)
    account = Account(
        id=ACCOUNT + world.new_id(),
        name=name,
        key=name_key(name),
        password=hash,
        role=invitation.role if invitation else "member",
        created_at=now.time,
    )
    changes: list[Fact] = [Put(record=account)]
    if invitation is not None:
        used = invitation.uses - 1
        changes.append(
            Put(record=evolve(invitation, uses=used), was=invitation) if used > 0 else Remove(record=invitation)
        )
    return evolve(_new_device(world, account, changes, request.device, None, now), fence=(NAMES,))


# ── vouched for ──────────────────────────────────────────────────────────────────────────────────────────────────────


def identified(world: World, state: SessionState, request: m.Login, identity: Identity, now: Moment) -> Decision:
    """Decide a login that another system vouches for: an account that has no password here, made when it first comes
    and kept as that system says."""
    _check_new(state)
    if identity.role not in RANKS or identity.role == GUEST:
        raise No(ErrorCode.FORBIDDEN, f"there is no role {identity.role!r}")
    name = check_name(identity.name, "name")
    id = f"{VOUCHED_FOR}{identity.id}"
    was = world.accounts.get(id)
    world.check_free(name, name_key(name), id)
    account = Account(id=id, name=name, key=name_key(name), role=identity.role, created_at=now.time)
    if was is not None:
        account = evolve(was, name=name, key=name_key(name), role=identity.role)
    _check_account(world, state, account, now)
    changes: list[Fact] = [] if account == was else [Put(record=account, was=was)]
    fence = (NAMES, account.id) if changes else ()
    return evolve(_new_device(world, account, changes, request.device, identity.expires_at, now), fence=fence)


# ── in ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def conclude(
    world: World, state: SessionState, request: Entering, entry: Entry, outcome: Outcome, now: Moment
) -> Reply | Refusal:
    """Let an account in, now that its token is kept."""
    match outcome:
        case Refused("conflict", _):
            again = "two logins with the same token met: try again"
            return Refusal(ErrorCode.RATE_LIMITED, again, retry_after=0.1, scope="login")
        case Refused("name_taken", _):
            return Refusal(ErrorCode.NAME_TAKEN, f"the name {request.user!r} is taken")
        case Refused(code, message):
            return Refusal(code, message)
        case Applied():
            pass
    account, record = world.accounts.get(entry.account), world.tokens.get(entry.token)
    if account is None or record is None or is_outdated(world, entry):
        return Refusal(ErrorCode.BAD_CREDENTIALS, "the token is not good any more: log in with the password")
    try:
        _check_new(state)
        _check_account(world, state, account, now)
        return _account_in(world, state, request, account, record, entry.secret, now)
    except No as no:
        return no.refusal


def is_outdated(world: World, entry: Entry) -> bool:
    """Whether the password that decided a login is another by now."""
    account = world.accounts.get(entry.account)
    return entry.password is not None and (account is None or account.password != entry.password)


def _account_in(
    world: World, state: SessionState, request: Entering, account: Account, record: TokenRecord, token: str, now: Moment
) -> Reply:
    user = world.users.get(account.key)
    if user is not None and user.principal != account.id:
        raise No(ErrorCode.NAME_TAKEN, f"a guest uses the name {account.name!r} right now: try again in a moment")
    if user is None:
        user = User(account.id, author=account.id, name=account.name, key=account.key, role=account.role)
        world.add_user(user)
    replaced = tuple(
        session
        for session in sorted(user.sessions)
        if record.kind == "session" and world.sessions[session].device == record.id
    )
    state.device = record.id
    state.role = role_by(account, record)
    reply = _come_in(world, state, request, user, token, replaced, now)
    user.role = visible_role(world, user)
    return evolve(reply, reply=evolve(reply.reply, role=state.role))


def role_by(account: Account, record: TokenRecord) -> str:
    """Return what a login by this token may on the server: no more than its account."""
    return min((account.role, record.role or account.role), key=lambda role: RANKS.get(role, 0))


def visible_role(world: World, user: User) -> str:
    """Return the role others see: that of the strongest of somebody's sessions."""
    return max((world.sessions[session].role for session in user.sessions), key=lambda role: RANKS.get(role, 0))


def _come_in(
    world: World,
    state: SessionState,
    request: Entering,
    user: User,
    token: str,
    replaced: tuple[int, ...],
    now: Moment,
) -> Reply:
    state.user = user
    user.sessions.add(state.id)
    state.attempt = request.attempt if isinstance(request, m.Login) else None
    resumed, effects = _enter_rooms(world, state, request, now)
    effects += [CloseSession(old, 4409, "replaced by your newer link") for old in replaced]
    for room_id in sorted(state.rooms):
        effects += told_of_mute(world, state, world.rooms[room_id], now.time)
    effects.append(Tell(state.id, m.System(text=f"Welcome, {user.name}.")))
    rooms = tuple(world.rooms[room_id].summary() for room_id in sorted(state.rooms))
    return Reply(m.LoggedIn(user=user.name, role=user.role, token=token, rooms=rooms, resume=resumed), tuple(effects))


def _enter_rooms(
    world: World, state: SessionState, request: Entering, now: Moment
) -> tuple[dict[str, Any] | None, list[Effect]]:
    effects: list[Effect] = []
    resume = request.resume if isinstance(request, m.Login) else None
    if resume is None:
        for name in world.limits.default_rooms:
            default = world.rooms_by_key[name_key(name)]
            if world.may(state, default, "enter", now.time):
                effects += world.enter(state, default, now.clock)
        return None, effects
    answers: dict[str, Any] = {}
    for name, position in list(resume.items())[: world.limits.rooms_per_session]:
        room = world.rooms_by_epoch.get(position.epoch) or world.room_named(name)
        if room is None or room.id in state.rooms or not world.knows(state, room):
            continue
        if not world.may(state, room, "enter", now.time):
            continue
        record = room.record
        fits = position.epoch == record.epoch and record.first - 1 <= position.seq <= room.head
        answers[name] = "ok" if fits else "reset"
        after = position.seq if fits else None
        effects += world.enter(state, room, now.clock, after=after, announce_caught_up=True)
    return answers, effects
