"""WebSocket frames as they come in (RFC 6455): bytes to messages, pings and the peer's Close. No awaits, no clock.

Laws: what comes out does not depend on how the bytes were cut. What is too much, or no WebSocket, is known from the
earliest byte that shows it; whatever stands behind that, or behind a Close, is not looked at. No more than
`QUEUED_MESSAGES` are taken apart ahead of whoever takes them; the rest stays bytes.
"""

from __future__ import annotations

import codecs
from typing import Final

from attrs import define, field

from chatkit.protocol.rates import Bucket, Rate
from chatkit.transport.closing import FLOODING, NO_CODE, NOT_UTF8, PROTOCOL_ERROR, TOO_LARGE
from chatkit.transport.frames import (
    BINARY,
    CLOSE,
    CONTROL,
    CONTROL_BYTES,
    FIN,
    LOCAL_CODES,
    MASK,
    OPCODE,
    PING,
    RESERVED,
    TEXT,
    header_size,
    payload_size,
    xored,
)
from chatkit.transport.interface import TransportOptions

QUEUED_MESSAGES: Final = 64
"""Messages taken apart ahead of whoever takes them: a message has its price in memory however short it is."""
WHOLE_TEXT: Final = FIN | TEXT
WHOLE_BINARY: Final = FIN | BINARY
HEADER_BYTES: Final = 14
KNOWN_OPCODES: Final = frozenset({0x0, 0x1, 0x2, 0x8, 0x9, 0xA})
KNOWN_CODES: Final = frozenset({*range(1000, 1004), *range(1007, 1014)})
"""Of the codes below 3000, those a Close may carry (section 7.4, and the registry it founds)."""

Message = tuple[int, bytes]
"""The opcode, which is TEXT or BINARY, and the bytes; those of a text are UTF-8."""


class Fault(Exception):
    """The peer did what ends the link: with this code, and this sentence."""

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


