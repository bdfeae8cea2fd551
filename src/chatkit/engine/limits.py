"""Bounds and policies of the rules, each with its reason."""

from __future__ import annotations

from typing import Literal, TypeAlias

from attrs import field, frozen, validators

Guests: TypeAlias = Literal["yes", "no", "read-only"]
Registration: TypeAlias = Literal["open", "invitation", "closed"]
DAY = 86_400.0


@frozen(kw_only=True)
class EngineLimits:
    """Bounds of the rules. Times are in seconds."""

    default_rooms: tuple[str, ...] = ("general",)
    """Where everybody starts; permanent."""
    guests: Guests = field(default="yes", validator=validators.in_(("yes", "no", "read-only")))
    """Whether people without an account are let in, and whether they may speak."""
    registration: Registration = field(default="open", validator=validators.in_(("open", "invitation", "closed")))
    """Who may open an account: anybody, whoever has an invitation, or nobody but the operator's command."""
    session_life: float = 30 * DAY
    """A login that is not used for this long is forgotten."""
    sessions_per_account: int = 50
    """Logins and tokens of one account; the login unused for longest makes room."""
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
    bans_per_room: int = 10_000
    """Bans and mutes of one room, or of the server, in force at a time."""
