"""Every message of the protocol: requests and what answers them, and events. Facts only.

A request class names the class of its reply as the parameter of `Request`; ``action`` is its name on the wire.
Fields whose default is None may be absent. Times are milliseconds since 1970, UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar, get_args

from attrs import field, frozen

from chatkit.protocol.bounds import Between, Op, PageLimit, Seq
from chatkit.protocol.positions import Position

R = TypeVar("R")


class Request(Generic[R]):
    """The base of every request. ``reply`` is the class of what a success carries."""

    __slots__ = ()
    action: ClassVar[str]
    reply: ClassVar[type[Any]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for base in getattr(cls, "__orig_bases__", ()):
            if getattr(base, "__origin__", None) is Request:
                (cls.reply,) = get_args(base)


class Event:
    """The base of every event. An event with ``room`` and ``seq`` is durable: an entry of that room's log."""

    __slots__ = ()
    action: ClassVar[str]


# ── what replies and events are made of ──────────────────────────────────────────────────────────────────────────────


@frozen(kw_only=True)
class Summary:
    """A room at a glance. ``users`` counts the distinct people present, ``head`` is the seq of the newest entry.
    Where only moderators may write it is ``read_only``, where only they may be it is ``closed``; ``slow`` is the
    seconds between two messages of one person. What does not hold is absent."""

    room: str
    topic: str
    users: int
    head: Seq
    epoch: str
    private: bool = False
    read_only: bool | None = None
    slow: float | None = None
    closed: bool | None = None


@frozen(kw_only=True)
class UserInfo:
    """Somebody in a room."""

    user: str
    role: str
    presence: str = "online"


@frozen(kw_only=True)
class Entry:
    """An event with its time, as pages of history hold them: the same envelope as the live event."""

    event: Event
    timestamp: int


@frozen(kw_only=True)
class Nothing:
    """The reply that says no more than that it was done."""


# ── requests, each behind its reply ──────────────────────────────────────────────────────────────────────────────────


@frozen(kw_only=True)
class LoggedIn:
    """Who one is now. ``rooms`` are those the session is in. ``resume`` answers each position given at login."""

    user: str
    role: str
    token: str = field(repr=False)
    rooms: tuple[Summary, ...]
    resume: Mapping[str, Literal["ok", "reset"]] | None = None


@frozen(kw_only=True)
class Attempt:
    """Which of a client's logins this is: ``client`` is drawn at random when the program starts, ``number`` is larger
    with each link it makes. What was sent on a link that was given up, and arrives late, is known by it."""

    client: Annotated[str, Between(1, 64)]
    number: Seq


@frozen(kw_only=True)
class Login(Request[LoggedIn]):
    """Say who one is. Nothing else is accepted before it but ``register``. A token decides alone who one is; ``device``
    is what one's list of logins calls this one."""

    action = "login"
    user: str
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    device: Annotated[str, Between(0, 128)] | None = None
    resume: Mapping[str, Position] | None = None
    attempt: Attempt | None = None


@frozen(kw_only=True)
class CreateRoom(Request[Summary]):
    """Create a room; its creator is in it and owns it."""

    action = "create_room"
    room: str
    topic: str | None = None
    private: bool | None = None


@frozen(kw_only=True)
class Joined(Summary):
    """The room as one finds it: who is there (at most 500, then ``members_more``), the events asked for, and whether
    more of them follow as ordinary events. ``reset`` says that what followed ``after`` is no longer kept, or that the
    log does not reach so far: then the events begin with the oldest that is kept."""

    members: tuple[UserInfo, ...]
    members_more: bool = False
    events: tuple[Entry, ...]
    more_after: bool
    reset: bool = False


@frozen(kw_only=True)
class JoinRoom(Request[Joined]):
    """Enter a room. ``after`` asks for what came after a seq, ``last`` for the newest entries."""

    action = "join_room"
    room: str
    after: Seq | None = None
    last: Annotated[int, Between(0, 1000)] | None = None


@frozen(kw_only=True)
class LeaveRoom(Request[Nothing]):
    """Leave a room."""

    action = "leave_room"
    room: str


@frozen(kw_only=True)
class DeleteRoom(Request[Nothing]):
    """Delete a room and its history, for everybody."""

    action = "delete_room"
    room: str


@frozen(kw_only=True)
class Rooms:
    """One page of the rooms one may see, by name. ``more`` says that others follow the last one."""

    rooms: tuple[Summary, ...]
    more: bool = False


