"""How far a bot has got in a room's log: everything up to a position, and what lies beyond that is done already.

Laws: what is done stays done; the position rises only over what is done; the size is that of the holes, not of the
distance. A long conversation holds the position back without anything being forgotten or done twice.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from chatkit.client import Position


class Progress:
    """Which seqs of one log are done: all up to ``seq``, and those in ``ahead``, as ``[first, last]``."""

    __slots__ = ("_ahead", "epoch", "seq")

    def __init__(self, epoch: str, seq: int, ahead: Iterable[tuple[int, int]] = ()) -> None:
        self.epoch = epoch
        self.seq = seq
        self._ahead = [(first, last) for first, last in ahead]

    def __repr__(self) -> str:
        return f"Progress({self.epoch!r}, {self.seq}, {self._ahead})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Progress):
            return NotImplemented
        return (self.epoch, self.seq, self._ahead) == (other.epoch, other.seq, other._ahead)

    __hash__ = None  # type: ignore[assignment]  # it changes

    @property
    def position(self) -> Position:
        """Everything up to here is done."""
        return Position(self.epoch, self.seq)

    @property
    def ahead(self) -> tuple[tuple[int, int], ...]:
        """What is done beyond the position, as first and last seq of each stretch."""
        return tuple(self._ahead)

    def is_done(self, seq: int) -> bool:
        """Whether an entry has been dealt with."""
        if seq <= self.seq:
            return True
        index = bisect_right(self._ahead, (seq, 1 << 62)) - 1
        return index >= 0 and self._ahead[index][1] >= seq

    def done(self, seq: int) -> None:
        """An entry has been dealt with. Saying so again changes nothing."""
        if self.is_done(seq):
            return
        ahead = self._ahead
        index = bisect_right(ahead, (seq, 0))
        first = last = seq
        if index < len(ahead) and ahead[index][0] == seq + 1:
            last = ahead.pop(index)[1]
        if index and ahead[index - 1][1] == seq - 1:
            index -= 1
            first = ahead.pop(index)[0]
        if first == self.seq + 1:
            self.seq = last
        else:
            ahead.insert(index, (first, last))

    def copy(self) -> Progress:
        """Return how it stands now."""
        return Progress(self.epoch, self.seq, self._ahead)
