"""What RFC 6455 asks of an endpoint that echoes, case by case, in the order and numbering of the usual suites."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from attrs import frozen
from wire_frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close, fragments, frame

PROTOCOL_ERROR, NOT_UTF8 = 1002, 1007
Heard = tuple[int, bytes]

VALID_CODES = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4999)
INVALID_CODES = (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)

VALID_UTF8 = (
    b"",
    b"Hello-\xc2\xb5@\xc3\x9f\xc3\xb6\xc3\xa4\xc3\xbc\xc3\xa0\xc3\xa1-UTF-8!!",
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5",  # a word in Greek
    b"hello\x24world",
    b"hello\xc2\xa2world",
    b"hello\xe2\x82\xacworld",
    b"hello\xf0\xa4\xad\xa2world",
    b"\x00",
    b"\x7f",
    b"\xc2\x80",
    b"\xdf\xbf",
    b"\xe0\xa0\x80",
    b"\xed\x9f\xbf",
    b"\xee\x80\x80",
    b"\xef\xbf\xbd",
    b"\xef\xbf\xb9",
    b"\xef\xbf\xba",
    b"\xef\xbf\xbb",
    b"\xef\xbf\xbc",
    b"\xf0\x90\x80\x80",
    *(chr(plane * 65_536 + last).encode() for plane in range(17) for last in (0xFFFE, 0xFFFF)),
)
"""The last two of each plane are no characters, and UTF-8 all the same."""

CUT_SHORT = (
    *(b"\xc0", b"\xe0\x80", b"\xf0\x80\x80", b"\xf8\x80\x80\x80", b"\xfc\x80\x80\x80\x80"),
    *(b"\xdf", b"\xef\xbf", b"\xf7\xbf\xbf", b"\xfb\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf"),
)
SURROGATES = tuple(
    chr(code).encode(errors="surrogatepass") for code in (0xD800, 0xDB7F, 0xDB80, 0xDBFF, 0xDC00, 0xDFFF)
)
INVALID_UTF8 = (
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",  # a surrogate
    b"\xf8\x88\x80\x80\x80",  # five bytes
    b"\xfc\x84\x80\x80\x80\x80",  # six
    b"\xf7\xbf\xbf\xbf",
    b"\xfb\xbf\xbf\xbf\xbf",
    b"\xfd\xbf\xbf\xbf\xbf\xbf",
    b"\xf4\x90\x80\x80",  # past U+10FFFF
    *((b"\x80\xbf" * 4)[:size] for size in range(1, 8)),
    b"\xbf",
    bytes(range(0x80, 0xBF)),
    *(b"".join(b"%c " % start for start in range(*block)) for block in pairwise((0xC0, 0xE0, 0xF0, 0xF8, 0xFC, 0xFE))),
    *CUT_SHORT,
    b"".join(CUT_SHORT),
    b"\xfe",
    b"\xff",
    b"\xfe\xfe\xff\xff",
    b"\xc0\xaf",  # overlong
    b"\xe0\x80\xaf",
    b"\xf0\x80\x80\xaf",
    b"\xf8\x80\x80\x80\xaf",
    b"\xfc\x80\x80\x80\x80\xaf",
    b"\xc1\xbf",
    b"\xe0\x9f\xbf",
    b"\xf0\x8f\xbf\xbf",
    b"\xf8\x87\xbf\xbf\xbf",
    b"\xfc\x83\xbf\xbf\xbf\xbf",
    b"\xc0\x80",
    b"\xe0\x80\x80",
    b"\xf0\x80\x80\x80",
    b"\xf8\x80\x80\x80\x80",
    b"\xfc\x80\x80\x80\x80\x80",
    *SURROGATES,
    *(high + low for high in SURROGATES[:4] for low in SURROGATES[4:]),
)


@frozen(kw_only=True)
class Case:
    """What is sent, what has to come back, and the code the endpoint fails the link with.

    Where an endpoint fails a link it may do so at once, before what came earlier is echoed.
    """

    sent: tuple[bytes, ...]
    heard: tuple[Heard, ...] = ()
    fails: int | None = None
    """None: the link is alive afterwards, and closes as agreed."""
    closed: int | None = None
    """The tester's own Close is among what is sent; this code comes back."""
    may: bool = False
    """Messages before the Close may be answered or not."""


