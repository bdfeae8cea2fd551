"""Rules about one's own account: its name, its password, the devices it is logged in on, tokens for programs."""

from __future__ import annotations

from attrs import evolve

from chatkit.backend.records import Account, Fact, Put, Record, Remove, Together, TokenRecord
from chatkit.engine.decisions import NAMES, Decision, Hash, Proposal, Reply, TellEveryone, Verify
from chatkit.engine.login import WRONG, renewed
from chatkit.engine.refusal import No
from chatkit.engine.secrets import API, digest_of
from chatkit.engine.state import ADMIN, GUEST, RANKS, Moment, SessionState, User
from chatkit.engine.world import World, bans_on, known
from chatkit.protocol import accounts as acc
from chatkit.protocol import messages as m
from chatkit.protocol.codes import ErrorCode
from chatkit.protocol.names import check_name, name_key

REFRESHED = 3_600_000
"""Milliseconds after which the use of a login on a live link is noted anew, …"""
REFRESHED_PART = 4
"""… or, where logins live shorter, this part of their life."""
MOST_AT_ONCE = 500
"""Changes one look at what has run out proposes."""


def rename(world: World, state: SessionState, request: m.Rename, now: Moment) -> Decision:
    """Change one's name: a guest takes another, an account stays the same under a new one."""
    user = known(state.user)
    name = check_name(request.user, "name")
    key = name_key(name)
    if name == user.name:
        return Reply(m.Renamed(user=name))
    if world.users.get(key, user) is not user:
        raise No(ErrorCode.NAME_TAKEN, f"the name {name!r} is taken")
    world.check_free(name, key, user.principal, user.key)
    account = world.accounts.get(user.principal)
    _check_not_banned_as(world, state, user, key, now)
    if account is not None:
        return Proposal(Put(record=evolve(account, name=name, key=key), was=account), fence=(NAMES, account.id))
    was = user.name
    world.call_user(user, name, key)
    return Reply(m.Renamed(user=name), (TellEveryone(m.UserRenamed(user=name, was=was), but=state.id),))


def _check_not_banned_as(world: World, state: SessionState, user: User, key: str, now: Moment) -> None:
    """Nobody takes a name that is kept out of where they are."""
    if state.role == ADMIN:
        return
    if world.server_ban("", key, None, now.time) is not None:
        raise No(ErrorCode.BANNED, f"the name {key!r} is banned from this server")
    rooms = {room_id for session in user.sessions for room_id in world.sessions[session].rooms}
    for room in (world.rooms[room_id] for room_id in sorted(rooms)):
        if bans_on(room, "", key, now.time):
            raise No(ErrorCode.BANNED, f"the name {key!r} is banned or muted in {room.name!r}")


def _own(world: World, state: SessionState) -> Account:
    account = world.accounts.get(known(state.user).principal)
    if account is None:
        raise No(ErrorCode.FORBIDDEN, "a guest has no account")
    return account


def change_password(world: World, state: SessionState, request: acc.ChangePassword, now: Moment) -> Decision:
    """Change one's password, and log every other device out, or also what programs have tokens for."""
    account = _own(world, state)
    return Verify(account.key, account.password, request.password)


def password_verified(
    world: World, state: SessionState, request: acc.ChangePassword, asked: Verify, right: bool, now: Moment
) -> Decision:
    """Go on with `change_password`, now that the present one has been compared."""
    if not right or _own(world, state).password != asked.hash:
        raise No(ErrorCode.BAD_CREDENTIALS, WRONG)
    return Hash(request.new_password)


def password_hashed(world: World, state: SessionState, request: acc.ChangePassword, hash: str, now: Moment) -> Decision:
    """Decide `change_password`, now that the new one is hashed."""
    account = _own(world, state)
    changes: list[Fact] = [Put(record=evolve(account, password=hash), was=account)]
    held = world.tokens_of.get(account.id, {}).values() if request.revoke_tokens else _devices(world, account)
    changes += [Remove(record=token) for token in held if token.id != state.device]
    return Proposal(Together(tuple(changes)), fence=(account.id,))


def _is_program(world: World, state: SessionState) -> bool:
    token = world.tokens.get(state.device)
    return token is not None and token.kind == "api"


def _devices(world: World, account: Account) -> list[TokenRecord]:
    return [token for token in world.tokens_of.get(account.id, {}).values() if token.kind == "session"]


