"""Following a room: which event is next, which is known already, which shows that something is missing.

The law: a track only grows within an epoch; an event is taken if and only if its seq is one past the position.
Replayed and live events may arrive in any mixture, and each seq is taken once.
"""

from __future__ import annotations

from enum import Enum

from attrs import define, frozen

from chatkit.protocol.bounds import Seq


@frozen(order=True)
class Position:
    """A place in one log: everything up to ``seq`` of the log named ``epoch`` has been seen. ``seq`` 0 is before the
    first. Positions of different epochs do not compare in a useful way; check ``epoch`` first."""

    epoch: str
    seq: Seq


class Step(Enum):
    """What to do with an event: TAKE the next one, SKIP one that is known, stop at a GAP and fetch what is missing."""

    TAKE = "take"
    SKIP = "skip"
    GAP = "gap"


@define
class Track:
    """A reader's position in one log."""

    epoch: str
    seq: int = 0

    @property
    def position(self) -> Position:
        """Where the reader is."""
        return Position(self.epoch, self.seq)

    def step(self, seq: int) -> Step:
        """Look at an event's seq; a TAKE advances the position."""
        if seq == self.seq + 1:
            self.seq = seq
            return Step.TAKE
        return Step.SKIP if seq <= self.seq else Step.GAP

    def reset(self, epoch: str, seq: int) -> None:
        """Start again somewhere: the log is another one, or what was missing is no longer kept."""
        self.epoch = epoch
        self.seq = seq
