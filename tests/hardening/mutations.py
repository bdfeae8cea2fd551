"""Handshakes, good and odd, and what chance makes of them; by a seed."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from raw import upgrade
from wire_frames import BINARY, CLOSE, PING, TEXT, close, frame

HELLO = b'{"action":"login","ref":1,"data":{"user":"%s"}}'
GOOD = upgrade()
HANDSHAKES: Sequence[bytes] = (
    GOOD,
    upgrade("/"),
    upgrade("/ws?x=%00", protocol=None),
    upgrade("/ws", "Cookie: a=b", "Origin: http://127.0.0.1"),
    upgrade("/ws", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=15"),
    upgrade("/ws", "X-Folded: a\r\n b"),
    upgrade("/ws", "Content-Length: 5") + b"hello",
    upgrade("/ws", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n",
    upgrade("/ws", "Expect: 100-continue"),
    upgrade("/ws", "X-Long: " + "x" * 9_000),
    upgrade(host="[::1]:8765"),
    upgrade(host="xn--nxasmq6b"),
    GOOD.replace(b"\r\n", b"\n"),
    GOOD.replace(b"HTTP/1.1", b"HTTP/1.0"),
    GOOD.replace(b"GET", b"POST"),
    GOOD.replace(b"GET /ws", b"GET http://127.0.0.1/ws"),
    GOOD.replace(b"Upgrade: websocket", b"Upgrade: h2c, websocket"),
    b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n" + GOOD,
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12) + GOOD,
    b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(range(160)),
    b"",
)
CONVERSATIONS: Sequence[bytes] = (
    frame(TEXT, HELLO % b"eve"),
    frame(TEXT, HELLO % b"eve") + frame(PING, b"x") + frame(TEXT, b'{"action":"list_rooms"}'),
    frame(TEXT, HELLO % b"eve", fin=False) + frame(PING) + frame(0, b" "),
    frame(BINARY, b"\x82\xa6action\xaalist_rooms\xa4data\x80"),
    frame(TEXT, b'{"action":"send_message","data":{"room":"general","text":"mutated"}}') + close(1000),
    frame(CLOSE) + frame(PING, b"late"),
    b"",
)
LINES: Sequence[bytes] = (
    HELLO % b"eve" + b"\n",
    HELLO % b"eve" + b'\r\n{"action":"list_rooms"}\n\n{"action":"history","data":{"room":"general"}}\n',
    HELLO % b"eve" + b'\n{"action":"join_room","data":{"room":"general","last":5}}\n',
    HELLO % b"eve" + b'\n{"action":"send_message","data":{"room":"general","text":"mutated"}}\n',
    b'{"action":"closing","data":{"code":1000,"reason":"","reconnect":false}}\n',
    b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 48\r\n\r\n" + HELLO % b"eve" + b"\n",
    b"",
)
TOKENS: Sequence[bytes] = (
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"\n\n",
    b"\0",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"\xc3\xbc",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b'"',
    b"websocket",
    b"upgrade",
    b"keep-alive",
    b"Upgrade: websocket\r\n",
    b"Host: a\r\n",
    b"Host: \r\n",
    b"Content-Length: 18446744073709551616\r\n",
    b"Content-Length: -1\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Connection: close\r\n",
    b"Sec-WebSocket-Key: \r\n",
    b"Sec-WebSocket-Key: x\r\n",
    b"Sec-WebSocket-Version: 8\r\n",
    b"Sec-WebSocket-Protocol: ,\r\n",
    b"Sec-WebSocket-Protocol: chatkit.v1.msgpack\r\n",
    b"Sec-WebSocket-Extensions: ;=,\r\n",
    b"Origin: null\r\n",
    b"X-Forwarded-For: 127.0.0.1\r\n",
    b"HTTP/1.1",
    b"HTTP/9.9",
    b"%00",
    b"..",
    b"xn--a",
    b"a" * 300,
    b"{",
    b"}",
    b"[",
    b"\\ud800",
    b"NaN",
)


def mutate(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Change something, once or several times."""
    changed = bytearray(data)
    for _ in range(random.choice((0, 1, 1, 1, 2, 2, 3, 5, 8))):
        at = random.randrange(len(changed) + 1)
        kind = random.randrange(8)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << random.randrange(8)
        elif kind == 1 and at < len(changed):
            changed[at] = random.randrange(256)
        elif kind == 2:
            changed[at:at] = random.choice(TOKENS)
        elif kind == 3:
            del changed[at : at + random.choice((1, 1, 2, 5, 20))]
        elif kind == 4:
            changed[at:at] = changed[at : at + random.choice((1, 5, 30, 200))] * random.choice((1, 1, 2, 20))
        elif kind == 5:
            other = random.choice(others)
            changed[at:] = other[random.randrange(len(other) + 1) :]
        elif kind == 6:
            changed[at : at + random.randrange(30)] = random.choice(TOKENS)
        else:
            del changed[at:]
    return bytes(changed)


def mutated_handshake(random: Random) -> bytes:
    """Return a handshake, with something behind it, as chance left it."""
    data = random.choice(HANDSHAKES if random.random() < 0.5 else (GOOD,)) + random.choice(CONVERSATIONS)
    return mutate(random, data, HANDSHAKES)


def mutated_lines(random: Random) -> bytes:
    """Return lines as chance left them."""
    return mutate(random, random.choice(LINES), LINES)
