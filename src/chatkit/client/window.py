"""The newest entries of one room's log, without a hole: what a client holds of it.

Laws: the seqs held are consecutive and end at the track's position; nothing is taken twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice

from chatkit.protocol.messages import Entry
from chatkit.protocol.positions import Step, Track


def seq_of(entry: Entry) -> int:
    """Return the entry's seq; 0 if it has none (the event is no durable one)."""
    event = entry.event
    seq = getattr(event, "seq", None)
    if seq is None:
        data = getattr(event, "data", None)
        seq = data.get("seq") if isinstance(data, dict) else None
    return seq if isinstance(seq, int) and not isinstance(seq, bool) else 0


class Window:
    """Consecutive entries up to the position, at most ``keep`` of them."""

    def __init__(self, epoch: str, seq: int, keep: int = 1000) -> None:
        self.track = Track(epoch, seq)
        self._entries: deque[Entry] = deque(maxlen=keep)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def entries(self) -> Sequence[Entry]:
        """What is held, oldest first."""
        return self._entries

    @property
    def first(self) -> int:
        """The seq of the oldest entry held, or of the next one to come."""
        return self.track.seq - len(self._entries) + 1

    def take(self, entry: Entry) -> Step:
        """Take the next entry. At a gap the window starts anew with this entry: what is missing is in the log."""
        seq = seq_of(entry)
        step = self.track.step(seq)
        if step is Step.GAP:
            self._entries.clear()
            self.track.reset(self.track.epoch, seq)
        if step is not Step.SKIP:
            self._entries.append(entry)
        return step

    def prepend(self, entries: Sequence[Entry]) -> None:
        """Put older entries in front, as far as they join on and as there is space."""
        for entry in reversed(entries):
            if len(self._entries) == self._entries.maxlen:
                return
            if seq_of(entry) == self.first - 1:
                self._entries.appendleft(entry)

    def after(self, seq: int) -> Entry | None:
        """Return the entry behind a seq, if it is held."""
        index = seq + 1 - self.first
        return next(islice(self._entries, index, None)) if 0 <= index < len(self._entries) else None

    def reset(self, epoch: str, seq: int) -> None:
        """Start again at a position of a log, holding nothing."""
        self._entries.clear()
        self.track.reset(epoch, seq)
