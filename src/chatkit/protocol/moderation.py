"""Messages about keeping order: roles, invitations, kicks, bans, mutes, removals. Facts only.

``room`` None means the whole server. Terms are in seconds; None means for good. What is done is told to those it
concerns, and written into the audit log.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from attrs import frozen

from chatkit.protocol.bounds import Between, PageLimit, Seq
from chatkit.protocol.messages import Event, Nothing, Request, Summary

Reason = Annotated[str, Between(0, 512)]
Term = Annotated[int, Between(1, 2**31)]


@frozen(kw_only=True)
class UpdateRoom(Request[Summary]):
    """Change a room: only what is given. ``name`` renames it, ``slow`` is the seconds between messages of one
    person, ``read_only`` lets only moderators speak, ``closed`` lets only moderators in."""

    action = "update_room"
    room: str
    name: str | None = None
    topic: str | None = None
    private: bool | None = None
    read_only: bool | None = None
    slow: Annotated[int, Between(0, 86_400)] | None = None
    closed: bool | None = None


@frozen(kw_only=True)
class SetRole(Request[Nothing]):
    """Make somebody owner, moderator or plain member of a room."""

    action = "set_role"
    room: str
    user: str
    role: Literal["owner", "moderator", "member"]


@frozen(kw_only=True)
class Invite(Request[Nothing]):
    """Let somebody into a private room."""

    action = "invite"
    room: str
    user: str


@frozen(kw_only=True)
class Withdraw(Request[Nothing]):
    """End somebody's right to be in a private room."""

    action = "withdraw"
    room: str
    user: str


@frozen(kw_only=True)
class Kick(Request[Nothing]):
    """Send somebody out of a room, or off the server; they may come back."""

    action = "kick"
    user: str
    room: str | None = None
    reason: Reason | None = None


@frozen(kw_only=True)
class BanInfo:
    """A ban as moderators see it; ``mute`` if it only silences. Times in milliseconds since 1970."""

    id: str
    room: str | None = None
    kind: str
    value: str
    by: str
    reason: str
    at: int
    until: int | None = None
    mute: bool | None = None


@frozen(kw_only=True)
class BanUser(Request[BanInfo]):
    """Keep somebody out: a person by name (their account, if they have one), or an address (server-wide)."""

    action = "ban"
    room: str | None = None
    user: str | None = None
    address: str | None = None
    seconds: Term | None = None
    reason: Reason | None = None


@frozen(kw_only=True)
class Unban(Request[Nothing]):
    """Lift a ban, by its id or by whom it keeps out."""

    action = "unban"
    room: str | None = None
    user: str | None = None
    ban: str | None = None


@frozen(kw_only=True)
class Bans:
    """The bans and mutes in force, newest first. ``more``: there are others, older ones."""

    bans: tuple[BanInfo, ...]
    more: bool = False


@frozen(kw_only=True)
class ListBans(Request[Bans]):
    """List the bans of a room or of the server."""

    action = "list_bans"
    room: str | None = None


@frozen(kw_only=True)
class Mute(Request[Nothing]):
    """Let somebody read but not speak in a room."""

    action = "mute"
    room: str
    user: str
    seconds: Term | None = None
    reason: Reason | None = None


@frozen(kw_only=True)
class Unmute(Request[Nothing]):
    """Let somebody speak again."""

    action = "unmute"
    room: str
    user: str


@frozen(kw_only=True)
class DeleteMessage(Request[Nothing]):
    """Remove a message's content for everybody: one's own, or as a moderator."""

    action = "delete_message"
    room: str
    seq: Annotated[int, Between(1, 2**53 - 1)]
    reason: Reason | None = None


@frozen(kw_only=True)
class Deleted:
    """How many messages were removed, and whether there are more: ask again."""

    count: int
    more: bool


@frozen(kw_only=True)
class DeleteMessagesOf(Request[Deleted]):
    """Remove the content of somebody's messages in a room, the newest thousand first."""

    action = "delete_messages_of"
    room: str
    user: str
    reason: Reason | None = None


@frozen(kw_only=True)
class AuditEntry:
    """One act of moderation: who did what to whom, when and why."""

    seq: Seq
    at: int
    by: str
    act: str
    whom: str
    room: str | None = None
    reason: str
    details: Mapping[str, Any]


@frozen(kw_only=True)
class AuditPage:
    """Acts of moderation, newest first."""

    entries: tuple[AuditEntry, ...]
    more: bool


@frozen(kw_only=True)
class Audit(Request[AuditPage]):
    """Read what was done in a room, or on the server."""

    action = "audit"
    room: str | None = None
    before: Seq | None = None
    limit: PageLimit | None = None


# ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@frozen(kw_only=True)
class MessageDeleted(Event):
    """The content of the message at ``about`` was removed, by ``user``."""

    action = "message_deleted"
    room: str
    seq: Seq
    user: str
    about: Seq


@frozen(kw_only=True)
class RoomRenamed(Event):
    """A room has a new name; its log goes on."""

    action = "room_renamed"
    room: str
    was: str


@frozen(kw_only=True)
class RemovedFromRoom(Event):
    """One was sent out of a room: kicked, banned, no longer invited, or the room was closed. ``by`` is empty if the
    server does not say who did it."""

    action = "removed_from_room"
    room: str
    by: str
    reason: str
    banned: bool


@frozen(kw_only=True)
class Invited(Summary, Event):
    """One may enter a private room now."""

    action = "invited"


@frozen(kw_only=True)
class RoleChanged(Event):
    """Somebody has another role in a room."""

    action = "role_changed"
    room: str
    user: str
    role: str


@frozen(kw_only=True)
class Muted(Event):
    """One may read but not speak in a room, until then (milliseconds since 1970) or for good."""

    action = "muted"
    room: str
    by: str
    reason: str
    until: int | None = None


@frozen(kw_only=True)
class Unmuted(Event):
    """One may speak in a room again."""

    action = "unmuted"
    room: str
