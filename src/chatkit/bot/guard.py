"""Who may have a command run, how often, and how many at once.

A guard is any object with `Guard`'s two methods; it raises `NotAllowed` with a sentence for the person.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable
from typing import TYPE_CHECKING, Literal, TypeAlias

import trio

from chatkit.errors import NotAllowed, UsageError

if TYPE_CHECKING:
    from chatkit.bot.context import Context

Scope: TypeAlias = Literal["user", "room", "member", "bot"]
"""What a limit counts by: a person wherever they are, a room, a person in a room, or everything."""
PRUNED_AT = 1000
"""Past so many entries those whose time is over are thrown out."""


class Guard(ABC):
    """Decides before a handler runs. One object on several commands counts them together. What it counts belongs to
    the bot's run: ``context.of_this_run``."""

    @abstractmethod
    async def admit(self, context: Context) -> None:
        """Return, or raise `NotAllowed`."""

    def release(self, context: Context) -> None:  # noqa: B027 - most guards have nothing to give back
        """The handler that was admitted has ended."""


class Allow(Guard):
    """Admits whom a predicate admits. Made by `allow`."""

    def __init__(self, predicate: Callable[[Context], bool | Awaitable[bool]], otherwise: str) -> None:
        self._predicate = predicate
        self._otherwise = otherwise

    async def admit(self, context: Context) -> None:
        """Ask the predicate."""
        answer = self._predicate(context)
        if not (await answer if inspect.isawaitable(answer) else answer):
            raise NotAllowed(self._otherwise)


def allow(
    predicate: Callable[[Context], bool | Awaitable[bool]], otherwise: str = "You may not do that here."
) -> Guard:
    """Admit whom ``predicate(ctx)``, plain or async, is true for; others are told ``otherwise``."""
    return Allow(predicate, otherwise)


def has_role(*roles: str) -> Guard:
    """Admit who has one of these roles in the room, as the server says."""

    async def has_one(context: Context) -> bool:
        return await context.role() in roles

    return Allow(has_one, f"Only for {' and '.join(roles)}.")


RANKS = ("guest", "bot", "member", "moderator", "owner", "admin")
"""Roles on the server and in a room, from the least to the most."""


def at_least(role: str) -> Guard:
    """Admit who has this role in the room, or more to say there: ``at_least("moderator")`` also admits the room's owner
    and the server's admins. The roles are ``guest``, ``bot``, ``member``, ``moderator``, ``owner`` and ``admin``."""
    if role not in RANKS:
        raise UsageError(f"there is no role {role!r}: {', '.join(RANKS)}")
    enough = RANKS[RANKS.index(role) :]

    async def has_enough(context: Context) -> bool:
        return await context.role() in enough

    return Allow(has_enough, f"Only for {role}s and whoever has more to say here.")


def is_owner() -> Guard:
    """Admit the bot's owner, as `Bot` was told; nobody if it has none."""
    return Allow(lambda context: context.bot.is_owner(context.user), "Only for the owner of this bot.")


class Cooldown(Guard):
    """Admits ``times`` in each stretch of ``seconds``, measured by Trio's clock."""

    def __init__(self, seconds: float, *, times: int, per: Scope) -> None:
        if seconds <= 0 or times < 1:
            raise UsageError("a cooldown lasts more than 0 seconds and admits at least once")
        self._seconds = seconds
        self._times = times
        self._per = per

    async def admit(self, context: Context) -> None:
        """Count this one, or refuse it."""
        now, key = trio.current_time(), context.key(self._per)
        admitted: dict[Hashable, list[float]] = context.of_this_run(self, dict)
        if len(admitted) > PRUNED_AT:
            for one in [one for one, times in admitted.items() if times[-1] <= now - self._seconds]:
                del admitted[one]
        recent = [time for time in admitted.get(key, ()) if time > now - self._seconds]
        if len(recent) >= self._times:
            wait = recent[0] + self._seconds - now
            raise NotAllowed(f"Not so fast: again in {_shown(wait)}.", retry_after=wait)
        admitted[key] = [*recent, now]


def cooldown(seconds: float, *, times: int = 1, per: Scope = "user") -> Guard:
    """Admit a command ``times`` per ``seconds``, counted ``per`` user, room, member (user in a room) or bot."""
    return Cooldown(seconds, times=times, per=per)


class AtMost(Guard):
    """Admits ``most`` handlers at a time."""

    def __init__(self, most: int, *, per: Scope) -> None:
        if most < 1:
            raise UsageError("at least one handler must be admitted")
        self._most = most
        self._per = per

    async def admit(self, context: Context) -> None:
        """Count this one in, or refuse it."""
        key = context.key(self._per)
        running: Counter[Hashable] = context.of_this_run(self, Counter)
        if running[key] >= self._most:
            raise NotAllowed("One moment: this is still running for somebody.")
        running[key] += 1

    def release(self, context: Context) -> None:
        """Count it out."""
        key = context.key(self._per)
        running: Counter[Hashable] = context.of_this_run(self, Counter)
        running[key] -= 1
        if not running[key]:
            del running[key]


def at_most(most: int, *, per: Scope = "bot") -> Guard:
    """Admit at most so many handlers at a time, counted ``per`` user, room, member or bot."""
    return AtMost(most, per=per)


def _shown(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


class Told:
    """Who has been told of a refusal: once, until it might be otherwise."""

    FOR = 60.0
    """Seconds for which a refusal without an end of its own is not repeated."""

    def __init__(self) -> None:
        self._until: dict[Hashable, float] = {}

    def tell(self, key: Hashable, refusal: NotAllowed) -> bool:
        """Say whether this refusal is to be told."""
        now = trio.current_time()
        if self._until.get(key, now) > now:
            return False
        if len(self._until) > PRUNED_AT:
            self._until = {one: until for one, until in self._until.items() if until > now}
        self._until[key] = now + (self.FOR if refusal.retry_after is None else refusal.retry_after)
        return True
