"""What one session may ask for, and how fast: a bucket for each scope.

Laws: a request over its rate is refused with ``rate_limited``, the scope and when to try again, and changes nothing;
one who honours that loses nothing; one who does not is closed in the end, for refusing costs something too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from chatkit.engine import Refusal
from chatkit.protocol import messages as m
from chatkit.protocol.codes import ErrorCode
from chatkit.protocol.rates import Bucket, Rate

READS = (m.History, m.ListRooms, m.ListUsers, m.JoinRoom)


@frozen(kw_only=True)
class Rates:
    """How fast one session may go, by scope."""

    messages: Rate = Rate(burst=100, per_second=20)
    """Things said: far more than anybody types, enough for a lively bot."""
    bytes: Rate = Rate(burst=1_048_576, per_second=131_072)
    """Bytes of all requests."""
    reads: Rate = Rate(burst=100, per_second=20)
    """Pages of history and lists, so that catching up does not compete with talking."""
    requests: Rate = Rate(burst=50, per_second=10)
    """Everything else."""
    logins: Rate = Rate(burst=10, per_second=1)
    """Tries to log in on one link."""
    refusals: Rate = Rate(burst=500, per_second=50)
    """Requests refused for their rate; more of them end the link with 4429."""

    def announced(self) -> Mapping[str, int]:
        """Return the rates as a server's ``hello`` tells them."""
        scopes = {"messages": self.messages, "bytes": self.bytes, "reads": self.reads, "requests": self.requests}
        return {
            f"{scope}_{name}": int(value)
            for scope, rate in scopes.items()
            for name, value in (("burst", rate.burst), ("per_second", rate.per_second))
        }


class SessionLimits:
    """One session's buckets."""

    def __init__(self, rates: Rates) -> None:
        self._rates = rates
        self._buckets: dict[str, Bucket] = {}  # made when first needed: most people only listen

    def check(self, request: m.Request[Any], size: int, now: float) -> Refusal | None:
        """Count a request of ``size`` bytes; return why it is refused, or None."""
        scope = scope_of(request)
        wait = self._bucket("bytes").take(now, size)
        if wait:
            return _refused("bytes", wait)
        wait = self._bucket(scope).take(now)
        return _refused(scope, wait) if wait else None

    def flooding(self, now: float) -> bool:
        """Count a refusal; say whether there are so many that the link should end."""
        return self._bucket("refusals").take(now) > 0

    def _bucket(self, scope: str) -> Bucket:
        bucket = self._buckets.get(scope)
        if bucket is None:
            rate: Rate = getattr(self._rates, scope)
            bucket = self._buckets[scope] = Bucket(rate)
        return bucket


def scope_of(request: m.Request[Any]) -> str:
    """Return which rate a request counts against, besides the bytes."""
    if isinstance(request, m.SendMessage):
        return "messages"
    if isinstance(request, m.Login):
        return "logins"
    return "reads" if isinstance(request, READS) else "requests"


def _refused(scope: str, wait: float) -> Refusal:
    return Refusal(ErrorCode.RATE_LIMITED, f"too fast; try again in {wait:.1f} s", round(wait + 0.001, 3), scope)
