"""Rates as a server announces and enforces them, and a client keeps to them: token buckets. Pure; time is an argument.

A burst may come at once, then a steady rate. A server announces each as ``NAME_burst`` and ``NAME_per_second`` in the
limits of its ``hello``.
"""

from __future__ import annotations

import math

from attrs import define, frozen

from chatkit.errors import UsageError


@frozen
class Rate:
    """What is allowed: ``burst`` at once, and ``per_second`` from then on."""

    burst: float
    """How much at once."""
    per_second: float
    """How much more each second."""

    def __attrs_post_init__(self) -> None:
        if not (1 <= self.burst < math.inf and 0 < self.per_second < math.inf):
            raise UsageError(f"{self}: a burst is at least 1, and per_second more than 0")


@define(eq=False)
class Bucket:
    """One who is limited by a rate. ``full_at`` is when everything that was taken will have been made good."""

    rate: Rate
    full_at: float = 0.0

    def take(self, now: float, amount: float = 1.0) -> float:
        """Take an amount and return 0, or take nothing and return the seconds after which it can be taken.

        An amount larger than the burst counts as the burst, so that it can be taken at all.
        """
        rate = self.rate
        cost = min(amount, rate.burst) / rate.per_second
        full_at = max(self.full_at, now) + cost
        wait = full_at - now - rate.burst / rate.per_second
        if wait > 1e-9:
            return wait
        self.full_at = full_at
        return 0.0
