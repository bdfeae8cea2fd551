"""Addresses: a URL's host, port and path, and one plain sentence for what may be wrong with them."""

from __future__ import annotations

import errno
import socket
from urllib.parse import urlsplit

from attrs import frozen

from chatkit.errors import UsageError
from chatkit.registry import scheme_of

LISTEN_SENTENCES = {
    errno.EADDRINUSE: "the port is already in use; is another server running?",
    errno.EACCES: "listening there is not allowed; a port below 1024 needs a privilege",
    errno.EPERM: "listening there is not allowed",
    errno.EADDRNOTAVAIL: "this is no address of this machine",
    errno.EAFNOSUPPORT: "this kind of address does not work on this machine",
}
CONNECT_SENTENCES = {
    errno.ECONNREFUSED: "nobody listens there (connection refused)",
    errno.EHOSTUNREACH: "no way leads to that host",
    errno.ENETUNREACH: "no way leads to that network",
    errno.ETIMEDOUT: "no answer",
    errno.ECONNRESET: "the connection was reset",
    errno.EACCES: "connecting there is not allowed",
    errno.EADDRNOTAVAIL: "this address cannot be connected to",
    errno.EMFILE: "this program has too many files and connections open",
    errno.ENFILE: "this machine has too many files and connections open",
}


@frozen(kw_only=True)
class Address:
    """The parts of a URL that say where."""

    scheme: str
    host: str
    port: int
    path: str
    """The path with its query, such as ``/ws``; empty if the URL has none."""

    @property
    def url(self) -> str:
        return f"{self.scheme}://{joined(self.host, self.port)}{self.path}"

    @property
    def secure(self) -> bool:
        return self.scheme in ("wss", "tls")


def parse(url: str, *, default_port: int | None = None) -> Address:
    """Take a URL apart. Raises `UsageError` for one without a host or a usable port, or with a user in it."""
    scheme = scheme_of(url, "address")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"address {url!r} is not a URL: {error}") from error
    if "@" in parts.netloc:
        raise UsageError("an address carries no user or password: log in after connecting")
    if not host:
        raise UsageError(f"address {url!r} names no host; {scheme}://127.0.0.1:8765 is an example")
    if port is None and default_port is None:
        raise UsageError(f"address {url!r} names no port; {scheme}://{host}:8765 is an example")
    if parts.fragment:
        raise UsageError(f"address {url!r} has a fragment, which means nothing here")
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    if not path.isascii() or any(char <= " " for char in path):
        raise UsageError(f"address {url!r}: the path must be plain ASCII; percent-encode the rest")
    return Address(scheme=scheme, host=host, port=port if port is not None else default_port or 0, path=path)


def joined(host: str, port: int) -> str:
    """Join host and port as they stand in a URL, IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def peer_name(address: object) -> str:
    """Name what `socket.accept` or `getpeername` returned, for a log line."""
    if isinstance(address, tuple) and len(address) >= 2:
        return joined(str(address[0]), int(address[1]))
    return str(address) or "unknown"


def listen_sentence(error: OSError) -> str:
    """Say why an address cannot be listened on."""
    if isinstance(error, socket.gaierror):
        return "the name does not resolve to an address"
    return LISTEN_SENTENCES.get(error.errno or 0) or f"it cannot be listened on: {error.strerror or error}"


def connect_sentence(error: OSError) -> str:
    """Say why an address cannot be connected to. Looks below the sum of several attempts."""
    if isinstance(error, socket.gaierror):
        return "the name does not resolve to an address"
    for single in (error, *_causes(error)):
        if single.errno in CONNECT_SENTENCES:
            return CONNECT_SENTENCES[single.errno]
    return f"connecting failed: {error.strerror or error}"


def is_refusal(error: OSError) -> bool:
    """Whether nobody listens at the address."""
    return any(single.errno == errno.ECONNREFUSED for single in (error, *_causes(error)))


def _causes(error: BaseException) -> list[OSError]:
    cause = error.__cause__
    several = cause.exceptions if isinstance(cause, BaseExceptionGroup) else (cause,)
    return [single for single in several if isinstance(single, OSError)]
