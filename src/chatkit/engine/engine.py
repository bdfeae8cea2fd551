"""The rules. No awaits, no clock, no bytes; time and randomness are arguments.

Laws:

1. `handle` never changes what is durable: it proposes. Durable state changes only in `apply`, with what was committed.
2. Presence (who is connected, who is in a room) is the engine's own and changes at once.
3. A request that is refused changes nothing.
4. Whoever is in a room may read it; ``users`` of a room is the number of distinct people in it.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable
from typing import Any, assert_never

from attrs import evolve, frozen

from chatkit.backend.records import (
    Append,
    Appended,
    Applied,
    CreateRoom,
    DeleteRoom,
    Fact,
    Member,
    Outcome,
    Put,
    PutMember,
    Redact,
    Refused,
    Remove,
    RemoveMember,
    RoomRecord,
    Row,
    Snapshot,
    Trim,
    UpdateRoom,
)
from chatkit.engine.decisions import (
    Attach,
    Changed,
    CloseSession,
    Decision,
    Detach,
    Effect,
    Joining,
    Proposal,
    Reading,
    Refusal,
    Reply,
    Tell,
    TellEveryone,
    TellRoom,
)
from chatkit.engine.state import Room, SessionState, User
from chatkit.errors import ProtocolError
from chatkit.protocol import messages as m
from chatkit.protocol.codes import ErrorCode
from chatkit.protocol.names import check_name, name_key
from chatkit.protocol.times import from_wire

GUEST = "guest"
OWNER = "owner"
MESSAGE = "message"
"""The kind of a log row that is something said."""


@frozen(kw_only=True)
class EngineLimits:
    """Bounds of the rules, each with its reason."""

    default_rooms: tuple[str, ...] = ("general",)
    """Where everybody starts; permanent."""
    joined_members: int = 500
    """Members in the answer to a join: a crowd is paged by ``list_users``."""
    crowd: int = 500
    """In a room with more people, comings and goings are told as counts only."""
    notices_per_second: int = 20
    """More comings and goings than this in one room are told as counts only."""
    page: int = 500
    """Rooms or people in one page of a list, if the request names no limit."""
    topic_bytes: int = 512
    """A room's topic."""
    rooms_per_session: int = 1000
    """Rooms one session may be in at a time."""


@frozen
class Moment:
    """When something is asked: the ``time`` of day in milliseconds since 1970, which the log keeps, and the ``clock``
    in seconds, which never jumps. Every other ``now`` of the engine is the latter."""

    time: int
    clock: float