def cases(*, mask: bool) -> Iterator[tuple[str, Case]]:
    """Give every case, for a tester that masks (a client) or does not (a server)."""
    for section in (framing, pings, reserved_bits, opcodes, fragmentation, utf8, closing):
        for name, case in section(mask):
            yield f"{section.__name__}: {name}", case


def framing(mask: bool) -> Iterator[tuple[str, Case]]:
    for opcode, kind, letter in ((TEXT, "text", b"*"), (BINARY, "binary", b"\xfe")):
        for size in (0, 1, 125, 126, 127, 128, 65_535, 65_536, 65_537):
            payload = letter * size
            yield f"{kind} of {size}", Case(sent=(frame(opcode, payload, mask=mask),), heard=((opcode, payload),))
        big = frame(opcode, letter * 65_536, mask=mask)
        pieces = tuple(big[at : at + 997] for at in range(0, len(big), 997))
        yield f"{kind} of 65536 in pieces", Case(sent=pieces, heard=((opcode, letter * 65_536),))
    for size, length in ((5, b"\x7e\0\x05"), (125, b"\x7e\0\x7d"), (5, b"\x7f" + bytes(7) + b"\x05")):
        wide = bytes((length[0] | 0x80 * mask,)) + length[1:]
        sent = (frame(TEXT, b"*" * size, mask=mask, length=wide),)
        yield f"length {size} in {len(length) - 1} bytes", Case(sent=sent, fails=PROTOCOL_ERROR)
    wrong = frame(TEXT, b"hello", mask=not mask)
    yield "masked the other way", Case(sent=(wrong,), fails=PROTOCOL_ERROR)


