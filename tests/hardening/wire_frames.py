"""WebSocket frames as bytes, right and wrong ones, and a reader of frames. Knows nothing of chatkit."""

from __future__ import annotations

import os
from itertools import cycle

from attrs import define, field, frozen

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
CONTROL = 0x8


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bool = True,
    length: bytes | None = None,
) -> bytes:
    """Build a frame; ``length`` are the bytes behind the first that say it, when they are to be others than right."""
    head = bytes((0x80 * fin | rsv << 4 | opcode,))
    size = len(payload)
    if length is None:
        short = size if size < 126 else 126 if size < 65_536 else 127
        rest = b"" if size < 126 else size.to_bytes(2 if size < 65_536 else 8, "big")
        length = bytes((0x80 * mask | short,)) + rest
    if not mask:
        return head + length + payload
    key = os.urandom(4)
    return head + length + key + xor(payload, key)


def xor(payload: bytes, key: bytes) -> bytes:
    """Mask or unmask."""
    if len(payload) < 64:
        return bytes(byte ^ twist for byte, twist in zip(payload, cycle(key), strict=False))
    size = len(payload)
    stretched = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(stretched, "big")).to_bytes(size, "big")


def close(code: int | None = None, reason: bytes = b"", *, mask: bool = True) -> bytes:
    """Build a Close frame."""
    return frame(CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason, mask=mask)


def fragments(opcode: int, *pieces: bytes, mask: bool = True) -> list[bytes]:
    """Build the frames of one message."""
    last = len(pieces) - 1
    return [
        frame(opcode if number == 0 else CONTINUATION, piece, fin=number == last, mask=mask)
        for number, piece in enumerate(pieces)
    ]


@frozen
class Frame:
    """One frame as it came."""

    opcode: int
    payload: bytes
    fin: bool = True
    masked: bool = field(default=False, eq=False)

    @property
    def code(self) -> int | None:
        """The code of a Close frame."""
        return int.from_bytes(self.payload[:2], "big") if len(self.payload) >= 2 else None


@define(eq=False)
class FrameReader:
    """Cuts bytes into frames, and objects to any that the RFC forbids."""

    _data: bytearray = field(factory=bytearray)

    def feed(self, data: bytes) -> None:
        """Add bytes."""
        self._data += data

    def next_frame(self) -> Frame | None:
        """Return the next frame, if it is there whole."""
        data = self._data
        if len(data) < 2:
            return None
        assert not data[0] & 0x70, f"a reserved bit in {bytes(data[:10])!r}"
        opcode, fin, masked, size = data[0] & 0x0F, bool(data[0] & 0x80), bool(data[1] & 0x80), data[1] & 0x7F
        start = 2 + {126: 2, 127: 8}.get(size, 0)
        if len(data) < start:
            return None
        if size > 125:
            size = int.from_bytes(data[2:start], "big")
            assert size > (125 if start == 4 else 65_535), "a length in more bytes than it needs"
        assert opcode in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG), opcode
        assert not opcode & CONTROL or (fin and size <= 125), "a control frame that is too long or fragmented"
        key_end = start + 4 * masked
        if len(data) < key_end + size:
            return None
        payload = bytes(data[key_end : key_end + size])
        if masked:
            payload = xor(payload, bytes(data[start:key_end]))
        del data[: key_end + size]
        return Frame(opcode, payload, fin, masked)
