"""Who is here and which rooms there are: the engine's memory of what was committed and who is connected."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Any

from attrs import Factory, define

from chatkit.backend.records import RoomRecord
from chatkit.protocol.messages import Summary, UserInfo


@define(eq=False)
class User:
    """Somebody who is here, with all their sessions.

    ``principal`` is what rights are tied to, ``author`` the stable id under which they write, ``key`` the name's
    case-mapped form.
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
    """One link's place in the rules: who it is, once logged in, and which rooms it is in."""

    id: int
    user: User | None = None
    rooms: set[str] = Factory(set)


@define(eq=False)
class Room:
    """A room as it is now: its record, who may read it by right, and who is present."""

    record: RoomRecord
    head: int
    members: dict[str, str] = Factory(dict)
    present: dict[User, set[int]] = Factory(dict)
    notices: deque[float] = Factory(deque)

    @property
    def id(self) -> str:
        """The room's id, for life."""
        return self.record.room_id

    @property
    def name(self) -> str:
        """What people call it."""
        return self.record.name

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
        }

    def some_present(self, most: int) -> tuple[UserInfo, ...]:
        """Return up to ``most`` of the people present, in the order they came."""
        return tuple(user.info() for user in islice(self.present, most))

    def visible_to(self, user: User) -> bool:
        """Whether this person may know that the room exists, and enter it."""
        return not self.record.private or user.principal in self.members

    def may_announce(self, now: float, crowd: int, per_second: int) -> bool:
        """Count one coming or going; say whether people should be told of it one by one."""
        notices = self.notices
        while notices and notices[0] <= now - 1.0:
            notices.popleft()
        if len(self.present) > crowd or len(notices) >= per_second:
            return False
        notices.append(now)
        return True
