"""Which events a listener is for: small conditions, put together with ``&``, ``|`` and ``~``.

::

    @bot.listen(in_room("general") & ~from_bots & matches(r"(\\d+)d(\\d+)"))
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from chatkit.bot.pattern import Match, Pattern
from chatkit.protocol.messages import Event

if TYPE_CHECKING:
    from chatkit.bot.incoming import Incoming


class Filter:
    """A condition on an event. Falsy: the listener is not for it. A `Match` is kept as ``ctx.match``."""

    def __init__(self, test: Callable[[Incoming], Any], name: str) -> None:
        self._test = test
        self._name = name

    def __repr__(self) -> str:
        return self._name

    def test(self, incoming: Incoming) -> Any:
        """Return whether, or how, the event fits."""
        return self._test(incoming)

    def __and__(self, other: Filter) -> Filter:
        return Filter(lambda incoming: self._both(other, incoming), f"{self} & {other}")

    def _both(self, other: Filter, incoming: Incoming) -> Any:
        first = self.test(incoming)
        second = first and other.test(incoming)
        return first if second and isinstance(first, Match) and not isinstance(second, Match) else second

    def __or__(self, other: Filter) -> Filter:
        return Filter(lambda incoming: self.test(incoming) or other.test(incoming), f"({self} | {other})")

    def __invert__(self) -> Filter:
        return Filter(lambda incoming: not self.test(incoming), f"~({self})")


everything = Filter(lambda _: True, "everything")
"""Every event."""
from_bots = Filter(lambda incoming: incoming.by_bot, "from_bots")
"""What bots say, for a bot that heeds them."""
is_reply = Filter(lambda incoming: getattr(incoming.event, "reply_to", None) is not None, "is_reply")
"""Messages that answer another one."""


def where(predicate: Callable[[Incoming], Any], name: str = "where(…)") -> Filter:
    """Events for which a function of one's own is true; it must be quick, and not fail."""
    return Filter(predicate, name)


def in_room(*names: str) -> Filter:
    """Events in one of these rooms."""
    wanted = {name.casefold() for name in names}
    return Filter(lambda incoming: (incoming.room or "").casefold() in wanted, f"in_room{names}")


def from_user(*names: str) -> Filter:
    """Events that one of these people caused."""
    wanted = {name.casefold() for name in names}
    return Filter(lambda incoming: (incoming.user or "").casefold() in wanted, f"from_user{names}")


def is_event(*kinds: type[Event]) -> Filter:
    """Events of one of these classes."""
    return Filter(lambda incoming: isinstance(incoming.event, kinds), f"is_event{kinds}")


def contains(*words: str) -> Filter:
    """Messages with one of these in them, in capitals or not."""
    wanted = [word.casefold() for word in words]
    return Filter(lambda incoming: any(word in incoming.text.casefold() for word in wanted), f"contains{words}")


def matches(pattern: str) -> Filter:
    """Messages in which a pattern is found; ``ctx.match[1]`` is what its first group took.

    The syntax is that of `re` without look-around and back-references; matching takes time linear in the text, looks
    at its first 4,096 characters, and cannot blow up. Raises `UsageError` for anything else.
    """
    compiled = Pattern(pattern)
    return Filter(lambda incoming: compiled.search(incoming.text), f"matches({pattern!r})")
