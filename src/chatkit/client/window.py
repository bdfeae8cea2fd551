"""The newest entries of one room's log, without a hole: what a client holds of it.

Laws: the seqs held are consecutive and end at the track's position; nothing is taken twice; a message is empty once
its removal is held; however large the entries are that a server sends, what is held stays within bounds. What is not
held is in the log.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import attrs
from attrs import evolve

from chatkit.protocol.messages import Entry, Event, ReceiveMessage
from chatkit.protocol.moderation import MessageDeleted
from chatkit.protocol.positions import Step, Track

ROOM_BYTES = 8_388_608
"""Entries of one room hold about this many bytes at most."""
ALL_BYTES = 67_108_864
"""Entries of all rooms hold about this many bytes at most."""
OVERHEAD_BYTES = 400
"""What an entry costs besides what was said."""


def seq_of(entry: Entry) -> int:
    """Return the entry's seq; 0 if it has none (the event is no durable one)."""
    event = entry.event
    seq = getattr(event, "seq", None)
    if seq is None:
        data = getattr(event, "data", None)
        seq = data.get("seq") if isinstance(data, dict) else None
    return seq if isinstance(seq, int) and not isinstance(seq, bool) else 0


def room_of(event: Event) -> str | None:
    """Return the name of the room an event happened in, if it says one."""
    name = getattr(event, "room", None)
    if name is None:
        data = getattr(event, "data", None)
        name = data.get("room") if isinstance(data, dict) else None
    return name if isinstance(name, str) else None


def size_of(event: Event) -> int:
    """Return about how many bytes of memory an event takes."""
    if isinstance(event, ReceiveMessage):
        said = event.text if event.binary is None else event.binary
        return OVERHEAD_BYTES + sys.getsizeof(said) + len(event.user) + len(event.op or "")
    return OVERHEAD_BYTES + _weigh(event)


def _weigh(value: Any) -> int:
    if isinstance(value, str | bytes):
        return sys.getsizeof(value)
    if isinstance(value, Mapping):
        return 64 + sum(_weigh(key) + _weigh(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return 64 + sum(map(_weigh, value))
    if attrs.has(type(value)):
        return 64 + sum(_weigh(getattr(value, attribute.name)) for attribute in attrs.fields(type(value)))
    return 32


def growing(entries: Iterable[Entry], after: int) -> list[Entry]:
    """Return those of a page's entries that lead on from behind a seq. A server that is right sends no others."""
    found = []
    for entry in entries:
        seq = seq_of(entry)
        if seq > after:
            found.append(entry)
            after = seq
    return found


def emptied(entry: Entry) -> Entry:
    """Return a message as it is once it has been removed; an entry of another kind as it is."""
    if not isinstance(entry.event, ReceiveMessage):
        return entry
    return evolve(entry, event=evolve(entry.event, text=None, binary=None, deleted=True))


class Allowance:
    """Bytes that several windows may hold together."""

    def __init__(self, most: int = ALL_BYTES) -> None:
        self.most = most
        self.held = 0


class Window:
    """Consecutive entries up to the position, at most ``keep`` of them."""

    def __init__(self, epoch: str, seq: int, keep: int = 1000, allowance: Allowance | None = None) -> None:
        self.track = Track(epoch, seq)
        self._keep = keep
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        self._allowance = allowance or Allowance()

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
            self._clear()
            self.track.reset(self.track.epoch, seq)
        if step is not Step.SKIP:
            self._entries.append(entry)
            self._count(size_of(entry.event))
            if isinstance(entry.event, MessageDeleted):
                self._empty(entry.event.about)
            while self._entries and self._is_too_much():
                self._count(-size_of(self._entries.popleft().event))
        return step

    def prepend(self, entries: Sequence[Entry]) -> None:
        """Put older entries in front, as far as they join on and as there is space."""
        removed = {entry.event.about for entry in self._entries if isinstance(entry.event, MessageDeleted)}
        for entry in reversed(entries):
            if seq_of(entry) != self.first - 1:
                continue
            if isinstance(entry.event, MessageDeleted):
                removed.add(entry.event.about)
                self._empty(entry.event.about)
            if seq_of(entry) in removed:
                entry = emptied(entry)
            self._entries.appendleft(entry)
            self._count(size_of(entry.event))
            if self._is_too_much():
                self._count(-size_of(self._entries.popleft().event))
                return

    def after(self, seq: int) -> Entry | None:
        """Return the entry behind a seq, if it is held."""
        index = seq + 1 - self.first
        return next(islice(self._entries, index, None)) if 0 <= index < len(self._entries) else None

    def _empty(self, seq: int) -> None:
        index = seq - self.first
        if 0 <= index < len(self._entries):
            was = self._entries[index]
            self._entries[index] = now = emptied(was)
            self._count(size_of(now.event) - size_of(was.event))

    def reset(self, epoch: str, seq: int) -> None:
        """Start again at a position of a log, holding nothing."""
        self._clear()
        self.track.reset(epoch, seq)

    def release(self) -> None:
        """Hold on to what there is for whoever still reads it, but count it no longer: the room is gone."""
        self._allowance.held -= self._bytes
        self._allowance = Allowance()
        self._allowance.held = self._bytes

    def _is_too_much(self) -> bool:
        allowance = self._allowance
        return len(self._entries) > self._keep or self._bytes > ROOM_BYTES or allowance.held > allowance.most

    def _count(self, size: int) -> None:
        self._bytes += size
        self._allowance.held += size

    def _clear(self) -> None:
        self._entries.clear()
        self._count(-self._bytes)