@frozen(kw_only=True)
class ListRooms(Request[Rooms]):
    """List rooms, by name, from the one after ``after``."""

    action = "list_rooms"
    after: str | None = None
    limit: PageLimit | None = None


@frozen(kw_only=True)
class Users:
    """One page of the people present in a room, by name."""

    users: tuple[UserInfo, ...]
    more: bool = False


@frozen(kw_only=True)
class ListUsers(Request[Users]):
    """List the people present in a room, by name, from the one after ``after``."""

    action = "list_users"
    room: str
    after: str | None = None
    limit: PageLimit | None = None


@frozen(kw_only=True)
class Renamed:
    """One's name as the server keeps it."""

    user: str


@frozen(kw_only=True)
class Rename(Request[Renamed]):
    """Change one's name."""

    action = "rename"
    user: str


@frozen(kw_only=True)
class Sent:
    """The message is kept, at ``seq`` of the log ``epoch``; ``duplicate`` when an earlier try put it there."""

    room: str
    epoch: str
    seq: Seq
    duplicate: bool


@frozen(kw_only=True)
class SendMessage(Request[Sent]):
    """Say something in a room: exactly one of ``text`` and ``binary``. ``op`` makes it safe to repeat."""

    action = "send_message"
    room: str | None = None
    text: str | None = None
    binary: bytes | None = None
    op: Op | None = None
    reply_to: Annotated[int, Between(1, 2**53 - 1)] | None = None
    to: str | None = None


@frozen(kw_only=True)
class HistoryPage:
    """Consecutive entries of a log, oldest first, and whether there are others on either side."""

    epoch: str
    events: tuple[Entry, ...]
    more_before: bool
    more_after: bool


@frozen(kw_only=True)
class History(Request[HistoryPage]):
    """Read a room's log: entries before, after or around a seq, itself excluded by the first two, or around the first
    entry ``at`` an RFC 3339 time or after it. With none of them, the newest."""

    action = "history"
    room: str
    before: Seq | None = None
    after: Seq | None = None
    around: Seq | None = None
    at: str | None = None
    limit: PageLimit | None = None


# ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@frozen(kw_only=True)
class Hello(Event):
    """The first thing a server says. ``heartbeat`` is in seconds."""

    action = "hello"
    protocol: int
    server: str
    auth: tuple[str, ...]
    limits: Mapping[str, int]
    heartbeat: float


@frozen(kw_only=True)
class ReceiveMessage(Event):
    """Somebody said something. ``deleted``: it was removed since, and has neither text nor bytes any more."""

    action = "receive_message"
    room: str
    seq: Seq
    user: str
    text: str | None = None
    binary: bytes | None = None
    op: str | None = None
    reply_to: Seq | None = None
    deleted: bool | None = None


@frozen(kw_only=True)
class UserJoined(Event):
    """A person's first session entered the room; ``users`` are present now."""

    action = "user_joined"
    room: str
    user: str
    users: int
    role: str | None = None


@frozen(kw_only=True)
class UserLeft(Event):
    """A person's last session left the room; ``users`` are present now."""

    action = "user_left"
    room: str
    user: str
    users: int


@frozen(kw_only=True)
class UserRenamed(Event):
    """Somebody has a new name."""

    action = "user_renamed"
    user: str
    was: str


@frozen(kw_only=True)
class RoomCreated(Summary, Event):
    """There is a new room."""

    action = "room_created"


@frozen(kw_only=True)
class RoomUpdated(Summary, Event):
    """A room's count, topic or head changed; the latest is what counts."""

    action = "room_updated"


@frozen(kw_only=True)
class RoomDeleted(Event):
    """A room and its history are gone; nobody is in it any more."""

    action = "room_deleted"
    room: str


@frozen(kw_only=True)
class CaughtUp(Event):
    """What was missed has been sent, up to ``seq``; what follows is live."""

    action = "caught_up"
    room: str
    seq: Seq


@frozen(kw_only=True)
class System(Event):
    """A notice for people."""

    action = "system"
    text: str


@frozen(kw_only=True)
class Closing(Event):
    """The link is about to end, on bindings that have no close codes of their own (TCP)."""

    action = "closing"
    code: int
    reason: str
    reconnect: bool


@frozen(kw_only=True)
class UnknownEvent(Event):
    """An event this program has no class for; its data as it came. With ``room`` and ``seq`` it still counts."""

    action: str  # type: ignore[misc]  # an instance attribute here: the wire says which
    data: Mapping[str, Any]
