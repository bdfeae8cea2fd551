"""WebSocket frames (RFC 6455, section 5) as chatkit writes and counts them. No awaits, no clock.

A server's data frames are `chatkit.protocol.framing.websocket_frame`: unmasked, stateless, built once for everybody.
"""

from __future__ import annotations

import os
from typing import Final

from attrs import define, field

from chatkit.protocol.rates import Bucket, Rate
from chatkit.transport.closing import FLOODING, TOO_LARGE
from chatkit.transport.interface import TransportOptions

TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9

FIN: Final = 0x80
MASK: Final = 0x80
OPCODE: Final = 0x0F
CONTROL: Final = 0x08
REASON_BYTES: Final = 123
"""Of a Close frame: 125 less the code."""
LOCAL_CODES: Final = frozenset({1005, 1006, 1015})
"""Codes that never stand in a frame (section 7.4.1)."""


def masked_frame(opcode: int, payload: bytes) -> bytes:
    """Build one final frame as a client sends it, masked with a fresh key."""
    size = len(payload)
    if size < 126:
        head = bytes((FIN | opcode, MASK | size))
    elif size < 65_536:
        head = bytes((FIN | opcode, MASK | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((FIN | opcode, MASK | 127)) + size.to_bytes(8, "big")
    key = os.urandom(4)
    stretched = (key * (size // 4 + 1))[:size]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(stretched, "big")
    return head + key + masked.to_bytes(size, "big")


def close_payload(code: int, reason: str) -> bytes:
    """Return what a Close frame carries; a long reason is cut between characters."""
    code = code if 1000 <= code <= 4999 and code not in LOCAL_CODES else 1000
    cut = reason.encode("utf-8", "replace")[:REASON_BYTES].decode("utf-8", "ignore")
    return code.to_bytes(2, "big") + cut.encode()


@define(eq=False)
class FrameMeter:
    """Follows the headers of incoming frames, so that what is too much is known before it is read.

    It judges size in bytes, fragments and control frames; all else about frames is the WebSocket library's.
    """

    options: TransportOptions
    payload_bytes: int = field(default=0, init=False)
    """Bytes of data frames that came so far."""
    offence: tuple[int, str] | None = field(default=None, init=False)
    """The close code and the sentence, once something was too much."""

    _partial: bytes = field(default=b"", init=False)
    _left: int = field(default=0, init=False)
    """Payload bytes of the present frame still to come."""
    _is_data: bool = field(default=False, init=False)
    _message_bytes: int = field(default=0, init=False)
    _fragments: int = field(default=0, init=False)
    _spare: Bucket = field(init=False)
    """For control frames and fragments."""

    def __attrs_post_init__(self) -> None:
        self._spare = Bucket(Rate(self.options.spare_frames, self.options.spare_frames_per_second))

    def feed(self, data: bytes, now: float) -> int:
        """Follow ``data``; return how many of its bytes may be passed on: all, or those before the offending frame."""
        position, size = 0, len(data)
        while position < size:
            if self._left:
                step = min(self._left, size - position)
                position += step
                self._left -= step
                if self._is_data:
                    self.payload_bytes += step
                continue
            head = self._partial + data[position : position + 14]
            length = header_size(head)
            if length > len(head):
                self._partial = head
                return size
            self._judge(head, now)
            if self.offence is not None:
                return position
            position += length - len(self._partial)
            self._partial = b""
        return size

    def _judge(self, head: bytes, now: float) -> None:
        opcode, size = head[0] & OPCODE, payload_size(head)
        self._left = size
        self._is_data = not opcode & CONTROL
        whole = bool(head[0] & FIN) and opcode != 0
        if self._is_data:
            if opcode != 0:
                self._message_bytes = self._fragments = 0
            self._message_bytes += size
            self._fragments += 1
            if self._message_bytes > self.options.max_message_bytes:
                self.offence = TOO_LARGE, f"a message is longer than {self.options.max_message_bytes} bytes"
            elif self._fragments > self.options.max_fragments:
                self.offence = FLOODING, f"a message comes in more than {self.options.max_fragments} fragments"
        if not (self._is_data and whole) and self._spare.take(now) and self.offence is None:
            self.offence = FLOODING, "too many control frames and fragments"


def header_size(head: bytes) -> int:
    """Return how long the header that starts here is; 2 while that cannot be known."""
    if len(head) < 2:
        return 2
    size = head[1] & 0x7F
    return 2 + (2 if size == 126 else 8 if size == 127 else 0) + (4 if head[1] & MASK else 0)


def payload_size(head: bytes) -> int:
    """Return the payload size a complete header states."""
    size = head[1] & 0x7F
    if size == 126:
        return int.from_bytes(head[2:4], "big")
    if size == 127:
        return int.from_bytes(head[2:10], "big")
    return size
