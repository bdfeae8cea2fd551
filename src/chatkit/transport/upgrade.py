"""The HTTP request a WebSocket starts with: read whole and judged before the WebSocket library sees a byte of it."""

from __future__ import annotations

import base64
import binascii
import re
from http import HTTPStatus

import h11
import trio
from attrs import frozen

from chatkit.errors import ProtocolError
from chatkit.transport.interface import Encoding
from chatkit.transport.stream import ByteStream

HEAD_BYTES = 16_384
"""A request's head at most."""
HEAD_END = re.compile(rb"\r?\n\r?\n")
STRANGE = re.compile(rb"[^\t\r\n\x20-\x7e]")
PATHS = ("/ws", "/")
SCHEMES = ("http", "https", "ws", "wss")
HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~%!$&'()*+,;=-]*)(?::[0-9]*)?")
"""What may stand in the header ``Host`` (RFC 9110, section 7.2)."""
KEY_BYTES = 16
"""Behind a key's base64 (RFC 6455, section 4.2.1)."""
SUBPROTOCOLS: dict[str, Encoding] = {"chatkit.v1.json": "json", "chatkit.v1.msgpack": "msgpack"}


class Refused(ProtocolError):
    """A handshake that is answered with an HTTP status and a sentence."""

    def __init__(self, status: int, sentence: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(sentence)
        self.status = status
        self.headers = headers


@frozen(kw_only=True)
class RequestHead:
    """One HTTP request's head."""

    method: str
    target: str
    version: str
    """Of HTTP, such as ``1.1``."""
    headers: tuple[tuple[str, str], ...]
    """Names in lower case, in the order they came."""
    raw: bytes
    """The very bytes; empty once a connection stands, which keeps the rest."""

    def header(self, name: str) -> str | None:
        """Return the first header of this lower-case name."""
        return next((value for key, value in self.headers if key == name), None)

    def values(self, name: str) -> list[str]:
        """Return all headers of this lower-case name, in order."""
        return [value for key, value in self.headers if key == name]

    def tokens(self, name: str) -> list[str]:
        """Return a header's comma-separated elements, of all headers of the name."""
        return [token.strip() for value in self.values(name) for token in value.split(",") if token.strip()]

    @property
    def path(self) -> str:
        """The target without its query, and without what comes before the path where it is a whole URL."""
        path = self.target.partition("?")[0]
        scheme, absolute, rest = path.partition("://")
        return "/" + rest.partition("/")[2] if absolute and scheme.lower() in SCHEMES else path

    @property
    def has_body(self) -> bool:
        """Whether something follows that belongs to it."""
        return self.header("transfer-encoding") is not None or self.header("content-length") not in (None, "0")

    @property
    def wants_websocket(self) -> bool:
        """Whether this asks to become a WebSocket, rightly or wrongly."""
        return "websocket" in (token.lower() for token in self.tokens("upgrade"))


async def read_head(stream: ByteStream) -> tuple[bytes, bytes]:
    """Read up to the end of a request's head; return it and the bytes that came after. Raises `Refused` for one that
    is too long or holds bytes no header may hold, `trio.BrokenResourceError` when the stream ends first."""
    received = bytearray()
    while True:
        data = await stream.receive_some(HEAD_BYTES)
        if not data:
            raise trio.BrokenResourceError("the peer left during the handshake")
        searched = max(0, len(received) - 3)
        received += data
        end = HEAD_END.search(received, searched)
        size = end.end() if end else len(received)
        if STRANGE.search(received, max(0, searched), size):
            raise Refused(400, "a request's head is plain ASCII")
        if size > HEAD_BYTES:
            raise Refused(431, f"a request's head is at most {HEAD_BYTES} bytes")
        if end:
            return bytes(received[:size]), bytes(received[size:])


def parse_head(raw: bytes) -> RequestHead:
    """Parse a request's head. Raises `Refused` for what is no HTTP/1.1 request."""
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES + 1)
    try:
        parser.receive_data(raw)
        event = parser.next_event()
    except h11.RemoteProtocolError as error:
        raise Refused(error.error_status_hint, f"this is no HTTP request: {fault(error)}") from error
    if not isinstance(event, h11.Request):
        raise Refused(400, "this is no HTTP request")
    if not event.http_version.startswith(b"1."):
        raise Refused(505, "the HTTP versions are 1.0 and 1.1")
    headers = tuple((name.decode("ascii"), value.decode("ascii")) for name, value in event.headers)
    return RequestHead(
        method=event.method.decode("ascii"),
        target=event.target.decode("ascii"),
        version=event.http_version.decode("ascii"),
        headers=headers,
        raw=raw,
    )


def fault(error: h11.RemoteProtocolError) -> str:
    """Say what is wrong with a request, without the peer's own words: they may be a secret, and the log is not to have
    them."""
    return str(error).partition(":")[0]


def judge(head: RequestHead) -> str | None:
    """Return the subprotocol to speak, None for JSON without a word about it. Raises `Refused`."""
    if not head.wants_websocket:
        raise Refused(426, "this address speaks WebSocket", (("Upgrade", "websocket"),))
    if head.method != "GET":
        raise Refused(405, "a WebSocket starts with GET", (("Allow", "GET"),))
    if head.path not in PATHS:
        raise Refused(404, f"there is no WebSocket here; the paths are {' and '.join(PATHS)}")
    if "upgrade" not in (token.lower() for token in head.tokens("connection")):
        raise Refused(400, "the header 'Connection: Upgrade' is missing")
    if head.version == "1.0" or head.values("sec-websocket-version") != ["13"]:
        raise Refused(426, "the WebSocket version is 13, over HTTP/1.1", (("Sec-WebSocket-Version", "13"),))
    if head.has_body:  # a proxy would take for a body what we take for frames
        raise Refused(400, "a WebSocket starts with a request without a body")
    if not _is_key(head.values("sec-websocket-key")):
        raise Refused(400, f"one header 'Sec-WebSocket-Key' with {KEY_BYTES} bytes in base64 is missing")
    if not _is_host(head.header("host")):
        raise Refused(400, "the header 'Host' names no host")
    offered = head.tokens("sec-websocket-protocol")
    chosen = next((name for name in offered if name in SUBPROTOCOLS), None)
    if offered and chosen is None:
        raise Refused(400, f"none of the subprotocols is known; there is {', '.join(SUBPROTOCOLS)}")
    return chosen


def retold(head: RequestHead, chosen: str | None) -> bytes:
    """Return a judged request in the plainest words, for a library that does not take all the standard allows."""
    lines = [
        "GET / HTTP/1.1",
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {head.header('sec-websocket-key')}",
        *([f"Sec-WebSocket-Protocol: {chosen}"] if chosen else []),
    ]
    return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n"


def _is_key(keys: list[str]) -> bool:
    try:
        return len(keys) == 1 and len(base64.b64decode(keys[0], validate=True)) == KEY_BYTES
    except binascii.Error:
        return False


def _is_host(host: str | None) -> bool:
    return host is None or HOST.fullmatch(host) is not None


def answer(refused: Refused) -> bytes:
    """Return the HTTP response a refused request gets."""
    body = f"{refused.message}\n".encode()
    lines = [
        f"HTTP/1.1 {refused.status} {HTTPStatus(refused.status).phrase}",
        *(f"{name}: {value}" for name, value in refused.headers),
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    return "\r\n".join(lines).encode("ascii", "replace") + b"\r\n\r\n" + body
