"""WebSocket on the wire, as little of it as a load generator needs: an upgrade, frames out, a walk over frames in."""

from __future__ import annotations

from collections.abc import Callable

TEXT = 0x81
PING = 0x89
PONG = 0x8A
CLOSE = 0x88
MASKED = 0x80
NO_MASK = b"\0\0\0\0"
"""A mask that changes nothing: as valid as any other, and the generator need not mask. The server unmasks all the
same."""
LIVENESS = bytes((PONG, MASKED)) + NO_MASK
"""An unasked-for pong: any byte tells a server that the link lives, so that no ping disturbs a measurement."""


def upgrade(host: str, path: str) -> bytes:
    """Return the request that asks for a WebSocket."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def client_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """Return a payload framed as a client frames it."""
    size = len(payload)
    if size < 126:
        head = bytes((opcode, MASKED | size))
    elif size < 65_536:
        head = bytes((opcode, MASKED | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((opcode, MASKED | 127)) + size.to_bytes(8, "big")
    return head + NO_MASK + payload


def server_frame_size(payload: int) -> int:
    """Return how many bytes a server's frame takes for a payload of that many."""
    return payload + (2 if payload < 126 else 4 if payload < 65_536 else 10)


class FrameWalk:
    """Cuts what arrives on one link into frames, and hands each to ``take(data, start, end)``; control frames go to
    ``control(opcode, payload)``."""

    __slots__ = ("_control", "_rest", "_take")

    def __init__(self, take: Callable[[bytes, int, int], None], control: Callable[[int, bytes], None]) -> None:
        self._rest = b""
        self._take = take
        self._control = control

    def feed(self, data: bytes) -> None:
        """Walk over the next bytes."""
        if self._rest:
            data = self._rest + data
        at, end = 0, len(data)
        while end - at >= 2:
            start, size = at + 2, data[at + 1]
            if size >= 126:
                start += 2 if size == 126 else 8
                if end < start:
                    break
                size = int.from_bytes(data[at + 2 : start], "big")
            after = start + size
            if after > end:
                break
            opcode = data[at]
            if opcode & 0x08:
                self._control(opcode, data[start:after])
            else:
                self._take(data, start, after)
            at = after
        self._rest = data[at:]

    def release(self) -> bytes:
        """Return what has arrived of a frame that is not complete yet, and forget it."""
        rest, self._rest = self._rest, b""
        return rest
