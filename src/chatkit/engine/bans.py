"""Whom a ban is against, and whether it is in force."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network

from chatkit.backend.records import Ban
from chatkit.engine.refusal import No
from chatkit.protocol.codes import ErrorCode


def in_force(ban: Ban, now: int) -> bool:
    """Whether a ban has not run out; ``now`` in milliseconds since 1970."""
    return ban.until is None or ban.until > now


def against(ban: Ban, principal: str, key: str, address: str | None) -> bool:
    """Whether a ban is against this person, or where they come from."""
    match ban.kind:
        case "account":
            return ban.value == principal
        case "name":
            return ban.value == key
        case "address":
            return address is not None and within(address, ban.value)
    return False


def strongest(bans: Iterable[Ban]) -> Ban | None:
    """Return the ban that lasts longest; one without an end before any other."""
    return max(bans, key=lambda ban: (ban.until is None, ban.until or 0), default=None)


def network_of(text: str) -> str:
    """Return an address or network in its usual form. Raises `No` (``bad_request``) for anything else."""
    try:
        return str(ipaddress.ip_network(text.strip(), strict=False))
    except ValueError:
        raise No(ErrorCode.BAD_REQUEST, f"data.address: expected an address or a network, not {text[:64]!r}") from None


@lru_cache(maxsize=1024)
def _parsed(network: str) -> IPv4Network | IPv6Network:
    return ipaddress.ip_network(network, strict=False)


def within(address: str, network: str) -> bool:
    """Whether an address lies in a network."""
    try:
        found = ipaddress.ip_address(address)
        bounds = _parsed(network)
    except ValueError:
        return False
    return found.version == bounds.version and found in bounds
