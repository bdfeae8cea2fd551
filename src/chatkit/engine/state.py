"""Who is here and which rooms there are: what was committed, and who is connected. Facts and look-ups, no rules."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Any

from attrs import Factory, define, frozen

from chatkit.backend.records import Ban, RoomRecord
from chatkit.engine.permissions import RoomMode, Standing
from chatkit.protocol.messages import Attempt, Summary, UserInfo

ADMIN = "admin"
BOT = "bot"
GUEST = "guest"
RANKS = {GUEST: 0, BOT: 1, "member": 2, ADMIN: 3}
"""Roles on the server, from the least to the most."""
OWNER = "owner"
MODERATOR = "moderator"
MEMBER = "member"
STANDINGS = {OWNER: Standing.OWNER, MODERATOR: Standing.MODERATOR, MEMBER: Standing.MEMBER}
"""Roles in a room."""


@frozen
class Moment:
    """When something is asked: the ``time`` of day in milliseconds since 1970, which the log keeps, and the ``clock``
    in seconds, which never jumps. Every other ``now`` of the engine is the latter."""

    time: int
    clock: float


@define(eq=False)
class User:
    """Somebody who is here, with all their sessions.

    ``principal`` is what rights are tied to (an account's id, a guest's token), ``author`` the stable id under which
    they write, ``key`` the name's case-mapped form, ``role`` what others see.
    """

    principal: str
    author: str
    name: str
    key: str
    role: str
    sessions: set[int] = Factory(set)

    def info(self) -> UserInfo:
        """Return how others see this person."""
        return UserInfo(user=self.name, role=self.role)


@define(eq=False)
class SessionState:
    """One link's place in the rules: who it is, once logged in, and which rooms it is in.

    ``role`` is what it may on the server: a token can allow less than its account. ``device`` is the id of the token
    it is logged in with, empty for a guest; ``address`` where it comes from, without a port; ``attempt`` which of its
    client's logins this is, if that was said.
    """

    id: int
    address: str | None = None
    user: User | None = None
    role: str = GUEST
    device: str = ""
    attempt: Attempt | None = None
    rooms: set[str] = Factory(set)


@define(eq=False)
class Room:
    """A room as it is now: its record, who has which role in it, who is kept out or silent, and who is present."""

    record: RoomRecord
    head: int
    members: dict[str, str] = Factory(dict)
    bans: dict[str, Ban] = Factory(dict)
    bans_by_whom: dict[tuple[str, str], dict[str, Ban]] = Factory(dict)
    """The same, by kind and value: there may be thousands, and each message asks."""
    present: dict[User, set[int]] = Factory(dict)
    spoke: dict[str, float] = Factory(dict)
    """When each person spoke last, in a room that is slow."""
    notices: deque[float] = Factory(deque)
    removals: int = 0
    """How often the content of an entry was removed since the server started."""

    def put_ban(self, ban: Ban) -> None:
        """Keep somebody out, or silent; in place of the ban with this id."""
        self.drop_ban(ban.id)
        self.bans[ban.id] = ban
        self.bans_by_whom.setdefault((ban.kind, ban.value), {})[ban.id] = ban

    def drop_ban(self, id: str) -> None:
        """Let a ban go."""
        ban = self.bans.pop(id, None)
        if ban is not None:
            whom = (ban.kind, ban.value)
            del self.bans_by_whom[whom][id]
            if not self.bans_by_whom[whom]:
                del self.bans_by_whom[whom]

    @property
    def id(self) -> str:
        """The room's id, for life."""
        return self.record.room_id

    @property
    def name(self) -> str:
        """What people call it."""
        return self.record.name

    @property
    def mode(self) -> RoomMode:
        """The state it is in."""
        if self.record.closed:
            return RoomMode.CLOSED
        return RoomMode.READ_ONLY if self.record.read_only else RoomMode.OPEN

    @property
    def plain(self) -> bool:
        """Whether everybody who is in it may speak at any time."""
        record = self.record
        return not (self.bans or record.private or record.read_only or record.closed or record.slow)

    def summary(self) -> Summary:
        """Return the room at a glance."""
        return Summary(**self.glance())

    def glance(self) -> dict[str, Any]:
        """Return the fields of a summary, also for the classes that have more."""
        record = self.record
        return {
            "room": record.name,
            "topic": record.topic,
            "users": len(self.present),
            "head": self.head,
            "epoch": record.epoch,
            "private": record.private,
            "read_only": record.read_only or None,
            "slow": record.slow or None,
            "closed": record.closed or None,
        }

    def info(self, user: User) -> UserInfo:
        """Return how others in the room see somebody: by their role here, if they have one that matters."""
        role = self.members.get(user.principal, MEMBER)
        return UserInfo(user=user.name, role=user.role if role == MEMBER else role)

    def some_present(self, most: int) -> tuple[UserInfo, ...]:
        """Return up to ``most`` of the people present, in the order they came."""
        return tuple(self.info(user) for user in islice(self.present, most))

    def may_announce(self, now: float, crowd: int, per_second: int) -> bool:
        """Count one coming or going; say whether people should be told of it one by one."""
        notices = self.notices
        while notices and notices[0] <= now - 1.0:
            notices.popleft()
        if len(self.present) > crowd or len(notices) >= per_second:
            return False
        notices.append(now)
        return True
