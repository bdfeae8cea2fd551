"""A session's replies, in the order of its requests, however their commits end."""

from __future__ import annotations

from collections import deque
from typing import Any

from chatkit.protocol.codec import Ref


class Slot:
    """The place of one reply in the order; empty until the answer is known."""

    __slots__ = ("blob", "ref")

    def __init__(self, ref: Ref) -> None:
        self.ref = ref
        self.blob: bytes | None = None


NOTHING: deque[Any] = deque()
"""In place of an empty queue: an idle session has none of its own."""


class ReplyQueue:
    """Gives replies out from the front as soon as everything before them is there."""

    def __init__(self) -> None:
        self._slots: deque[Slot] = NOTHING

    def __len__(self) -> int:
        return len(self._slots)

    def reserve(self, ref: Ref) -> Slot:
        """Take the next place."""
        slot = Slot(ref)
        if self._slots is NOTHING:
            self._slots = deque()
        self._slots.append(slot)
        return slot

    def ready(self) -> bytes:
        """Take out, joined, every reply that may be sent now."""
        slots = self._slots
        blobs: list[bytes] = []
        while slots and slots[0].blob is not None:
            blobs.append(slots.popleft().blob or b"")
        if not slots:
            self._slots = NOTHING
        return b"".join(blobs)
