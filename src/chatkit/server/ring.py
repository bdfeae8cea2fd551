"""The newest events of every room, encoded: what readers who are a little behind are served from.

Where many fall behind at once, in a room where much is said in few moments, each of them would else read the log and
encode what it finds for itself: the more fall behind, the slower all become.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice

from chatkit.backend.records import Row
from chatkit.transport.interface import WireFormat


class Encoded:
    """A row and its framed bytes, made once per wire format when first asked for."""

    __slots__ = ("_frames", "row", "size")

    def __init__(self, row: Row) -> None:
        self.row = row
        self.size = row.size
        self._frames: dict[str, bytes] = {}

    def frame(self, wire: WireFormat, make: Callable[[Row, WireFormat], bytes]) -> bytes:
        """Return the row's bytes in a format."""
        framed = self._frames.get(wire.name)
        if framed is None:
            framed = self._frames[wire.name] = make(self.row, wire)
        return framed


class Ring:
    """Consecutive rows of one room up to the newest, bounded in number and bytes."""

    def __init__(self, rings: Rings) -> None:
        self.bytes = 0
        """What it holds."""
        self._rings = rings
        self._held: deque[Encoded] = deque()

    def extend(self, added: Iterable[Encoded]) -> None:
        """Add the next rows; the oldest make room for them."""
        held, before = self._held, self.bytes
        for encoded in added:
            held.append(encoded)
            self.bytes += encoded.size
        while len(held) > self._rings.events or (self.bytes > self._rings.size and held):
            self.bytes -= held.popleft().size
        self._rings.take_in(self, self.bytes - before)

    def after(self, seq: int) -> list[Encoded] | None:
        """Return everything held behind ``seq``; None if the next one is no longer (or not yet) held."""
        held = self._held
        if not held or not held[0].row.seq <= seq + 1 <= held[-1].row.seq:
            return None
        return list(islice(held, seq + 1 - held[0].row.seq, None))

    def clear(self) -> None:
        """Let go of everything."""
        self._held.clear()
        self._rings.let_go(self)
        self.bytes = 0


class Rings:
    """The rings of all rooms, bounded together: where there is no space for all, those go where nothing was said for
    the longest time."""

    def __init__(self, events: int, size: int, total: int) -> None:
        """Each ring holds at most so many events and bytes, all together at most ``total`` bytes."""
        self.events = events
        self.size = size
        self.bytes = 0
        """What all hold."""
        self._total = total
        self._in_use: dict[Ring, None] = {}
        """The one that was added to last is the last."""

    def open(self) -> Ring:
        """Return an empty ring."""
        return Ring(self)

    def take_in(self, ring: Ring, more: int) -> None:
        """A ring has been added to, and holds so many bytes more."""
        self.bytes += more
        self._in_use.pop(ring, None)
        self._in_use[ring] = None
        while self.bytes > self._total:
            next(iter(self._in_use)).clear()

    def let_go(self, ring: Ring) -> None:
        """A ring is being emptied."""
        if ring in self._in_use:
            del self._in_use[ring]
            self.bytes -= ring.bytes
