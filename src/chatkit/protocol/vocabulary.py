"""Which actions there are: the standard ones, and an embedding program's own beside them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import attrs
from attrs import frozen

from chatkit.errors import UsageError
from chatkit.protocol import accounts, messages, moderation
from chatkit.protocol.messages import Event, Request
from chatkit.protocol.shapes import check_shape

RequestType: TypeAlias = type[Request[Any]]
EventType: TypeAlias = type[Event]

RESERVED = frozenset(
    {"success", "error"}
    | {"edit_message", "react", "typing", "mark_read", "set_presence", "search", "upload", "download"}
)
_ACTION = re.compile(r"[a-z][a-z0-9_.]{0,63}", re.ASCII)


@frozen
class Vocabulary:
    """Request and event classes by action."""

    requests: Mapping[str, RequestType]
    events: Mapping[str, EventType]

    def including(self, requests: Iterable[RequestType] = (), events: Iterable[EventType] = ()) -> Vocabulary:
        """Return a vocabulary with further attrs classes in it.

        A request inherits ``Request[Reply]``, an event `Event`. Their fields, and the reply's, are of the types that
        `check_shape` names; an event cannot hold other events.

        Raises `UsageError` for a class that is no such attrs class, has no ``action`` of its own, or whose action is
        malformed (lower-case letters, digits, ``_`` and ``.``, at most 64), taken or reserved.
        """
        all_requests = _with(self.requests, requests, self.events, Request)
        return Vocabulary(all_requests, _with(self.events, events, all_requests, Event))


def _with(known: Mapping[str, Any], added: Iterable[Any], others: Mapping[str, Any], base: type[Any]) -> dict[str, Any]:
    result = dict(known)
    for cls in added:
        if not isinstance(cls, type) or not issubclass(cls, base) or not attrs.has(cls):
            raise UsageError(f"{getattr(cls, '__name__', cls)} must be an attrs class that inherits {base.__name__}")
        action = getattr(cls, "action", None)
        if not isinstance(action, str):
            raise UsageError(f"{cls.__name__} must have an 'action', its name on the wire")
        if not _ACTION.fullmatch(action):
            raise UsageError(f"{cls.__name__}.action {action!r} must be lower-case letters, digits, '_' and '.'")
        if action in result or action in others or action in RESERVED:
            raise UsageError(f"{cls.__name__}.action {action!r} is taken")
        check_shape(cls)
        if base is Request:
            reply = getattr(cls, "reply", None)
            if not isinstance(reply, type) or not attrs.has(reply):
                raise UsageError(f"{cls.__name__} must name its reply: class {cls.__name__}(Request[SomeAttrsClass])")
            check_shape(reply)
        result[action] = cls
    return result


def _of(base: type[Any]) -> dict[str, Any]:
    named = (value for module in (messages, accounts, moderation) for value in vars(module).values())
    found: Iterable[Any] = (value for value in named if isinstance(value, type) and issubclass(value, base))
    return {cls.action: cls for cls in found if isinstance(getattr(cls, "action", None), str)}


STANDARD = Vocabulary(_of(Request), _of(Event))
"""The actions of protocol version 1."""
