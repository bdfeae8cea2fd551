"""The rules. No awaits, no clock, no bytes; time and randomness are arguments.

Laws:

1. `handle` never changes what is durable: it proposes. Durable state changes only in `apply`, with what was committed.
2. Presence (who is connected, who is in a room) is the engine's own and changes at once.
3. A request that is refused changes nothing.
4. Whoever is in a room may read it; ``users`` of a room is the number of distinct people in it.
5. What somebody may do is looked up in one table, when they ask and again when what they asked takes effect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias, TypeVarTuple, assert_never

from attrs import evolve

from chatkit.backend.records import Appended, Applied, CreateRoom, Fact, Outcome, Refused, Row, Snapshot
from chatkit.engine import accounts, audit, banning, login, membership, removing, rooms, talking
from chatkit.engine.applying import OUT, apply
from chatkit.engine.decisions import CloseSession, Decision, Effect, Proposal, Refusal, Reply, Verify
from chatkit.engine.limits import EngineLimits
from chatkit.engine.login import Entry, Identity
from chatkit.engine.refusal import No
from chatkit.engine.state import ADMIN, Moment, Room, SessionState, User
from chatkit.engine.world import AUDIT, World
from chatkit.errors import ProtocolError
from chatkit.protocol import accounts as acc
from chatkit.protocol import messages as m
from chatkit.protocol import moderation as mod
from chatkit.protocol.codes import ErrorCode
from chatkit.protocol.names import name_key

Rule: TypeAlias = Callable[[World, SessionState, Any, Moment], Decision]
RULES: Mapping[type[m.Request[Any]], Rule] = {
    m.Login: login.login,
    acc.Register: login.register,
    m.SendMessage: talking.send_message,
    m.History: talking.history,
    m.CreateRoom: rooms.create_room,
    m.JoinRoom: rooms.join_room,
    m.LeaveRoom: rooms.leave_room,
    m.DeleteRoom: rooms.delete_room,
    m.ListRooms: rooms.list_rooms,
    m.ListUsers: rooms.list_users,
    mod.UpdateRoom: rooms.update_room,
    m.Rename: accounts.rename,
    acc.ChangePassword: accounts.change_password,
    acc.Sessions: accounts.sessions,
    acc.Revoke: accounts.revoke,
    acc.CreateToken: accounts.create_token,
    acc.Logout: accounts.logout,
    mod.SetRole: membership.set_role,
    mod.Invite: membership.invite,
    mod.Withdraw: membership.withdraw,
    mod.Kick: banning.kick,
    mod.BanUser: banning.ban,
    mod.Unban: banning.unban,
    mod.ListBans: banning.list_bans,
    mod.Mute: banning.mute,
    mod.Unmute: banning.unmute,
    mod.DeleteMessage: removing.delete_message,
    mod.DeleteMessagesOf: removing.delete_messages_of,
    mod.Audit: audit.audit,
}
"""What decides each request."""
BEFORE_LOGIN = frozenset({m.Login, acc.Register})
ENDED = Refusal(ErrorCode.NOT_LOGGED_IN, "the session has ended")
Given = TypeVarTuple("Given")


class Engine:
    """The state of one chat server and the rules that change it.

    ``new_id`` and ``new_token`` supply randomness: a fresh unique id, a fresh secret.
    """

    def __init__(
        self, *, new_id: Callable[[], str], new_token: Callable[[], str], limits: EngineLimits | None = None
    ) -> None:
        self.limits = limits or EngineLimits()
        self.world = World(self.limits, new_id, new_token)

    @property
    def sessions(self) -> Mapping[int, SessionState]:
        """Everybody's links, by number."""
        return self.world.sessions

    @property
    def rooms(self) -> Mapping[str, Room]:
        """The rooms people can be in, by id."""
        return self.world.rooms

    @property
    def users(self) -> Mapping[str, User]:
        """Who is here, by the case-mapped name."""
        return self.world.users

    @property
    def audit_log(self) -> str | None:
        """The id of the log in which acts of moderation are kept."""
        return None if self.world.audit is None else self.world.audit.room_id

    # ── starting ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def load(self, snapshot: Snapshot) -> None:
        """Begin with what a backend keeps; forget what was loaded before."""
        self.world = World(self.limits, self.world.new_id, self.world.new_token)
        self.world.load(snapshot)

    def missing_rooms(self, now: int) -> list[CreateRoom]:
        """Return the changes that create the default rooms and the audit log, if they do not exist yet. ``now`` in
        milliseconds."""
        world = self.world
        missing = [
            CreateRoom(room=world.new_room(name, now, permanent=True))
            for name in self.limits.default_rooms
            if name_key(name) not in world.rooms_by_key
        ]
        if world.audit is None:
            record = world.new_room(AUDIT, now, key=AUDIT, private=True, permanent=True)
            missing.append(CreateRoom(room=record))
        return missing

    def ways(self) -> tuple[str, ...]:
        """Return the ways to come in: ``guest``, ``password``, ``token``, ``register`` or ``invitation``."""
        return login.ways(self.world)

    # ── sessions ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def open_session(self, session: int, address: str | None = None) -> None:
        """A link is there, from an IP address; it has to log in before anything else."""
        self.world.sessions[session] = SessionState(session, address)

    def close_session(self, session: int, now: float) -> list[Effect]:
        """A link is gone, with everything it was in. Closing one that is not open does nothing."""
        world = self.world
        state = world.sessions.pop(session, None)
        if state is None or state.user is None:
            return []
        effects: list[Effect] = []
        for room_id in sorted(state.rooms):
            effects += world.exit(state, world.rooms[room_id], now)
        user = state.user
        user.sessions.discard(session)
        if not user.sessions:
            world.drop_user(user)
        elif state.device:
            user.role = login.visible_role(world, user)
        return effects

    def user_of(self, session: int) -> User | None:
        """Return who a session belongs to, None before login and after its end."""
        state = self.world.sessions.get(session)
        return state.user if state else None

    def room_named(self, name: str) -> Room | None:
        """Return the room of that name, in whatever case; None if there is none."""
        return self.world.room_named(name)

    # ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def handle(self, session: int, request: m.Request[Any], now: Moment) -> Decision:
        """Decide a standard request of an open session."""
        state = self.world.sessions.get(session)
        return ENDED if state is None else self._ruled(self._decide, state, request, now)

    def _decide(self, state: SessionState, request: m.Request[Any], now: Moment) -> Decision:
        if state.user is None and type(request) not in BEFORE_LOGIN:
            raise No(ErrorCode.NOT_LOGGED_IN, "log in first")
        token = self.world.tokens.get(state.device) if state.device else None
        if token is not None and login.is_over(token, now.time):
            raise No(ErrorCode.NOT_LOGGED_IN, login.RUN_OUT)
        return RULES[type(request)](self.world, state, request, now)

    def _go_on(self, session: int, rule: Callable[[SessionState], Decision]) -> Decision:
        """Decide a request whose session may have ended since it was asked."""
        state = self.world.sessions.get(session)
        return ENDED if state is None else self._ruled(rule, state)

    def _ruled(self, rule: Callable[[*Given], Decision], *given: *Given) -> Decision:
        try:
            return rule(*given)
        except No as no:
            return no.refusal
        except ProtocolError as error:
            return Refusal(error.code, error.message)

    def verified(
        self, session: int, request: m.Request[Any], asked: Verify, right: bool, rehash: str | None, now: Moment
    ) -> Decision:
        """Go on after `Verify`. ``rehash`` is a new hash of the right password where the old one is dated."""
        world = self.world
        if isinstance(request, m.Login):
            entering = request
            return self._go_on(session, lambda state: login.verified(world, state, entering, asked, right, rehash, now))
        if isinstance(request, acc.ChangePassword):
            changing = request
            return self._go_on(
                session, lambda state: accounts.password_verified(world, state, changing, asked, right, now)
            )
        raise AssertionError(f"{request.action} asks for no password")

    def hashed(self, session: int, request: m.Request[Any], hash: str, now: Moment) -> Decision:
        """Go on after `Hash`."""
        world = self.world
        if isinstance(request, acc.Register):
            registering = request
            return self._go_on(session, lambda state: login.hashed(world, state, registering, hash, now))
        if isinstance(request, acc.ChangePassword):
            changing = request
            return self._go_on(session, lambda state: accounts.password_hashed(world, state, changing, hash, now))
        raise AssertionError(f"{request.action} makes no password")

    def identified(self, session: int, request: m.Login, identity: Identity, now: Moment) -> Decision:
        """Decide a login of somebody whom another system vouches for."""
        return self._go_on(session, lambda state: login.identified(self.world, state, request, identity, now))

    def inspected(self, session: int, request: mod.DeleteMessage, row: Row | None, now: Moment) -> Decision:
        """Go on after `Inspect`."""
        return self._go_on(session, lambda state: removing.inspected(self.world, state, request, row, now))

    def found(
        self, session: int, request: mod.DeleteMessagesOf, seqs: Iterable[int], more: bool, now: Moment
    ) -> Decision:
        """Go on after `Search`: these are the messages, and whether there are others."""
        return self._go_on(session, lambda state: removing.found(self.world, state, request, seqs, more, now))

    def require_login(self, session: int) -> User:
        """Return who asks. Raises `ProtocolError` (``not_logged_in``)."""
        user = self.user_of(session)
        if user is None:
            raise ProtocolError("log in first", code=ErrorCode.NOT_LOGGED_IN)
        return user

    def who_know(self, room: Room) -> list[int]:
        """Return the sessions of those who are in a private room or may enter it."""
        inside = {session for sessions in room.present.values() for session in sessions}
        members = (user for principal in room.members for user in self.world.here(principal))
        return sorted(inside.union(*(user.sessions for user in members)))

    def require_present(self, session: int, name: str) -> Room:
        """Return the room of that name if the session is in it. Raises `ProtocolError` (``not_logged_in``,
        ``no_such_room``, ``not_in_room``)."""
        self.require_login(session)
        try:
            return self.world.present_in(self.world.sessions[session], name)
        except No as no:
            raise ProtocolError(no.refusal.message, code=no.refusal.code) from None

    def require_speech(self, session: int, name: str, now: Moment) -> Room:
        """Return the room of that name if the session is in it and may speak there. Raises `ProtocolError`
        (``not_logged_in``, ``no_such_room``, ``not_in_room``, ``banned``, ``muted``, ``forbidden``)."""
        self.require_login(session)
        try:
            state = self.world.sessions[session]
            room = self.world.present_in(state, name)
            talking.check_may_speak(self.world, state, room, now)
        except No as no:
            raise ProtocolError(no.refusal.message, code=no.refusal.code) from None
        return room

    def may_read(self, session: int, room_id: str, now: Moment) -> bool:
        """Whether a session is in a room and may read it now."""
        state, room = self.world.sessions.get(session), self.world.rooms.get(room_id)
        return (
            state is not None
            and room is not None
            and room_id in state.rooms
            and self.world.may(state, room, "read", now.time)
        )

    def may_see_audit(self, session: int, room_id: str | None, now: Moment) -> bool:
        """Whether a session may still read what moderators did in a room, or on the server."""
        state, room = self.world.sessions.get(session), self.world.rooms.get(room_id or "")
        if state is None or state.user is None:
            return False
        return state.role == ADMIN or (room is not None and self.world.may(state, room, "see audit", now.time))

    def judge_again(
        self, session: int, request: m.Request[Any], proposal: Proposal, now: Moment, left: SessionState | None
    ) -> Refusal | None:
        """Say whether what was proposed for a request is refused by now: rights were taken away since. That a session
        has ended meanwhile is no reason: then it is looked at whose it was (``left``), and what they may now."""
        if isinstance(proposal.note, Entry) and login.is_outdated(self.world, proposal.note):
            return Refusal(ErrorCode.BAD_CREDENTIALS, login.WRONG)
        if isinstance(request, m.Login):
            return None  # who may not come in is kept out when it is concluded
        state = self.world.sessions.get(session)
        if state is None and left is not None and left.user is not None:
            state = self._as_now(left, left.user)
            out = self._kept_out(state, left.user, now)
            if out is not None or isinstance(request, m.SendMessage):
                return out or self._may_not(state, "speak", request, now)
        if state is None:
            return None
        if isinstance(request, m.SendMessage):
            try:
                self.require_speech(session, request.room or "", now)
            except ProtocolError as error:
                return Refusal(error.code, error.message)
            return None
        decision = self._ruled(self._decide, state, request, now)
        if isinstance(decision, Refusal):
            return decision
        return None if proposal.needs is None else self._may_not(state, proposal.needs, request, now)

    def _as_now(self, left: SessionState, user: User) -> SessionState:
        """Return what a session that has ended would be now: its account may have become less."""
        account, token = self.world.accounts.get(user.principal), self.world.tokens.get(left.device)
        role = left.role
        if account is not None:
            role = account.role if token is None else login.role_by(account, token)
        return evolve(left, user=user, role=role, rooms=set())

    def _kept_out(self, state: SessionState, user: User, now: Moment) -> Refusal | None:
        world = self.world
        account = world.accounts.get(user.principal)
        if state.role != ADMIN and world.server_ban(user.principal, user.key, state.address, now.time) is not None:
            return Refusal(ErrorCode.BANNED, "you are banned from this server")
        if account.disabled if account else user.principal.startswith(login.ACCOUNT):
            return Refusal(ErrorCode.FORBIDDEN, "this account is disabled")
        return None

    def _may_not(self, state: SessionState, act: str, request: Any, now: Moment) -> Refusal | None:
        """Return the refusal of an act in the room a request names, None if it is allowed or there is none."""
        room = self.room_named(request.room or "")
        if room is None:
            return None
        try:
            self.world.require(state, room, act, now.time)
        except No as no:
            return no.refusal
        return None

    def give_up(self, session: int, request: m.Request[Any]) -> None:
        """Keep nothing any more for what was proposed for a request: it is decided, or nobody knows how it ended."""
        if isinstance(request, m.CreateRoom):
            self.world.drop_room_claim(request.room, session)
        elif isinstance(request, mod.UpdateRoom) and request.name is not None:
            self.world.drop_room_claim(request.name, session)

    def conclude(
        self, session: int, request: m.Request[Any], outcome: Outcome, now: Moment, note: Any = None
    ) -> Reply | Refusal:
        """Answer a request whose proposal has been committed or refused, once the commit has been applied. ``note`` is
        the proposal's."""
        state = self.world.sessions.get(session)
        self.give_up(session, request)
        if isinstance(note, Entry) and isinstance(request, m.Login | acc.Register):
            if state is None:
                return ENDED
            return login.conclude(self.world, state, request, note, outcome, now)
        match outcome:
            case Refused(code, message):
                return Refusal(code, message)
            case Appended():
                return Reply(self.sent(outcome))
            case Applied():
                return self._concluded(state, request, note, now)
        assert_never(outcome)

    def sent(self, kept: Appended) -> m.Sent:
        """Answer something said, once it is kept."""
        room = self.world.rooms.get(kept.row.room_id)
        return m.Sent(room=room.name if room else "", epoch=kept.epoch, seq=kept.row.seq, duplicate=kept.duplicate)

    def _concluded(
        self, state: SessionState | None, request: m.Request[Any], note: Any, now: Moment
    ) -> Reply | Refusal:
        match request:
            case m.CreateRoom(room=name):
                return self._made(state, name, now)
            case mod.UpdateRoom(room=name):
                room = self.room_named(request.name or name)
                return _no_room(name) if room is None else Reply(room.summary())
            case m.Rename(user=name):
                return Reply(m.Renamed(user=state.user.name if state and state.user else name))
        return Reply(m.Nothing() if note is None else note)

    def _made(self, state: SessionState | None, name: str, now: Moment) -> Reply | Refusal:
        room = self.room_named(name)
        if room is None:
            return _no_room(name)
        may_enter = state is not None and state.user is not None and self.world.may(state, room, "enter", now.time)
        effects = self.world.enter(state, room, now.clock) if state is not None and may_enter else []
        return Reply(room.summary(), tuple(effects))

    def join(self, session: int, room_id: str, now: Moment) -> list[Effect] | Refusal:
        """Let a session in after `Joining`, now that its answer has been read. Does nothing if it is in already.

        The server attaches the session itself, from behind the last event of its answer.
        """
        return rooms.join(self.world, self.world.sessions.get(session), room_id, now)

    # ── committed changes ────────────────────────────────────────────────────────────────────────────────────────────

    def apply(self, item: Row | Fact, now: Moment) -> list[Effect]:
        """Take in one committed item of the feed."""
        return apply(self.world, item, now)

    def end_of(self, session: int) -> int | None:
        """Return when the login of a session runs out, in milliseconds since 1970; None if there is no such time."""
        state = self.world.sessions.get(session)
        token = self.world.tokens.get(state.device) if state is not None and state.device else None
        return None if token is None else token.expires_at

    def run_out_of(self, session: int, now: int) -> list[Effect]:
        """End a session if its login has run out; ``now`` in milliseconds."""
        end = self.end_of(session)
        return [] if end is None or end > now else [CloseSession(session, OUT, login.RUN_OUT)]

    def run_out(self, now: int) -> list[Fact]:
        """Return the changes that time asks for, some hundreds at most: what has run out goes, logins in use are
        refreshed. ``now`` in milliseconds."""
        return accounts.run_out(self.world, now)


def _no_room(name: str) -> Refusal:
    return Refusal(ErrorCode.NO_SUCH_ROOM, f"the room {name!r} has been deleted meanwhile")