class _No(Exception):
    """A refusal on its way out of a handler."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        self.refusal = Refusal(code, message)


class Engine:
    """The state of one chat server and the rules that change it.

    ``new_id`` and ``new_token`` supply randomness: a fresh unique id, a fresh secret.
    """

    def __init__(
        self, *, new_id: Callable[[], str], new_token: Callable[[], str], limits: EngineLimits | None = None
    ) -> None:
        self.limits = limits or EngineLimits()
        self.sessions: dict[int, SessionState] = {}
        self.rooms: dict[str, Room] = {}
        self.users: dict[str, User] = {}
        self._rooms_by_key: dict[str, Room] = {}
        self._new_id = new_id
        self._new_token = new_token
        self._handlers: dict[type[m.Request[Any]], Callable[[SessionState, Any, Moment], Decision]] = {
            m.CreateRoom: self._create_room,
            m.JoinRoom: self._join_room,
            m.LeaveRoom: self._leave_room,
            m.DeleteRoom: self._delete_room,
            m.ListRooms: self._list_rooms,
            m.ListUsers: self._list_users,
            m.Rename: self._rename,
            m.SendMessage: self._send_message,
            m.History: self._history,
        }

    # ── starting ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def load(self, snapshot: Snapshot) -> None:
        """Begin with what a backend keeps; forget what was loaded before."""
        self.rooms.clear()
        self._rooms_by_key.clear()
        for record in snapshot.rooms:
            self._add_room(record)
        for member in snapshot.members:
            self.rooms[member.room_id].members[member.principal] = member.role

    def missing_rooms(self, now: int) -> list[CreateRoom]:
        """Return the changes that create the default rooms which do not exist yet. ``now`` in milliseconds."""
        return [
            CreateRoom(room=self._record(name, now, permanent=True))
            for name in self.limits.default_rooms
            if name_key(name) not in self._rooms_by_key
        ]

    # ── sessions ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def open_session(self, session: int) -> None:
        """A link is there; it has to log in before anything else."""
        self.sessions[session] = SessionState(session)

    def close_session(self, session: int, now: float) -> list[Effect]:
        """A link is gone, with everything it was in. Closing one that is not open does nothing."""
        state = self.sessions.pop(session, None)
        if state is None or state.user is None:
            return []
        effects: list[Effect] = []
        for room_id in sorted(state.rooms):
            effects += self._exit(state, self.rooms[room_id], now)
        user = state.user
        user.sessions.discard(session)
        if not user.sessions:
            del self.users[user.key]
        return effects

    def user_of(self, session: int) -> User | None:
        """Return who a session belongs to, None before login and after its end."""
        state = self.sessions.get(session)
        return state.user if state else None

    def room_named(self, name: str) -> Room | None:
        """Return the room of that name, in whatever case; None if there is none."""
        try:
            return self._rooms_by_key.get(name_key(name))
        except ProtocolError:
            return None

    # ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def handle(self, session: int, request: m.Request[Any], now: Moment) -> Decision:
        """Decide a standard request of an open session."""
        state = self.sessions[session]
        try:
            if isinstance(request, m.Login):
                return self._login(state, request, now)
            self.require_login(session)
            return self._handlers[type(request)](state, request, now)
        except _No as no:
            return no.refusal
        except ProtocolError as error:
            return Refusal(error.code, error.message)

    def require_login(self, session: int) -> User:
        """Return who asks. Raises `ProtocolError` (``not_logged_in``)."""
        user = self.user_of(session)
        if user is None:
            raise ProtocolError("log in first", code=ErrorCode.NOT_LOGGED_IN)
        return user

    def require_present(self, session: int, name: str) -> Room:
        """Return the room of that name if the session is in it. Raises `ProtocolError` (``no_such_room``,
        ``not_in_room``)."""
        try:
            return self._present_in(self.sessions[session], name)
        except _No as no:
            raise ProtocolError(no.refusal.message, code=no.refusal.code) from None

    def conclude(self, session: int, request: m.Request[Any], outcome: Outcome, now: float) -> Reply | Refusal:
        """Answer a request whose proposal has been committed or refused, once the commit has been applied."""
        match outcome:
            case Refused(code, message):
                return Refusal(code, message)
            case Appended(row, epoch, duplicate):
                room = self.rooms.get(row.room_id)
                name = room.name if room else ""
                return Reply(m.Sent(room=name, epoch=epoch, seq=row.seq, duplicate=duplicate))
            case Applied():
                return self._concluded(session, request, now)
        assert_never(outcome)

    def _concluded(self, session: int, request: m.Request[Any], now: float) -> Reply | Refusal:
        if not isinstance(request, m.CreateRoom):
            return Reply(m.Nothing())
        room, state = self.room_named(request.room), self.sessions.get(session)
        if room is None:
            return Refusal(ErrorCode.NO_SUCH_ROOM, f"the room {request.room!r} has been deleted meanwhile")
        effects = self._enter(state, room, now) if state and state.user else []
        return Reply(room.summary(), tuple(effects))

    # ── committed changes ────────────────────────────────────────────────────────────────────────────────────────────

    def apply(self, item: Row | Fact, now: float) -> list[Effect]:
        """Take in one committed item of the feed."""
        match item:
            case Row(room_id=room_id, seq=seq):
                room = self.rooms.get(room_id)
                if room is not None:
                    room.head = seq
                return []
            case CreateRoom(room=record, owner=owner):
                return self._created(record, owner)
            case DeleteRoom(room_id=room_id):
                return self._deleted(room_id)
            case PutMember(member=member):
                if member.room_id in self.rooms:
                    self.rooms[member.room_id].members[member.principal] = member.role
                return []
            case RemoveMember(room_id=room_id, principal=principal):
                if room_id in self.rooms:
                    self.rooms[room_id].members.pop(principal, None)
                return []
            case Trim(room_id=room_id, first=first):
                room = self.rooms.get(room_id)
                if room is not None:
                    room.record = evolve(room.record, first=first)
                    room.head = max(room.head, first - 1)
                return []
            case UpdateRoom() | Redact() | Put() | Remove():
                return []
        assert_never(item)

    def _created(self, record: RoomRecord, owner: Member | None) -> list[Effect]:
        if record.room_id in self.rooms:
            return []
        room = self._add_room(record)
        if owner is not None:
            room.members[owner.principal] = owner.role
        if record.private:
            return []
        return [TellEveryone(m.RoomCreated(**room.glance()))]

    def _deleted(self, room_id: str) -> list[Effect]:
        room = self.rooms.pop(room_id, None)
        if room is None:
            return []
        del self._rooms_by_key[room.record.key]
        gone = m.RoomDeleted(room=room.name)
        inside = [session for sessions in room.present.values() for session in sorted(sessions)]
        for session in inside:
            self.sessions[session].rooms.discard(room_id)
        tell: list[Effect] = [TellRoom(room_id, gone)] if room.record.private else [TellEveryone(gone)]
        return tell + [Detach(session, room_id) for session in inside]

    # ── login ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _login(self, state: SessionState, request: m.Login, now: Moment) -> Decision:
        if state.user is not None:
            raise _No(ErrorCode.ALREADY_LOGGED_IN, f"you are logged in as {state.user.name}")
        if request.password is not None:
            raise _No(ErrorCode.BAD_CREDENTIALS, "this server has no accounts: log in without a password")
        name = check_name(request.user, "name")
        key = name_key(name)
        token = request.token if request.token and _is_token(request.token) else guest_token(self._new_token(), key)
        principal = principal_of(token)
        user = self.users.get(key)
        replaced: tuple[int, ...] = ()
        if user is None:
            author = author_in(token) or key
            user = self.users[key] = User(principal, author=author, name=name, key=key, role=GUEST)
        elif user.principal == principal:
            replaced = tuple(sorted(user.sessions))
        else:
            raise _No(ErrorCode.NAME_TAKEN, f"the name {name!r} is taken")
        state.user = user
        user.sessions.add(state.id)
        resumed, effects = self._rooms_at_login(state, request, now.clock)
        effects += [CloseSession(old, 4409, "replaced by your newer link") for old in replaced]
        effects.append(Tell(state.id, m.System(text=f"Welcome, {user.name}.")))
        rooms = tuple(self.rooms[room_id].summary() for room_id in sorted(state.rooms))
        reply = m.LoggedIn(user=user.name, role=user.role, token=token, rooms=rooms, resume=resumed)
        return Reply(reply, tuple(effects))

    def _rooms_at_login(
        self, state: SessionState, request: m.Login, now: float
    ) -> tuple[dict[str, Any] | None, list[Effect]]:
        effects: list[Effect] = []
        if request.resume is None:
            for name in self.limits.default_rooms:
                effects += self._enter(state, self._rooms_by_key[name_key(name)], now)
            return None, effects
        answers: dict[str, Any] = {}
        for name, position in list(request.resume.items())[: self.limits.rooms_per_session]:
            room = self.room_named(name)
            if room is None or state.user is None or not room.visible_to(state.user) or room.id in state.rooms:
                continue
            record = room.record
            fits = position.epoch == record.epoch and record.first - 1 <= position.seq <= room.head
            answers[name] = "ok" if fits else "reset"
            after = position.seq if fits else None
            effects += self._enter(state, room, now, after=after, announce_caught_up=True)
        return answers, effects

    # ── rooms ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _create_room(self, state: SessionState, request: m.CreateRoom, now: Moment) -> Decision:
        user = _known(state.user)
        name = check_name(request.room, "room name")
        if name_key(name) in self._rooms_by_key:
            raise _No(ErrorCode.ROOM_EXISTS, f"there is a room {name!r} already")
        topic = request.topic or ""
        if len(topic.encode()) > self.limits.topic_bytes:
            raise _No(ErrorCode.TOO_LARGE, f"a topic has at most {self.limits.topic_bytes} bytes")
        self._check_room_for_one_more(state)
        record = self._record(name, now.time, topic=topic, private=bool(request.private), created_by=user.principal)
        return Proposal(
            CreateRoom(room=record, owner=Member(room_id=record.room_id, principal=user.principal, role=OWNER))
        )

    def _join_room(self, state: SessionState, request: m.JoinRoom, now: Moment) -> Decision:
        room = self._visible(state, request.room)
        if request.after is not None and request.last is not None:
            raise _No(ErrorCode.BAD_REQUEST, "data: give 'after' or 'last', not both")
        if room.id not in state.rooms:
            self._check_room_for_one_more(state)
        return Joining(room.id, request.after, request.last)

    def join(self, session: int, room_id: str, now: float) -> list[Effect] | Refusal:
        """Let a session in after `Joining`, now that its answer has been read. Does nothing if it is in already.

        The server attaches the session itself, from behind the last event of its answer.
        """
        state, room = self.sessions.get(session), self.rooms.get(room_id)
        if state is None or state.user is None or room is None or not room.visible_to(state.user):
            return Refusal(ErrorCode.NO_SUCH_ROOM, "the room has been deleted meanwhile")
        if room_id in state.rooms:
            return []
        return [effect for effect in self._enter(state, room, now) if not isinstance(effect, Attach)]

    def _leave_room(self, state: SessionState, request: m.LeaveRoom, now: Moment) -> Decision:
        room = self._present_in(state, request.room)
        return Reply(m.Nothing(), tuple(self._exit(state, room, now.clock)))

    def _delete_room(self, state: SessionState, request: m.DeleteRoom, now: Moment) -> Decision:
        user, room = _known(state.user), self._visible(state, request.room)
        if room.record.permanent:
            raise _No(ErrorCode.FORBIDDEN, f"the room {room.name!r} is permanent")
        if room.members.get(user.principal) != OWNER:
            raise _No(ErrorCode.FORBIDDEN, f"only the owner of {room.name!r} may delete it")
        return Proposal(DeleteRoom(room_id=room.id))

    def _list_rooms(self, state: SessionState, request: m.ListRooms, now: Moment) -> Decision:
        user = _known(state.user)
        seen = {room.record.key: room for room in self.rooms.values() if room.visible_to(user)}
        names, more = self._paged(seen, request.after, request.limit)
        return Reply(m.Rooms(rooms=tuple(seen[name].summary() for name in names), more=more))

    def _list_users(self, state: SessionState, request: m.ListUsers, now: Moment) -> Decision:
        room = self._visible(state, request.room)
        here = {user.key: user for user in room.present}
        names, more = self._paged(here, request.after, request.limit)
        return Reply(m.Users(users=tuple(here[name].info() for name in names), more=more))

    def _paged(self, keys: Iterable[str], after: str | None, limit: int | None) -> tuple[list[str], bool]:
        start = "" if after is None else name_key(after)
        following = sorted(key for key in keys if key > start)
        most = limit or self.limits.page
        return following[:most], len(following) > most

    # ── talking ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _rename(self, state: SessionState, request: m.Rename, now: Moment) -> Decision:
        user = _known(state.user)
        name = check_name(request.user, "name")
        key = name_key(name)
        if self.users.get(key, user) is not user:
            raise _No(ErrorCode.NAME_TAKEN, f"the name {name!r} is taken")
        was = user.name
        if name == was:
            return Reply(m.Renamed(user=name))
        del self.users[user.key]
        self.users[key] = user
        user.name, user.key = name, key
        return Reply(m.Renamed(user=name), (TellEveryone(m.UserRenamed(user=name, was=was), but=state.id),))

    def _send_message(self, state: SessionState, request: m.SendMessage, now: Moment) -> Decision:
        if request.to is not None:
            raise _No(ErrorCode.BAD_REQUEST, "data.to: this server has no direct messages")
        if request.room is None:
            raise _No(ErrorCode.BAD_REQUEST, "data.room: is missing")
        room = self._present_in(state, request.room)
        user = _known(state.user)
        if request.reply_to is not None and request.reply_to > room.head:
            raise _No(ErrorCode.BAD_REQUEST, "data.reply_to: there is no such message yet")
        return Proposal(
            Append(
                room_id=room.id,
                kind=MESSAGE,
                author=user.author,
                name=user.name,
                time=now.time,
                body=_body_of(request),
                op=request.op,
                about=request.reply_to,
            )
        )

    def _history(self, state: SessionState, request: m.History, now: Moment) -> Decision:
        room = self._present_in(state, request.room)
        bounds = (request.before, request.after, request.around, request.at)
        if sum(bound is not None for bound in bounds) > 1:
            raise _No(ErrorCode.BAD_REQUEST, "data: give one of 'before', 'after', 'around' and 'at'")
        return Reading(
            room_id=room.id,
            before=request.before,
            after=request.after,
            around=request.around,
            at=_time_of(request.at),
            limit=request.limit or 50,
        )

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _add_room(self, record: RoomRecord) -> Room:
        room = Room(record, head=record.head)
        self.rooms[record.room_id] = self._rooms_by_key[record.key] = room
        return room

    def _record(self, name: str, now: int, **more: Any) -> RoomRecord:
        room_id = self._new_id()
        return RoomRecord(room_id=room_id, epoch=self._new_id(), name=name, key=name_key(name), created_at=now, **more)

    def _check_room_for_one_more(self, state: SessionState) -> None:
        most = self.limits.rooms_per_session
        if len(state.rooms) >= most:
            raise _No(ErrorCode.TOO_MANY, f"you are in {most} rooms, and that is the most")

    def _visible(self, state: SessionState, name: str) -> Room:
        room = self.room_named(name)
        if room is None or not (room.id in state.rooms or room.visible_to(_known(state.user))):
            raise _No(ErrorCode.NO_SUCH_ROOM, f"there is no room {name[:64]!r}")
        return room

    def _present_in(self, state: SessionState, name: str) -> Room:
        room = self._visible(state, name)
        if room.id not in state.rooms:
            raise _No(ErrorCode.NOT_IN_ROOM, f"you are not in {room.name!r}")
        return room

    def _enter(
        self,
        state: SessionState,
        room: Room,
        now: float,
        *,
        after: int | None = None,
        announce_caught_up: bool = False,
    ) -> list[Effect]:
        user = _known(state.user)
        effects: list[Effect] = [Attach(state.id, room.id, after, announce_caught_up)]
        state.rooms.add(room.id)
        sessions = room.present.get(user)
        if sessions is not None:
            sessions.add(state.id)
            return effects
        room.present[user] = {state.id}
        effects.append(Changed(room.id))
        if room.may_announce(now, self.limits.crowd, self.limits.notices_per_second):
            joined = m.UserJoined(room=room.name, user=user.name, users=len(room.present), role=user.role)
            effects.append(TellRoom(room.id, joined, but=state.id))
        return effects

    def _exit(self, state: SessionState, room: Room, now: float) -> list[Effect]:
        user = _known(state.user)
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


def principal_of(token: str) -> str:
    """Return the id that a guest's rights are tied to: whoever has the token is that guest."""
    return "guest:" + hashlib.sha256(token.encode()).hexdigest()[:32]