def sessions(world: World, state: SessionState, request: acc.Sessions, now: Moment) -> Decision:
    """List where one is logged in."""
    account = _own(world, state)
    user = known(state.user)
    online = {world.sessions[session].device for session in user.sessions}
    tokens = sorted(world.tokens_of.get(account.id, {}).values(), key=lambda token: (-token.used_at, token.id))
    devices = (
        acc.Device(
            id=token.id,
            label=token.label,
            created_at=token.created_at,
            used_at=token.used_at,
            expires_at=token.expires_at,
            api=token.kind == "api",
            online=token.id in online,
            current=token.id == state.device,
        )
        for token in tokens
    )
    return Reply(acc.Devices(sessions=tuple(devices)))


def revoke(world: World, state: SessionState, request: acc.Revoke, now: Moment) -> Decision:
    """Log a device out; without one, every device but this."""
    account = _own(world, state)
    if _is_program(world, state) and request.session != state.device:
        raise No(ErrorCode.FORBIDDEN, "a program's token logs out nobody but itself")
    held = world.tokens_of.get(account.id, {})
    if request.session is None:
        gone = [token for token in _devices(world, account) if token.id != state.device]
    elif request.session in held:
        gone = [held[request.session]]
    else:
        raise No(ErrorCode.BAD_REQUEST, "data.session: you are logged in nowhere under this id")
    if not gone:
        return Reply(m.Nothing())
    return Proposal(Together(tuple(Remove(record=token) for token in gone)), fence=(account.id,))


def logout(world: World, state: SessionState, request: acc.Logout, now: Moment) -> Decision:
    """Give up this login."""
    account = _own(world, state)
    token = world.tokens_of.get(account.id, {}).get(state.device)
    if token is None or token.kind == "api":
        raise No(ErrorCode.FORBIDDEN, "a program's token is given up with 'revoke'")
    return Proposal(Remove(record=token), fence=(account.id,))


def create_token(world: World, state: SessionState, request: acc.CreateToken, now: Moment) -> Decision:
    """Make a token for a program."""
    account = _own(world, state)
    if _is_program(world, state):
        raise No(ErrorCode.FORBIDDEN, "a program's token makes no others: whoever takes it away is to be rid of it")
    role = request.role
    if role is not None and (role not in RANKS or role == GUEST):
        raise No(ErrorCode.BAD_REQUEST, "data.role: expected 'bot', 'member' or 'admin'")
    if RANKS[role or account.role] > RANKS[state.role]:
        raise No(ErrorCode.FORBIDDEN, "nobody gives away more than they have")
    if len(world.tokens_of.get(account.id, {})) >= world.limits.sessions_per_account:
        raise No(ErrorCode.TOO_MANY, "you have as many logins and tokens as there may be: revoke one")
    secret = API + world.new_token()
    record = TokenRecord(
        id=world.new_id(),
        account_id=account.id,
        digest=digest_of(secret),
        kind="api",
        label=request.label,
        role=role or state.role,
        created_at=now.time,
        used_at=now.time,
        expires_at=None if request.seconds is None else now.time + request.seconds * 1000,
    )
    return Proposal(
        Together((_used(world, state, now), Put(record=record))), note=acc.ApiToken(id=record.id, token=secret)
    )


def _used(world: World, state: SessionState, now: Moment) -> Fact:
    """Return the change that notes a use of one's login. Whoever takes the login away meanwhile meets it, and looks
    again at what there is to take away."""
    login = world.tokens.get(state.device)
    if login is None:
        raise No(ErrorCode.NOT_LOGGED_IN, "you are logged out: log in again")
    return Put(record=evolve(login, used_at=max(now.time, login.used_at + 1)), was=login)


def run_out(world: World, now: int) -> list[Fact]:
    """Return the changes that time asks for: tokens, bans and invitations that have run out go, and logins that are in
    use are refreshed. ``now`` in milliseconds since 1970."""
    kept: list[Record] = [*world.tokens.values(), *world.invitations.values()]
    gone: list[Fact] = [Remove(record=one) for one in kept if _is_over(one.expires_at, now)]  # type: ignore[union-attr]
    bans = [*world.bans.values(), *(ban for room in world.rooms.values() for ban in room.bans.values())]
    gone += [Remove(record=ban) for ban in bans if _is_over(ban.until, now)]
    used = {state.device for state in world.sessions.values() if state.device}
    refreshed = min(REFRESHED, int(world.limits.session_life * 1000) // REFRESHED_PART)
    for id in sorted(used):
        token = world.tokens.get(id)
        if token is not None and now - token.used_at >= refreshed and not _is_over(token.expires_at, now):
            life = renewed(world, token, now) if token.kind == "session" else token.expires_at
            gone.append(Put(record=evolve(token, used_at=now, expires_at=life), was=token))
    return gone[:MOST_AT_ONCE]


def _is_over(end: int | None, now: int) -> bool:
    return end is not None and end <= now
