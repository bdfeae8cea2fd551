"""What the rules know: the committed state and who is connected, with the look-ups and the moves all rules share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from chatkit.backend.records import Account, Ban, Invitation, Record, RoomRecord, Snapshot, TokenRecord
from chatkit.engine.bans import against, in_force, strongest
from chatkit.engine.decisions import Attach, Changed, Detach, Effect, Tell, TellRoom
from chatkit.engine.limits import EngineLimits
from chatkit.engine.permissions import RoomMode, Standing, allowed
from chatkit.engine.refusal import No
from chatkit.engine.state import ADMIN, GUEST, MEMBER, STANDINGS, Room, SessionState, User
from chatkit.errors import ProtocolError
from chatkit.protocol import messages as m
from chatkit.protocol import moderation as mod
from chatkit.protocol.codes import ErrorCode
from chatkit.protocol.looks import looks
from chatkit.protocol.names import name_key
from chatkit.protocol.times import to_wire

AUDIT = "#audit"
"""The room whose log keeps what moderators did. No request can name it: no name begins like this."""
CLAIMED = 10.0
"""Seconds that a room's name is kept for whoever asked for it and went before the answer."""
MOST_CLAIMS = 1000
"""Claims from which on those that have run out are let go of."""


class Index:
    """Who holds a look: names that could be taken for each other meet here."""

    def __init__(self) -> None:
        self._holders: dict[str, dict[str, None]] = {}

    def add(self, name: str, holder: str) -> None:
        """Let a holder have a name."""
        for look in looks(name):
            self._holders.setdefault(look, {})[holder] = None

    def discard(self, name: str, holder: str) -> None:
        """Take a name from its holder."""
        for look in looks(name):
            holders = self._holders.get(look, {})
            holders.pop(holder, None)
            if not holders:
                self._holders.pop(look, None)

    def holders(self, name: str) -> set[str]:
        """Return whoever holds a name like this one."""
        return {found for look in looks(name) for found in self._holders.get(look, ())}

    def others(self, name: str, holder: str) -> bool:
        """Whether anybody else holds a name like this one."""
        return bool(self.holders(name) - {holder})


