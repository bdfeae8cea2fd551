"""WebSocket frames (RFC 6455, section 5) as chatkit writes them. No awaits, no clock.

A server's data frames are `chatkit.protocol.framing.websocket_frame`: unmasked, stateless, built once for everybody.
"""

from __future__ import annotations

import os
from typing import Final

TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

FIN: Final = 0x80
MASK: Final = 0x80
RESERVED: Final = 0x70
OPCODE: Final = 0x0F
CONTROL: Final = 0x08
CONTROL_BYTES: Final = 125
"""Of a control frame's payload."""
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
    return head + key + xored(payload, key)


def xored(payload: bytes, key: bytes) -> bytes:
    """Mask a payload, or take its mask off (section 5.3)."""
    size = len(payload)
    # As two large numbers: byte by byte Python would take a hundred times as long.
    stretched = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(stretched, "little")).to_bytes(size, "little")


def close_payload(code: int, reason: str) -> bytes:
    """Return what a Close frame carries; a long reason is cut between characters."""
    code = code if 1000 <= code <= 4999 and code not in LOCAL_CODES else 1000
    cut = reason.encode("utf-8", "replace")[:REASON_BYTES].decode("utf-8", "ignore")
    return code.to_bytes(2, "big") + cut.encode()


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