def guest_token(secret: str, key: str) -> str:
    """Return the token of a guest who first comes as ``key``. It says so for good: whoever renames and comes back with
    it writes under the same author, so that what they repeat is known to be a repeat."""
    return f"{secret}.{urlsafe_b64encode(key.encode()).decode().rstrip('=')}"


def author_in(token: str) -> str | None:
    """Return the author a guest's token names, None if it names none."""
    encoded = token.partition(".")[2]
    try:
        author = urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
        return author if author and name_key(author) == author else None
    except (ValueError, ProtocolError):
        return None


def _is_token(token: str) -> bool:
    return 32 <= len(token) <= 256 and token.isascii() and token.isprintable()


def _known(user: User | None) -> User:
    if user is None:
        raise _No(ErrorCode.NOT_LOGGED_IN, "log in first")
    return user


def _time_of(text: str | None) -> int | None:
    try:
        return None if text is None else from_wire(text)
    except ValueError as error:
        raise _No(ErrorCode.BAD_REQUEST, f"data.at: {error}") from None


def _body_of(request: m.SendMessage) -> str | bytes:
    if (request.text is None) == (request.binary is None):
        raise _No(ErrorCode.BAD_REQUEST, "data: give either 'text' or 'binary'")
    if request.binary is not None:
        if not request.binary:
            raise _No(ErrorCode.EMPTY_MESSAGE, "the message is empty")
        return request.binary
    text = request.text or ""
    if not text.strip():
        raise _No(ErrorCode.EMPTY_MESSAGE, "the message is empty")
    return text