class World:
    """Everything that is committed, and everybody who is connected.

    ``new_id`` and ``new_token`` supply randomness: a fresh unique id, a fresh secret.
    """

    def __init__(self, limits: EngineLimits, new_id: Callable[[], str], new_token: Callable[[], str]) -> None:
        self.limits = limits
        self.new_id = new_id
        self.new_token = new_token
        self.sessions: dict[int, SessionState] = {}
        self.users: dict[str, User] = {}
        self.by_principal: dict[str, dict[User, None]] = {}
        self.rooms: dict[str, Room] = {}
        self.rooms_by_key: dict[str, Room] = {}
        self.rooms_by_epoch: dict[str, Room] = {}
        self.audit: RoomRecord | None = None
        self.accounts: dict[str, Account] = {}
        self.accounts_by_key: dict[str, Account] = {}
        self.tokens: dict[str, TokenRecord] = {}
        self.tokens_by_digest: dict[str, TokenRecord] = {}
        self.tokens_of: dict[str, dict[str, TokenRecord]] = {}
        self.attempts: dict[str, m.Attempt] = {}
        """The last login by each account's token, by the token's id, where the client numbers its logins. It outlives
        the session: a late one would make the token worthless that the client has by now."""
        self.bans: dict[str, Ban] = {}
        """The server's own; a room's are in the room."""
        self.invitations: dict[str, Invitation] = {}
        self.people_like = Index()
        """Names of accounts, held by their ids, and of guests who are here, held by the names' keys: one guest's token
        may stand for several names."""
        self.rooms_like = Index()
        self.room_claims: dict[str, tuple[int, float]] = {}
        """Looks of names that rooms are about to have: for which session, and until when on the clock."""
        self.guests_speak = limits.guests == "yes"

    # ── what is committed ────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def seal(self) -> str:
        """A secret that is kept and that nobody is told: the name of the audit log's epoch."""
        return "" if self.audit is None else self.audit.epoch

    def load(self, snapshot: Snapshot) -> None:
        """Begin with what a backend keeps, in a world that is new."""
        for record in snapshot.rooms:
            if record.key == AUDIT:
                self.audit = record
            else:
                self.add_room(record)
        for member in snapshot.members:
            if member.room_id in self.rooms:
                self.rooms[member.room_id].members[member.principal] = member.role
        for kept in snapshot.records:
            self.put(kept)

    def put(self, record: Record) -> None:
        """Take in a record, in place of the one with its id."""
        match record:
            case Account():
                self._drop_account(record.id)
                self.accounts[record.id] = self.accounts_by_key[record.key] = record
                self.people_like.add(record.name, record.id)
            case TokenRecord():
                self._drop_token(record.id)
                self.tokens[record.id] = record
                self.tokens_of.setdefault(record.account_id, {})[record.id] = record
                for digest in _digests(record):
                    self.tokens_by_digest[digest] = record
            case Ban(room_id=None):
                self.bans[record.id] = record
            case Ban(room_id=room_id):
                room = self.rooms.get(room_id or "")
                if room is not None:
                    room.put_ban(record)
            case Invitation():
                self.invitations[record.digest] = record

    def remove(self, record: Record) -> None:
        """Let go of a record."""
        match record:
            case Account():
                self._drop_account(record.id)
            case TokenRecord():
                self._drop_token(record.id)
                self.attempts.pop(record.id, None)
            case Ban(room_id=None):
                self.bans.pop(record.id, None)
            case Ban(room_id=room_id):
                room = self.rooms.get(room_id or "")
                if room is not None:
                    room.drop_ban(record.id)
            case Invitation():
                self.invitations.pop(record.digest, None)

    def _drop_account(self, id: str) -> None:
        known = self.accounts.pop(id, None)
        if known is not None:
            self.accounts_by_key.pop(known.key, None)
            self.people_like.discard(known.name, known.id)

    def _drop_token(self, id: str) -> None:
        known = self.tokens.pop(id, None)
        if known is not None:
            self.tokens_of[known.account_id].pop(id, None)
            if not self.tokens_of[known.account_id]:
                del self.tokens_of[known.account_id]
            for digest in _digests(known):
                if self.tokens_by_digest.get(digest) is known:
                    del self.tokens_by_digest[digest]

    def add_room(self, record: RoomRecord) -> Room:
        """Take in a room."""
        room = Room(record, head=record.head)
        self.rooms[record.room_id] = self.rooms_by_key[record.key] = self.rooms_by_epoch[record.epoch] = room
        self.rooms_like.add(record.name, record.room_id)
        return room

    def drop_room(self, room_id: str) -> Room | None:
        """Let go of a room; return what it was."""
        room = self.rooms.pop(room_id, None)
        if room is not None:
            del self.rooms_by_key[room.record.key]
            del self.rooms_by_epoch[room.record.epoch]
            self.rooms_like.discard(room.name, room_id)
        return room

    def update_room(self, room: Room, record: RoomRecord) -> None:
        """Let a room be as this says."""
        del self.rooms_by_key[room.record.key]
        self.rooms_like.discard(room.name, room.id)
        room.record = record
        self.rooms_by_key[record.key] = room
        self.rooms_like.add(record.name, room.id)

    def new_room(self, name: str, now: int, *, key: str | None = None, **more: Any) -> RoomRecord:
        """Return the record of a room to create; ``now`` in milliseconds."""
        return RoomRecord(
            room_id=self.new_id(), epoch=self.new_id(), name=name, key=key or name_key(name), created_at=now, **more
        )

    # ── people ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def here(self, principal: str) -> list[User]:
        """Return whoever is here with these rights: nobody, or one person; a guest's token may stand for two names."""
        return list(self.by_principal.get(principal, ()))

    def add_user(self, user: User) -> None:
        """Somebody is here."""
        self.users[user.key] = user
        self.by_principal.setdefault(user.principal, {})[user] = None
        if user.principal not in self.accounts:
            self.people_like.add(user.name, user.key)

    def drop_user(self, user: User) -> None:
        """Somebody is here no longer."""
        self.users.pop(user.key, None)
        known = self.by_principal.get(user.principal, {})
        known.pop(user, None)
        if not known:
            self.by_principal.pop(user.principal, None)
        if user.principal not in self.accounts:
            self.people_like.discard(user.name, user.key)

    def call_user(self, user: User, name: str, key: str) -> None:
        """Let somebody who is here have another name."""
        self.drop_user(user)
        user.name, user.key = name, key
        self.add_user(user)

    def check_free(self, name: str, key: str, principal: str, had: str = "") -> None:
        """Raise `No` (``name_taken``) if somebody else has this name, or one that looks like it. ``had`` is the key of
        the name that a guest gives up for it."""
        holder, account = self.users.get(key), self.accounts_by_key.get(key)
        if (holder is not None and holder.principal != principal) or (account is not None and account.id != principal):
            raise No(ErrorCode.NAME_TAKEN, f"the name {name!r} is taken")
        if self.people_like.others(name, principal if principal in self.accounts else had):
            raise No(ErrorCode.NAME_TAKEN, f"the name {name!r} looks like one that is taken")

    def server_ban(self, principal: str, key: str, address: str | None, now: int) -> Ban | None:
        """Return the ban that keeps somebody off the server; ``now`` in milliseconds."""
        return strongest(
            ban for ban in self.bans.values() if in_force(ban, now) and against(ban, principal, key, address)
        )

    # ── rooms ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def room_named(self, name: str) -> Room | None:
        """Return the room of that name, in whatever case; None if there is none."""
        room = self.rooms_by_key.get(name)  # the key of a key is itself
        if room is not None:
            return room
        try:
            return self.rooms_by_key.get(name_key(name))
        except ProtocolError:
            return None

    def claim_room_name(self, name: str, session: int, clock: float) -> None:
        """Keep a name for the room that is made or renamed by what a session proposes now: until that is committed
        nobody else is told that one like it is free. Raises `No` (``room_exists``)."""
        for look in looks(name):
            holder, until = self.room_claims.get(look, (session, 0.0))
            if holder != session and until > clock:
                raise No(ErrorCode.ROOM_EXISTS, f"the name {name!r} looks like that of a room that is being made")
        if len(self.room_claims) >= MOST_CLAIMS:
            self.room_claims = {look: claim for look, claim in self.room_claims.items() if claim[1] > clock}
        for look in looks(name):
            self.room_claims[look] = session, clock + CLAIMED

    def drop_room_claim(self, name: str, session: int) -> None:
        """What was proposed with this name is decided."""
        for look in looks(name):
            if self.room_claims.get(look, (None,))[0] == session:
                del self.room_claims[look]

    def standing(self, room: Room, principal: str, key: str, role: str, now: int) -> Standing:
        """Return what somebody is in a room; ``role`` on the server, ``now`` in milliseconds."""
        if role == ADMIN:
            return Standing.ADMIN
        own = room.members.get(principal)
        if room.record.private and own is None:
            return Standing.OUTSIDER
        bans = bans_on(room, principal, key, now)
        if any(not ban.mute for ban in bans):
            return Standing.BANNED
        standing = STANDINGS.get(own or MEMBER, Standing.MEMBER)
        if bans or (role == GUEST and not self.guests_speak and standing is Standing.MEMBER):
            return min(standing, Standing.READER)
        return standing

    def standing_of(self, state: SessionState, room: Room, now: int) -> Standing:
        """Return what the session's person is in a room."""
        user = known(state.user)
        return self.standing(room, user.principal, user.key, state.role, now)

    def may(self, state: SessionState, room: Room, act: str, now: int) -> bool:
        """Whether the session's person may do something in a room."""
        return allowed(act, self.standing_of(state, room, now), room.mode)

    def require(self, state: SessionState, room: Room, act: str, now: int) -> Standing:
        """Return what the session's person is in a room. Raises `No` if they may not do this: ``no_such_room`` where
        they may not know of it, ``banned``, ``muted``, ``forbidden``."""
        standing = self.standing_of(state, room, now)
        if not allowed(act, standing, room.mode):
            raise self.no(state, room, act, standing, now)
        return standing

    def no(self, state: SessionState, room: Room, act: str, standing: Standing, now: int) -> No:
        """Return the refusal of an act, with its reason."""
        if standing is Standing.OUTSIDER:
            return no_such_room(room.name)
        user = known(state.user)
        bans = bans_on(room, user.principal, user.key, now)
        ban = strongest(ban for ban in bans if ban.mute is (standing is not Standing.BANNED))
        if standing is Standing.BANNED and ban is not None:
            return No(ErrorCode.BANNED, f"you are banned from {room.name!r}{_why(ban)}")
        if act == "speak" and ban is not None:
            return No(ErrorCode.MUTED, f"you may not speak in {room.name!r}{_why(ban)}")
        if room.mode is RoomMode.CLOSED and act in ("enter", "read", "speak"):
            return No(ErrorCode.FORBIDDEN, f"the room {room.name!r} is closed")
        if act == "speak" and standing is Standing.READER:
            return No(ErrorCode.MUTED, "guests may only read on this server")
        if act == "speak":
            return No(ErrorCode.FORBIDDEN, f"only moderators speak in {room.name!r}")
        return No(ErrorCode.FORBIDDEN, f"you may not {act} in {room.name!r}")

    def visible(self, state: SessionState, name: str) -> Room:
        """Return the room of that name. Raises `No` (``no_such_room``) if the session may know of none."""
        room = self.room_named(name)
        if room is None or not (room.id in state.rooms or self.knows(state, room)):
            raise no_such_room(name)
        return room

    def knows(self, state: SessionState, room: Room) -> bool:
        """Whether the session may know that a room exists."""
        return not room.record.private or state.role == ADMIN or known(state.user).principal in room.members

    def present_in(self, state: SessionState, name: str) -> Room:
        """Return the room of that name, which the session is in. Raises `No` (``no_such_room``, ``not_in_room``)."""
        room = self.room_named(name)
        if room is None or room.id not in state.rooms:
            raise No(ErrorCode.NOT_IN_ROOM, f"you are not in {self.visible(state, name).name!r}")
        return room

    def check_one_more(self, state: SessionState) -> None:
        """Raise `No` (``too_many``) if the session is in as many rooms as it may."""
        most = self.limits.rooms_per_session
        if len(state.rooms) >= most:
            raise No(ErrorCode.TOO_MANY, f"you are in {most} rooms, and that is the most")

    def enter(
        self,
        state: SessionState,
        room: Room,
        now: float,
        *,
        after: int | None = None,
        announce_caught_up: bool = False,
    ) -> list[Effect]:
        """Let a session into a room."""
        user = known(state.user)
        effects: list[Effect] = [Attach(state.id, room.id, after, announce_caught_up)]
        state.rooms.add(room.id)
        sessions = room.present.get(user)
        if sessions is not None:
            sessions.add(state.id)
            return effects
        room.present[user] = {state.id}
        effects.append(Changed(room.id))
        if room.may_announce(now, self.limits.crowd, self.limits.notices_per_second):
            joined = m.UserJoined(room=room.name, user=user.name, users=len(room.present), role=room.info(user).role)
            effects.append(TellRoom(room.id, joined, but=state.id))
        return effects

    def exit(self, state: SessionState, room: Room, now: float) -> list[Effect]:
        """Take a session out of a room."""
        user = known(state.user)
        state.rooms.discard(room.id)
        effects: list[Effect] = [Detach(state.id, room.id)]
        sessions = room.present[user]
        sessions.discard(state.id)
        if sessions:
            return effects
        del room.present[user]
        effects.append(Changed(room.id))
        if room.may_announce(now, self.limits.crowd, self.limits.notices_per_second):
            left = m.UserLeft(room=room.name, user=user.name, users=len(room.present))
            effects.append(TellRoom(room.id, left))
        return effects

    def send_out(
        self, room: Room, user: User, now: float, *, by: str, reason: str, banned: bool = False
    ) -> list[Effect]:
        """Take a person out of a room with all their sessions, and tell them why."""
        effects: list[Effect] = []
        for session in sorted(room.present.get(user, ())):
            state = self.sessions[session]
            removed = mod.RemovedFromRoom(room=room.name, by=by, reason=reason, banned=banned)
            effects += [Tell(session, removed), *self.exit(state, room, now)]
        return effects


def bans_on(room: Room, principal: str, key: str, now: int) -> list[Ban]:
    """Return what keeps somebody out of a room, or silent there; ``now`` in milliseconds."""
    if not room.bans:
        return []
    found = room.bans_by_whom.get(("account", principal), {}), room.bans_by_whom.get(("name", key), {})
    return [ban for bans in found for ban in bans.values() if in_force(ban, now)]


def known(user: User | None) -> User:
    """Return who it is. Raises `No` (``not_logged_in``)."""
    if user is None:
        raise No(ErrorCode.NOT_LOGGED_IN, "log in first")
    return user


def no_such_room(name: str) -> No:
    """Return the refusal that says nothing of a room, whether it exists or not."""
    return No(ErrorCode.NO_SUCH_ROOM, f"there is no room {name[:64]!r}")


def _digests(token: TokenRecord) -> Iterable[str]:
    return (token.digest,) if token.previous is None else (token.digest, token.previous)


def _why(ban: Ban) -> str:
    until = "" if ban.until is None else f" until {to_wire(ban.until)}"
    return until + (f": {ban.reason}" if ban.reason else "")
