"""The newest events of one room, encoded: what a reader who is a little behind is served from."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice

from chatkit.backend.records import Row
from chatkit.transport.interface import WireFormat


class Encoded:
    """A row and its framed bytes, made once per wire format when first asked for."""

    __slots__ = ("_frames", "row")

    def __init__(self, row: Row) -> None:
        self.row = row
        self._frames: dict[str, bytes] = {}

    def frame(self, wire: WireFormat, make: Callable[[Row, WireFormat], bytes]) -> bytes:
        """Return the row's bytes in a format."""
        framed = self._frames.get(wire.name)
        if framed is None:
            framed = self._frames[wire.name] = make(self.row, wire)
        return framed


class Ring:
    """Consecutive rows up to the newest, bounded in number and bytes."""

    def __init__(self, events: int, size: int) -> None:
        self._events = events
        self._size = size
        self._held: deque[Encoded] = deque()
        self._bytes = 0

    def extend(self, added: Iterable[Encoded]) -> None:
        """Add the next rows; the oldest make room for them."""
        held = self._held
        for encoded in added:
            held.append(encoded)
            self._bytes += encoded.row.size
        while len(held) > self._events or (self._bytes > self._size and held):
            self._bytes -= held.popleft().row.size

    def after(self, seq: int) -> list[Encoded] | None:
        """Return everything held behind ``seq``; None if the next one is no longer (or not yet) held."""
        held = self._held
        if not held or not held[0].row.seq <= seq + 1 <= held[-1].row.seq:
            return None
        return list(islice(held, seq + 1 - held[0].row.seq, None))

    def clear(self) -> None:
        """Let go of everything."""
        self._held.clear()
        self._bytes = 0