@define(eq=False)
class Inbound:
    """What one peer has sent, and how far it is taken apart."""

    options: TransportOptions
    masked: bool
    """The peer is a client, which masks; a server must not."""

    messages: list[Message] = field(factory=list, init=False)
    """To be taken from the front with `take`."""
    pings: list[bytes] = field(factory=list, init=False)
    """What pings carried that are to be answered; whoever answers empties it."""
    waiting_bytes: int = field(default=0, init=False)
    """Bytes of `messages`."""
    closed: tuple[int, str] | None = field(default=None, init=False)
    """The code and the reason of the peer's Close."""
    farewell: bytes = field(default=b"", init=False)
    """The payload of that Close, which is also the answer to it."""
    fault: tuple[int, str] | None = field(default=None, init=False)
    """Why the link has to end: a close code and a sentence."""
    over: bool = field(default=False, init=False)
    """A Close came, or a fault: nothing more is looked at."""

    _data: bytes = field(default=b"", init=False)
    _at: int = field(default=0, init=False)
    """Where in ``_data`` the next frame, or the rest of the present one, begins."""
    _now: float = field(default=0.0, init=False)
    _head: bytes = field(default=b"", init=False)
    """A header that has begun."""
    _within: bool = field(default=False, init=False)
    """The header of the present frame is complete, its payload is not."""
    _first: int = field(default=0, init=False)
    """The present frame's first byte."""
    _left: int = field(default=0, init=False)
    """Payload bytes of the present frame still to come."""
    _key: bytes = field(default=b"", init=False)
    """Its mask, turned so that it fits the next byte."""
    _control: bytes = field(default=b"", init=False)
    """The payload so far of a control frame."""
    _kind: int = field(default=0, init=False)
    """The opcode of the message that comes in several frames or reads; 0: none does."""
    _parts: list[bytes] | None = field(default=None, init=False)
    _text: codecs.IncrementalDecoder | None = field(default=None, init=False)
    """Follows a text that comes in parts, to know at once when it is none."""
    _message_bytes: int = field(default=0, init=False)
    _fragments: int = field(default=0, init=False)
    _spare: Bucket | None = field(default=None, init=False)
    """For control frames and fragments."""

    def feed(self, data: bytes, now: float) -> None:
        """Add received bytes and take apart what may be; ``now`` is what the budgets go by."""
        self._now = now
        if not self.over:
            self._data, self._at = self._data[self._at :] + data, 0
            self.go_on()

    @property
    def backlog(self) -> bool:
        """Whether bytes are left because enough messages wait: `go_on` when some are taken."""
        return bool(self._data)

    def take(self) -> Message:
        """Take the oldest message out."""
        message = self.messages.pop(0)
        self.waiting_bytes -= len(message[1])
        return message

    def forget(self) -> None:
        """Throw away the messages that wait."""
        self.messages.clear()
        self.waiting_bytes = 0

    def go_on(self) -> None:
        """Take apart what is left."""
        data, at, size, messages = self._data, self._at, len(self._data), self.messages
        try:
            while at < size and len(messages) < QUEUED_MESSAGES and not self.over:
                at = self._whole(data, at, size) or self._piece(data, at, size)
        except Fault as fault:
            self.fault = fault.code, fault.sentence
            self.over = True
        if at >= size or self.over:
            self._data, self._at = b"", 0
        else:
            self._at = at

    def _whole(self, data: bytes, at: int, size: int) -> int:
        """Take the frame that nearly all are: a message of its own, all there. Return where it ends; 0 if it is
        another, which `_piece` then judges."""
        first = data[at]
        if (first != WHOLE_TEXT and first != WHOLE_BINARY) or self._kind or self._within or self._head or size < at + 4:
            return 0
        length, start = data[at + 1], at + 2
        if self.masked:
            length ^= MASK
            start += 4
        if length == 126:
            length = data[at + 2] << 8 | data[at + 3]
            start += 2
            if length < 126:
                return 0
        elif length > 126:
            return 0
        end = start + length
        if end > size or length > self.options.max_message_bytes:
            return 0
        payload = data[start:end]
        if self.masked:
            payload = xored(payload, data[start - 4 : start])
        if first == WHOLE_TEXT and not payload.isascii():
            try:
                payload.decode()
            except UnicodeDecodeError as error:
                raise _no_text() from error
        self.messages.append((first & OPCODE, payload))
        self.waiting_bytes += length
        return end

    def _piece(self, data: bytes, at: int, size: int) -> int:
        """Follow the next header or payload as far as it goes; return how far."""
        if not self._within:
            head = self._head + data[at : at + HEADER_BYTES - len(self._head)]
            if len(head) >= 2:
                self._judge_start(head)
            length = header_size(head)
            if length > len(head):
                self._head = head
                return size
            at += length - len(self._head)
            self._head = b""
            self._begin(head[:length])
            if self._left:
                return at
        step = min(self._left, size - at)
        self._left -= step
        self._payload(data[at : at + step])
        return at + step

    def _judge_start(self, head: bytes) -> None:
        """Judge a header by its first two bytes."""
        first, second = head[0], head[1]
        opcode = first & OPCODE
        if first & RESERVED:
            raise Fault(PROTOCOL_ERROR, "a reserved bit is set")
        if opcode not in KNOWN_OPCODES:
            raise Fault(PROTOCOL_ERROR, f"there is no opcode {opcode}")
        if bool(second & MASK) is not self.masked:
            raise Fault(PROTOCOL_ERROR, "a client masks its frames" if self.masked else "a server masks no frame")
        if opcode & CONTROL:
            if not first & FIN:
                raise Fault(PROTOCOL_ERROR, "a control frame comes in fragments")
            if second & ~MASK > CONTROL_BYTES:
                raise Fault(PROTOCOL_ERROR, f"a control frame holds more than {CONTROL_BYTES} bytes")
        elif opcode and self._kind:
            raise Fault(PROTOCOL_ERROR, "a message begins within another")
        elif not opcode and not self._kind:
            raise Fault(PROTOCOL_ERROR, "there is nothing to continue")

    def _begin(self, head: bytes) -> None:
        first, size = head[0], payload_size(head)
        self._within, self._first, self._left = True, first, size
        self._key = head[-4:] if self.masked else b""
        is_data, opcode = not first & CONTROL, first & OPCODE
        if is_data:
            self._begin_data(opcode, size)
        if (not is_data or not opcode or not first & FIN) and self._spend():
            raise Fault(FLOODING, "too many control frames and fragments")
        stated = len(head) - (4 if self.masked else 0)
        if (stated == 4 and size < 126) or (stated == 10 and (size < 65_536 or size >> 63)):
            raise Fault(PROTOCOL_ERROR, "a length is stated in the wrong way")

    def _begin_data(self, opcode: int, size: int) -> None:
        if opcode:
            self._kind = opcode
            self._parts = []
            self._message_bytes = self._fragments = 0
            self._text = codecs.getincrementaldecoder("utf-8")() if opcode == TEXT else None
        self._message_bytes += size
        self._fragments += 1
        if self._message_bytes > self.options.max_message_bytes:
            raise Fault(TOO_LARGE, f"a message is longer than {self.options.max_message_bytes} bytes")
        if self._fragments > self.options.max_fragments:
            raise Fault(FLOODING, f"a message comes in more than {self.options.max_fragments} fragments")

    def _spend(self) -> bool:
        if self._spare is None:
            self._spare = Bucket(Rate(self.options.spare_frames, self.options.spare_frames_per_second))
        return self._spare.take(self._now) > 0

    def _payload(self, piece: bytes) -> None:
        if self.masked and piece:
            piece, turn = xored(piece, self._key), len(piece) % 4
            self._key = self._key[turn:] + self._key[:turn]
        done = not self._left
        self._within = not done
        if self._first & CONTROL:
            self._control += piece
            if done:
                payload, self._control = self._control, b""
                self._obey(self._first & OPCODE, payload)
            return
        assert self._parts is not None
        self._parts.append(piece)
        ended = done and bool(self._first & FIN)
        if self._text is not None:
            try:
                self._text.decode(piece, ended)
            except UnicodeDecodeError as error:
                raise _no_text() from error
        if ended:
            payload = b"".join(self._parts)
            self.messages.append((self._kind, payload))
            self.waiting_bytes += len(payload)
            self._kind, self._parts, self._text = 0, None, None

    def _obey(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self.pings.append(payload)
        elif opcode == CLOSE:
            self.closed = _parting(payload)
            self.farewell = payload
            self.over = True


def _parting(payload: bytes) -> tuple[int, str]:
    """Return the code and the reason a Close carries."""
    if not payload:
        return NO_CODE, ""
    code = int.from_bytes(payload[:2], "big")
    if len(payload) < 2 or code in LOCAL_CODES or not (code in KNOWN_CODES or 3000 <= code <= 4999):
        raise Fault(PROTOCOL_ERROR, "a Close has a code that stands for nothing")
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError as error:
        raise Fault(NOT_UTF8, "the reason of a Close is not UTF-8") from error


def _no_text() -> Fault:
    return Fault(NOT_UTF8, "a text is not UTF-8")
