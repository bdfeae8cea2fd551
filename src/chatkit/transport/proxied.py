"""Whom a reverse proxy speaks for: ``X-Forwarded-For`` in HTTP, the PROXY protocol in front of anything else.

Laws: only what a trusted proxy says is believed; what it was told itself is believed as far as a chain of trusted
proxies reaches.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from functools import cache
from ipaddress import IPv4Address, IPv6Address

from attrs import frozen

from chatkit.errors import ProtocolError, UsageError
from chatkit.transport.address import joined
from chatkit.transport.interface import Network

SIGNATURE_1 = b"PROXY "
SIGNATURE_2 = b"\r\n\r\n\0\r\nQUIT\n"
LONGEST_LINE = 107
"""Bytes of a header of version 1 with its CRLF (section 2.1 of the PROXY protocol)."""
HEAD_2 = 16
"""Bytes before the addresses of version 2."""
LONGEST_BLOCK = 2048
"""Bytes of a header of version 2, of which the addresses are 52 at most and the rest extensions."""
LOCAL, PROXY = 0x20, 0x21
INET, INET6 = 0x1, 0x2

_Address = IPv4Address | IPv6Address


@cache
def networks(written: tuple[str, ...]) -> tuple[Network, ...]:
    """Return the networks that are written as addresses (``10.0.0.7``) or networks (``10.0.0.0/8``).

    Raises `UsageError` for one that is neither.
    """
    found = []
    for text in written:
        try:
            found.append(ipaddress.ip_network(text))
        except ValueError as error:
            raise UsageError(
                f"trusted proxy {text!r}: expected an address or a network, such as 10.0.0.0/8 ({error})"
            ) from error
    return tuple(found)


def host_of(peer: str) -> _Address | None:
    """Return the IP address in a peer's name, with or without its port; None if there is none."""
    for text in (peer, peer.rpartition(":")[0]):
        try:
            address = ipaddress.ip_address(text.strip("[]").partition("%")[0])
        except ValueError:
            continue
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        return mapped or address
    return None


def is_trusted(peer: str, trusted: tuple[Network, ...]) -> bool:
    """Whether a peer is one of the trusted proxies."""
    address = host_of(peer) if trusted else None
    return address is not None and any(address in network for network in trusted)


def forwarded_for(values: Iterable[str], peer: str, trusted: tuple[Network, ...]) -> str:
    """Return for whom a request came: the rightmost address of its ``X-Forwarded-For`` headers that is no trusted
    proxy; ``peer`` itself if that is none, or if there is no such header."""
    hops = [hop.strip() for value in values for hop in value.split(",")]
    while is_trusted(peer, trusted) and hops:
        address = host_of(hops.pop())
        if address is None:  # what comes before a hop that is no address was not said by one we trust
            break
        peer = f"[{address}]" if address.version == 6 else str(address)
    return peer


@frozen
class Header:
    """A PROXY header at the beginning of a stream, or that there is none."""

    size: int
    """Its bytes; 0 if the stream begins with something else."""
    source: str | None = None
    """The client's address and port, if the header names them."""


def read_header(received: bytes) -> Header | None:
    """Look at the first bytes of a stream; None while that is too few of them to know.

    Raises `ProtocolError` for a broken header.
    """
    if not received:
        return None
    if SIGNATURE_1.startswith(received[: len(SIGNATURE_1)]):
        return _line(received)
    if SIGNATURE_2.startswith(received[: len(SIGNATURE_2)]):
        return _binary(received)
    return Header(0)


def _line(received: bytes) -> Header | None:
    end = received.find(b"\r\n", 0, LONGEST_LINE)
    if end >= 0:
        return Header(end + 2, _source_1(received[:end]))
    if len(received) >= LONGEST_LINE:
        raise ProtocolError(f"a PROXY line is at most {LONGEST_LINE} bytes")
    return None


def _binary(received: bytes) -> Header | None:
    if len(received) < HEAD_2:
        return None
    size = HEAD_2 + int.from_bytes(received[14:16], "big")
    if size > LONGEST_BLOCK:
        raise ProtocolError(f"a PROXY header is at most {LONGEST_BLOCK} bytes here")
    if len(received) < size:
        return None
    return Header(size, _source_2(received[12], received[13] >> 4, received[HEAD_2:size]))


def _source_1(line: bytes) -> str | None:
    try:
        words = line.decode("ascii").split(" ")
    except UnicodeDecodeError as error:
        raise ProtocolError("a PROXY line is plain ASCII") from error
    if words[1] == "UNKNOWN":
        return None
    try:
        _, family, source, _, port, _ = words
        address = ipaddress.ip_address(source)
        number = int(port)
    except ValueError as error:
        raise ProtocolError("a PROXY line names family, addresses and ports") from error
    if family != f"TCP{address.version}" or not 0 <= number <= 65_535:
        raise ProtocolError("a PROXY line names family, addresses and ports")
    return joined(str(address), number)


def _source_2(version_and_command: int, family: int, block: bytes) -> str | None:
    if version_and_command == LOCAL:
        return None
    if version_and_command != PROXY:
        raise ProtocolError("the PROXY protocol's versions are 1 and 2")
    try:
        if family == INET:
            return joined(socket.inet_ntop(socket.AF_INET, block[:4]), int.from_bytes(_exactly(block[8:10], 2), "big"))
        if family == INET6:
            host = socket.inet_ntop(socket.AF_INET6, block[:16])
            return joined(host, int.from_bytes(_exactly(block[32:34], 2), "big"))
    except ValueError as error:
        raise ProtocolError("a PROXY header is too short for its addresses") from error
    return None


def _exactly(data: bytes, size: int) -> bytes:
    if len(data) != size:
        raise ValueError(f"{len(data)} bytes instead of {size}")
    return data
