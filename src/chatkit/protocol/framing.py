"""Messages on a byte stream: lines (TCP) and unmasked WebSocket frames (server to client).

The law of `LineBuffer`: the messages it gives do not depend on how the bytes were cut into chunks, and no byte is
looked at more than twice.
"""

from __future__ import annotations

from collections import deque
from struct import Struct

from chatkit.errors import ProtocolError
from chatkit.protocol.codes import ErrorCode

TEXT = 0x1
BINARY = 0x2
_FIN = 0x80
_SHORT, _MIDDLE, _LONG = Struct("!BB").pack, Struct("!BBH").pack, Struct("!BBQ").pack


def line_frame(message: bytes) -> bytes:
    """Frame one encoded message as a line. JSON as chatkit writes it never holds a newline."""
    return message + b"\n"


def websocket_frame(opcode: int, payload: bytes) -> bytes:
    """Build one final, unmasked WebSocket frame, as a server sends it (RFC 6455, section 5.2)."""
    size = len(payload)
    if size < 126:
        return _SHORT(_FIN | opcode, size) + payload
    if size < 65_536:
        return _MIDDLE(_FIN | opcode, 126, size) + payload
    return _LONG(_FIN | opcode, 127, size) + payload


class LineBuffer:
    r"""Cuts a byte stream into lines of at most ``max_bytes``, their end (``\n`` or ``\r\n``) not counted.

    Blank lines are dropped. A line that grows past the bound makes `feed` raise `ProtocolError` with code
    ``too_large``; the stream cannot be followed after that. Lines completed before it are still to be had.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lines: deque[bytes] = deque()
        self._partial = bytearray()
        self._too_large = False

    def feed(self, data: bytes) -> None:
        """Add received bytes. Raises `ProtocolError` (``too_large``), now and on every later call."""
        if not self._too_large:
            *ended, rest = bytes(data).split(b"\n")
            for piece in ended:
                self._add(piece)
                if self._too_large:
                    break
                self._end_line()
            else:
                self._add(rest)
        if self._too_large:
            raise ProtocolError(f"a line is longer than {self._max_bytes} bytes", code=ErrorCode.TOO_LARGE)

    def next_line(self) -> bytes | None:
        """Return the next complete line, or None."""
        return self._lines.popleft() if self._lines else None

    @property
    def partial_bytes(self) -> int:
        """Bytes of the line that has not ended yet."""
        return len(self._partial)

    def _add(self, piece: bytes) -> None:
        self._partial += piece
        # One byte of grace: the carriage return of a line that is exactly as long as allowed.
        over = len(self._partial) - self._max_bytes
        self._too_large = over > 1 or (over == 1 and not self._partial.endswith(b"\r"))

    def _end_line(self) -> None:
        line = bytes(self._partial).removesuffix(b"\r")
        self._partial.clear()
        if line.strip():
            self._lines.append(line)
