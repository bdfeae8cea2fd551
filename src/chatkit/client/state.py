"""What a frontend shows, as a pure reducer: replies and events in, rooms and messages out. No I/O, no clock, no Trio.

The laws: old state and the events since equal what a fresh login would fetch (but for how far back messages reach);
an own message is shown once, whether its reply or its event comes first; a room is its log, so it goes on under
another name; and whatever a server says, what is held of it stays within bounds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs
from attrs import Factory, define, evolve

from chatkit.client.message import Message, Pending
from chatkit.client.window import Allowance, Window, room_of, seq_of
from chatkit.errors import ProtocolError
from chatkit.protocol import messages as m
from chatkit.protocol import moderation as mod
from chatkit.protocol.positions import Position, Step

MOST_ROOMS = 20_000
"""Rooms that are known at a time; of more nothing is kept unless one enters them."""
MOST_MEMBERS = 10_000
"""Members that comings alone make known in a room; with more its list is stale."""
LONGEST_NAME = 256
"""Characters. Names are shorter by far (32), and so are roles and epochs: a longer one is nonsense."""
LONGEST_TOPIC = 4_096
LONGEST_NOTICE = 16_384
"""Characters of a notice that are shown."""

SUMMARY_FIELDS = tuple(attribute.name for attribute in attrs.fields(m.Summary))


@define(eq=False)
class RoomState:
    """One room as it is shown."""

    summary: m.Summary
    window: Window
    joined: bool = False
    members: dict[str, m.UserInfo] = Factory(dict)
    members_stale: bool = True
    """Whether the list of members is known to be incomplete or out of date: fetch it before showing it."""
    moves: int = 0
    """Comings, goings and renamings told so far: whether a list that came in several pages is of one moment."""
    pending: dict[str, Pending] = Factory(dict)
    """Own messages on their way, by op, in the order they were sent."""
    muted: mod.Muted | None = None
    """That one may read here but not speak, until when, by whom and why; None if one may speak, as far as the server
    told."""
    removed: mod.RemovedFromRoom | None = None
    """Why one was sent out; None if one is in the room, or has left it oneself."""

    @property
    def name(self) -> str:
        """What the room is called."""
        return self.summary.room

    @property
    def users(self) -> int:
        """How many people are present."""
        return self.summary.users

    @property
    def position(self) -> Position:
        """How far the log has been received."""
        return self.window.track.position

    def messages(self) -> list[Message]:
        """Return the messages held, oldest first; own ones on their way stand in `pending`."""
        found = (Message.of(entry, self.summary.epoch, self.name) for entry in self.window.entries)
        return [message for message in found if message is not None]


class ClientState:
    """Everything a frontend shows of one session."""

    def __init__(self, keep: int = 1000) -> None:
        self.user = ""
        self.role = ""
        self.rooms: dict[str, RoomState] = {}
        self.notices: list[str] = []
        self._keep = keep
        self._allowance = Allowance()
        self._named: set[str] | None = None
        """Rooms heard of since the list of rooms began to come; None when none is coming."""

    @property
    def joined(self) -> list[RoomState]:
        """The rooms the session is in, by name."""
        return [self.rooms[name] for name in sorted(self.rooms) if self.rooms[name].joined]

    def role_in(self, name: str) -> str:
        """Return one's own role in a room as far as it is known: ``owner``, ``moderator``, or that on the server."""
        room = self.rooms.get(name)
        own = room.members.get(self.user) if room is not None else None
        return own.role if own is not None and own.role else self.role

    # ── replies ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def logged_in(self, reply: m.LoggedIn) -> list[str]:
        """Take in who one is and which rooms one is in; return those that begin anew: their log is another one, or what
        was missed is no longer kept. Raises `ProtocolError` for nonsense."""
        if len(reply.rooms) > MOST_ROOMS:
            raise ProtocolError("nobody is in that many rooms")
        for summary in reply.rooms:
            _check_names(summary.room, summary.epoch)
        self.user, self.role = reply.user, reply.role
        was = self._call_anew(reply.rooms)
        inside = {summary.room for summary in reply.rooms}
        for room in self.rooms.values():
            room.joined = room.joined and room.name in inside
            room.muted = None
        anew: list[str] = []
        for summary in reply.rooms:
            room = self._enter(summary)
            room.members_stale = True
            if (reply.resume or {}).get(was.get(summary.room, summary.room)) == "reset":
                anew.append(summary.room)
                room.window.reset(summary.epoch, summary.head)
                room.pending = {op: pending for op, pending in room.pending.items() if pending.seq is None}
        return anew

    def _call_anew(self, rooms: Iterable[m.Summary]) -> dict[str, str]:
        """Let the rooms that were renamed while one was away go on under their new names: a log is known by its epoch.
        Return what they were called, by what they are called now."""
        names = {room.summary.epoch: room.name for room in self.rooms.values() if room.joined}
        was = {one.room: names[one.epoch] for one in rooms if names.get(one.epoch, one.room) != one.room}
        moved = [(now, self.rooms.pop(then)) for now, then in was.items() if then in self.rooms]
        for now, room in moved:
            self._put(room, now)
        return was

    def listed(self, rooms: Iterable[m.Summary], *, first: bool = True, more: bool = False) -> None:
        """Take in a page of the list of rooms; after the last, rooms of which nothing was heard are gone."""
        if first or self._named is None:
            self._named = set()
        for summary in rooms:
            self._summary(summary)
        if more:
            return
        for name in [name for name, room in self.rooms.items() if name not in self._named and not room.joined]:
            self.rooms.pop(name).window.release()
        self._named = None

    def entered(self, reply: m.Joined) -> RoomState:
        """Take in the answer to a join."""
        known = self.rooms.get(reply.room)
        fresh = known is None or not known.joined
        room = self._enter(_summary_of(reply))
        if fresh:
            start = seq_of(reply.events[0]) - 1 if reply.events else reply.head
            room.window.reset(reply.epoch, start)
        self.fetched(room, reply.events)
        room.members = {member.user: member for member in reply.members}
        room.members_stale = reply.members_more
        return room

    def created(self, reply: m.Summary) -> RoomState:
        """Take in the answer to creating a room: one is in it."""
        room = self._enter(_summary_of(reply))
        room.members = {self.user: m.UserInfo(user=self.user, role="owner")}
        room.members_stale = False
        return room

    def changed(self, reply: m.Summary) -> None:
        """Take in the answer to changing a room."""
        self._summary(_summary_of(reply))

    def left(self, name: str) -> None:
        """One has left a room."""
        room = self.rooms.get(name)
        if room is None:
            return
        room.joined, room.members_stale, room.muted = False, True, None
        room.members.clear()
        room.pending.clear()
        if room.summary.private:
            self.rooms.pop(name).window.release()

    def listed_users(self, name: str, users: Iterable[m.UserInfo], *, moves: int | None = None) -> None:
        """Take in the complete list of people in a room. ``moves`` is what `RoomState.moves` was at its first page."""
        room = self.rooms.get(name)
        if room is not None:
            room.members = {user.user: user for user in users}
            room.members_stale = moves is not None and moves != room.moves

    def renamed(self, name: str) -> None:
        """One has a new name oneself."""
        self._rename(self.user, name)

    def fetched(self, room: RoomState, entries: Sequence[m.Entry]) -> None:
        """Take in entries of history: those that follow the newest held, or come right before the oldest."""
        older = [entry for entry in entries if seq_of(entry) < room.window.first]
        room.window.prepend(older)
        for entry in entries:
            if seq_of(entry) == room.window.track.seq + 1:
                self._take(room, entry)

    # ── own messages ─────────────────────────────────────────────────────────────────────────────────────────────────

    def sending(self, name: str, pending: Pending) -> None:
        """Show an own message that is on its way."""
        room = self.rooms.get(name)
        if room is not None:
            room.pending[pending.op] = pending

    def sent(self, name: str, op: str, reply: m.Sent) -> None:
        """An own message is kept; it stays pending, confirmed, until it arrives as an event."""
        room = self.rooms.get(name)
        if room is None or op not in room.pending:
            return
        if reply.seq <= room.window.track.seq:
            del room.pending[op]
        else:
            room.pending[op] = evolve(room.pending[op], seq=reply.seq)

    def not_sent(self, name: str, op: str) -> None:
        """An own message was refused, or nobody waits for it any more."""
        room = self.rooms.get(name)
        if room is not None:
            room.pending.pop(op, None)

    # ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def apply(self, event: m.Event, timestamp: int) -> Step | None:
        """Take in one event. For a durable one, say whether it was the next, known already, or came after a gap.
        Raises `ProtocolError` for nonsense."""
        match event:
            case m.RoomUpdated() | m.RoomCreated():
                self._summary(_summary_of(event))
            case m.RoomDeleted(room=name):
                self.left(name)
                if name in self.rooms:
                    self.rooms.pop(name).window.release()
            case m.UserJoined(room=name, user=user, users=users, role=role):
                self._present(name, users)
                self._member_joined(name, m.UserInfo(user=user, role=role or ""))
            case m.UserLeft(room=name, user=user, users=users):
                self._present(name, users)
                self._member_left(name, user)
            case m.UserRenamed(user=user, was=was):
                self._rename(was, user)
            case mod.RoleChanged(room=name, user=user, role=role):
                self._role_changed(name, user, role)
            case mod.Invited():
                self._summary(_summary_of(event))
            case mod.RoomRenamed(room=name, was=was):
                self.room_renamed(was, name)
            case mod.RemovedFromRoom(room=name):
                self._removed(name, event)
            case mod.Muted(room=name):
                self._muted(name, evolve(event, by=event.by[:LONGEST_NAME], reason=event.reason[:LONGEST_NOTICE]))
            case mod.Unmuted(room=name):
                self._muted(name, None)
            case m.System(text=text):
                self.notices = [*self.notices[-99:], text[:LONGEST_NOTICE]]
            case _:
                return self._durable(m.Entry(event=event, timestamp=timestamp))
        return None

    def _durable(self, entry: m.Entry) -> Step | None:
        room = self.rooms.get(room_of(entry.event) or "")
        if room is None or not room.joined or not seq_of(entry):
            return None
        return self._take(room, entry)

    def _take(self, room: RoomState, entry: m.Entry) -> Step:
        step = room.window.take(entry)
        seq = room.window.track.seq
        if seq > room.summary.head:
            room.summary = evolve(room.summary, head=seq)
        op = getattr(entry.event, "op", None)
        pending = room.pending.get(op) if op is not None else None
        # Said under another name if one was renamed meanwhile; then the reply told where.
        if pending is not None and (pending.seq == seq_of(entry) or getattr(entry.event, "user", None) == self.user):
            del room.pending[pending.op]
        return step

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _summary(self, summary: m.Summary) -> None:
        _check_names(summary.room, summary.epoch)
        if len(summary.topic) > LONGEST_TOPIC:
            raise ProtocolError(f"the topic of {summary.room!r} has {len(summary.topic)} characters")
        room = self.rooms.get(summary.room)
        if room is None and len(self.rooms) >= MOST_ROOMS:
            return
        if self._named is not None:
            self._named.add(summary.room)
        if room is None:
            self._add(summary)
            return
        room.summary = evolve(summary, head=max(summary.head, room.window.track.seq if room.joined else 0))
        if room.joined and room.summary.users != len(room.members):
            room.members_stale = True

    def _add(self, summary: m.Summary) -> RoomState:
        window = Window(summary.epoch, summary.head, self._keep, self._allowance)
        room = self.rooms[summary.room] = RoomState(summary, window)
        return room

    def _enter(self, summary: m.Summary) -> RoomState:
        self._summary(summary)
        room = self.rooms.get(summary.room) or self._add(summary)
        if not room.joined:
            room.joined, room.removed = True, None
            room.window.reset(summary.epoch, summary.head)
        return room

    def _present(self, name: str, users: int) -> None:
        room = self.rooms.get(name)
        if room is not None:
            room.summary = evolve(room.summary, users=users)

    def _member_joined(self, name: str, member: m.UserInfo) -> None:
        _check_names(member.user, member.role)
        room = self.rooms.get(name)
        if room is not None and room.joined:
            room.moves += 1
            if len(room.members) < MOST_MEMBERS or member.user in room.members:
                room.members[member.user] = member
            room.members_stale = room.members_stale or room.users != len(room.members)

    def _member_left(self, name: str, user: str) -> None:
        room = self.rooms.get(name)
        if room is not None and room.joined:
            room.moves += 1
            room.members.pop(user, None)
            room.members_stale = room.members_stale or room.users != len(room.members)

    def _rename(self, was: str, user: str) -> None:
        _check_names(user)
        if was == self.user:
            self.user = user
        for room in self.rooms.values():
            info = room.members.pop(was, None)
            room.moves += 1
            if info is not None:
                room.members[user] = evolve(info, user=user)

    def _role_changed(self, name: str, user: str, role: str) -> None:
        _check_names(role)
        room = self.rooms.get(name)
        if room is None or not room.joined:
            return
        room.moves += 1
        if user in room.members:
            room.members[user] = evolve(room.members[user], role=role)
        if user == self.user and {role, self.role} == {"admin", "member"}:
            self.role = role

    def room_renamed(self, was: str, name: str) -> None:
        """A room goes on under another name: its messages, position, people, and own messages on their way."""
        _check_names(name)
        room = self.rooms.get(was)
        if room is None or name == was:
            return
        del self.rooms[was]
        self._put(room, name)
        if self._named is not None:
            self._named.add(name)

    def _put(self, room: RoomState, name: str) -> None:
        """Let a room that has no name any more have this one. What was called so before is gone."""
        before = self.rooms.pop(name, None)
        if before is not None:
            before.joined = False
            before.window.release()
        room.summary = evolve(room.summary, room=name)
        self.rooms[name] = room

    def _removed(self, name: str, why: mod.RemovedFromRoom) -> None:
        room = self.rooms.get(name)
        if room is not None and room.joined:
            room.removed = evolve(why, by=why.by[:LONGEST_NAME], reason=why.reason[:LONGEST_NOTICE])
            self.left(name)

    def _muted(self, name: str, muted: mod.Muted | None) -> None:
        room = self.rooms.get(name)
        if room is not None and room.joined:
            room.muted = muted


def _check_names(*names: str) -> None:
    for name in names:
        if len(name) > LONGEST_NAME:
            raise ProtocolError(f"a name of {len(name)} characters")


def _summary_of(message: m.Summary) -> m.Summary:
    return m.Summary(**{name: getattr(message, name) for name in SUMMARY_FIELDS})
