"""How long to wait before the next try to connect."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from attrs import frozen

from chatkit.errors import UsageError


@frozen(kw_only=True)
class Backoff:
    """Exponential backoff with full jitter; times in seconds.

    The first try comes within ``first`` seconds, so that a short interruption is over before others are told that one
    left; each further one within ``factor`` times the time before, at most ``most``. After ``attempts`` tries in a
    row that failed (None: never) the client gives up.
    """

    first: float = 0.5
    factor: float = 2.0
    most: float = 30.0
    attempts: int | None = None

    def __attrs_post_init__(self) -> None:
        if (
            self.first <= 0
            or self.factor < 1
            or self.most < self.first
            or (self.attempts is not None and self.attempts < 1)
        ):
            raise UsageError(f"{self}: first and attempts are more than 0, factor at least 1, most at least first")

    def delays(self, random: Callable[[], float]) -> Iterator[float]:
        """Give the waits before the tries, one after the other; ``random`` gives numbers from 0 to 1."""
        bound, tried = self.first, 0
        while self.attempts is None or tried < self.attempts:
            yield bound * random()
            bound = min(bound * self.factor, self.most)
            tried += 1