def pings(mask: bool) -> Iterator[tuple[str, Case]]:
    for payload in (b"", b"Hello, world!", b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", b"\xfe" * 125):
        yield f"payload {payload[:4]!r}", Case(sent=(frame(PING, payload, mask=mask),), heard=((PONG, payload),))
    yield "payload of 126", Case(sent=(frame(PING, b"\xfe" * 126, mask=mask),), fails=PROTOCOL_ERROR)
    whole = frame(PING, b"\xfe" * 125, mask=mask)
    bytewise = tuple(bytes((byte,)) for byte in whole)
    yield "payload of 125 in single bytes", Case(sent=bytewise, heard=((PONG, b"\xfe" * 125),))
    yield "an unasked pong", Case(sent=(frame(PONG, mask=mask),))
    unasked = (frame(PONG, b"unsolicited", mask=mask), frame(PING, b"ping", mask=mask))
    yield "an unasked pong, then a ping", Case(sent=unasked, heard=((PONG, b"ping"),))
    ten = tuple(frame(PING, b"payload-%d" % number, mask=mask) for number in range(10))
    answers = tuple((PONG, b"payload-%d" % number) for number in range(10))
    yield "ten at once", Case(sent=(b"".join(ten),), heard=answers)
    yield "ten in single bytes", Case(sent=tuple(bytes((byte,)) for byte in b"".join(ten)), heard=answers)


def reserved_bits(mask: bool) -> Iterator[tuple[str, Case]]:
    good = frame(TEXT, b"Hello, world!", mask=mask)
    for rsv in range(1, 8):
        bad = frame(TEXT, b"Hello, world!", rsv=rsv, mask=mask)
        yield f"{rsv}, text", Case(sent=(bad,), fails=PROTOCOL_ERROR)
        behind = (good, bad, frame(PING, mask=mask))
        yield f"{rsv}, behind a good one", Case(sent=behind, heard=((TEXT, b"Hello, world!"),), fails=PROTOCOL_ERROR)
        together = (b"".join(behind),)
        yield f"{rsv}, together", Case(sent=together, heard=((TEXT, b"Hello, world!"),), fails=PROTOCOL_ERROR)
        for opcode in (BINARY, PING, PONG, CLOSE):
            sent = (frame(opcode, b"", rsv=rsv, mask=mask),)
            yield f"{rsv}, opcode {opcode}", Case(sent=sent, fails=PROTOCOL_ERROR)


def opcodes(mask: bool) -> Iterator[tuple[str, Case]]:
    good = frame(TEXT, b"Hello, world!", mask=mask)
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        for payload in (b"", b"reserved opcode payload"):
            bad = frame(opcode, payload, mask=mask)
            name = f"{opcode} with {len(payload)} bytes"
            yield name, Case(sent=(bad,), fails=PROTOCOL_ERROR)
            behind = (good, bad, frame(PING, mask=mask))
            heard = ((TEXT, b"Hello, world!"),)
            yield f"{name}, behind a good one", Case(sent=behind, heard=heard, fails=PROTOCOL_ERROR)


def fragmentation(mask: bool) -> Iterator[tuple[str, Case]]:
    def piece(opcode: int, payload: bytes, *, fin: bool = False) -> bytes:
        return frame(opcode, payload, fin=fin, mask=mask)

    ping = frame(PING, b"ping payload", mask=mask)
    for opcode, kind in ((PING, "ping"), (PONG, "pong"), (CLOSE, "close")):
        sent = (piece(opcode, b"fragment1"), piece(CONTINUATION, b"fragment2", fin=True))
        yield f"a {kind} in two", Case(sent=sent, fails=PROTOCOL_ERROR)
    two = fragments(TEXT, b"fragment1", b"fragment2", mask=mask)
    both: Heard = (TEXT, b"fragment1fragment2")
    yield "in two", Case(sent=tuple(two), heard=(both,))
    yield "in two, together", Case(sent=(b"".join(two),), heard=(both,))
    yield "in two, in single bytes", Case(sent=tuple(bytes((byte,)) for byte in b"".join(two)), heard=(both,))
    mixed = (two[0], ping, two[1])
    pong: Heard = (PONG, b"ping payload")
    yield "a ping between", Case(sent=mixed, heard=(pong, both))
    yield "a ping between, together", Case(sent=(b"".join(mixed),), heard=(pong, both))
    bytewise = tuple(bytes((byte,)) for byte in b"".join(mixed))
    yield "a ping between, in single bytes", Case(sent=bytewise, heard=(pong, both))
    yield "a pong between", Case(sent=(two[0], frame(PONG, b"x", mask=mask), two[1]), heard=(both,))
    many = fragments(BINARY, *[b"%d " % number for number in range(100)], mask=mask)
    with_pings = tuple(each for one in many for each in (one, frame(PING, b"p", mask=mask)))[:-1]
    heard = (*[(PONG, b"p")] * 99, (BINARY, b"".join(b"%d " % number for number in range(100))))
    yield "in a hundred, a ping between any two", Case(sent=with_pings, heard=heard)
    yield "empty fragments", Case(sent=tuple(fragments(TEXT, b"", b"", b"", mask=mask)), heard=((TEXT, b""),))
    around = tuple(fragments(TEXT, b"", b"middle", b"", mask=mask))
    yield "an empty one before and behind", Case(sent=around, heard=((TEXT, b"middle"),))
    for fin in (True, False):
        bare = piece(CONTINUATION, b"non-continuation payload", fin=fin)
        good = frame(TEXT, b"Hello, world!", mask=mask)
        for name, sent in (("apart", (bare, good)), ("together", (bare + good,))):
            yield f"nothing to continue, {'last' if fin else 'not last'}, {name}", Case(sent=sent, fails=PROTOCOL_ERROR)
        behind = (*two, piece(CONTINUATION, b"fragment3", fin=fin))
        yield f"one more, {'last' if fin else 'not last'}", Case(sent=behind, heard=(both,), fails=PROTOCOL_ERROR)
    for inner in (TEXT, BINARY):
        for fin in (True, False):
            sent = (piece(TEXT, b"fragment1"), piece(inner, b"fragment2", fin=fin))
            yield f"a new message inside, opcode {inner}, fin {fin}", Case(sent=sent, fails=PROTOCOL_ERROR)
    starts = tuple(
        each
        for _ in range(3)
        for each in (piece(CONTINUATION, b"f1"), piece(CONTINUATION, b"f2"), piece(CONTINUATION, b"f3", fin=True))
    )
    yield "continuations alone", Case(sent=starts, fails=PROTOCOL_ERROR)
    once = (*fragments(TEXT, b"a", b"b", mask=mask), *fragments(BINARY, b"c", b"d", mask=mask))
    yield "two messages", Case(sent=once, heard=((TEXT, b"ab"), (BINARY, b"cd")))


def utf8(mask: bool) -> Iterator[tuple[str, Case]]:
    for text in VALID_UTF8:
        heard = ((TEXT, text),)
        yield f"{text[:16]!r}", Case(sent=(frame(TEXT, text, mask=mask),), heard=heard)
        single = [text[at : at + 1] for at in range(len(text))] or [b""]
        yield f"{text[:16]!r} in fragments", Case(sent=tuple(fragments(TEXT, *single, mask=mask)), heard=heard)
    for text in INVALID_UTF8:
        yield f"not {text[:16]!r}", Case(sent=(frame(TEXT, text, mask=mask),), fails=NOT_UTF8)
        single = [text[at : at + 1] for at in range(len(text))]
        yield f"not {text[:16]!r} in fragments", Case(sent=tuple(fragments(TEXT, *single, mask=mask)), fails=NOT_UTF8)
        yield f"binary {text[:16]!r}", Case(sent=(frame(BINARY, text, mask=mask),), heard=((BINARY, text),))
    good = VALID_UTF8[1]
    cuts = [at for at, (a, b) in enumerate(pairwise(good), 1) if b & 0xC0 == 0x80 and a & 0x80]
    for cut in cuts:  # in the middle of a character
        whole = tuple(fragments(TEXT, good[:cut], good[cut:], mask=mask))
        yield f"a character cut at {cut}", Case(sent=whole, heard=((TEXT, good),))
        yield f"a character cut at {cut} for good", Case(sent=(frame(TEXT, good[:cut], mask=mask),), fails=NOT_UTF8)
    word = VALID_UTF8[2]
    for at in range(len(word) + 1):  # fail fast: nothing more has to come
        start = word[:at] + b"\xf5\x80"
        yield f"fails at once, fragment, {at}", Case(sent=(frame(TEXT, start, fin=False, mask=mask),), fails=NOT_UTF8)
        part = frame(TEXT, start + b"edited" * 10, mask=mask)[: (6 if mask else 2) + len(start)]
        yield f"fails at once, within a frame, {at}", Case(sent=(part,), fails=NOT_UTF8)


def closing(mask: bool) -> Iterator[tuple[str, Case]]:
    for code in VALID_CODES:
        for reason in (b"", b"reason"):
            yield f"{code} {reason.decode()}", Case(sent=(close(code, reason, mask=mask),), closed=code)
    for code in INVALID_CODES:
        for reason in (b"", b"reason"):
            yield f"{code} {reason.decode()}", Case(sent=(close(code, reason, mask=mask),), fails=PROTOCOL_ERROR)
    yield "no code", Case(sent=(close(mask=mask),), closed=1005)
    yield "half a code", Case(sent=(frame(CLOSE, b"\x03", mask=mask),), fails=PROTOCOL_ERROR)
    yield "longest", Case(sent=(close(1000, b"*" * 123, mask=mask),), closed=1000)
    yield "too long", Case(sent=(close(1000, b"*" * 124, mask=mask),), fails=PROTOCOL_ERROR)
    for text in VALID_UTF8[1:]:
        yield f"reason {text[:16]!r}", Case(sent=(close(1000, text, mask=mask),), closed=1000)
    for text in INVALID_UTF8:
        yield f"reason, not {text[:16]!r}", Case(sent=(close(1000, text, mask=mask),), fails=NOT_UTF8)
    bye = close(1000, mask=mask)
    for name, behind in (
        ("another", close(4000, mask=mask)),
        ("a ping", frame(PING, b"late", mask=mask)),
        ("a text", frame(TEXT, b"late", mask=mask)),
        ("nonsense", b"\xff" * 100),
    ):
        yield f"{name} behind it", Case(sent=(bye, behind), closed=1000)
        yield f"{name} right behind it", Case(sent=(bye + behind,), closed=1000)
    large = frame(TEXT, b"*" * 262_144, mask=mask)
    behind = frame(PING, b"late", mask=mask)
    yield "behind a large message, a ping behind it", Case(sent=(large, bye, behind), closed=1000, may=True)
    begun = frame(TEXT, b"fragment1", fin=False, mask=mask)
    ended = frame(CONTINUATION, b"fragment2", mask=mask)
    yield "between fragments", Case(sent=(begun, bye, ended), closed=1000)
