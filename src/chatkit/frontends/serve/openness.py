"""What a server on a public address leaves open, and which setting closes it. Pure, but for `count_admins`."""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Iterator, Sequence

from attrs import frozen

from chatkit.errors import UsageError
from chatkit.server import ServerConfig
from chatkit.server.operator import is_there, open_operator
from chatkit.transport.address import parse

GREEN, PLAIN = "\x1b[32m", "\x1b[0m"


@frozen
class Open:
    """Something that is open, and what closes it."""

    what: str
    closed_by: str


def public(addresses: Sequence[str]) -> list[str]:
    """Return those addresses that other machines may reach."""
    return [url for url in addresses if not url.startswith("memory:") and not _is_loopback(parse(url).host)]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def openings(config: ServerConfig, reachable: Sequence[str], admins: int | None) -> Iterator[Open]:
    """Give what is open on addresses that others reach. ``admins`` are the accounts that are admin, None if nobody
    knows."""
    engine = config.engine
    if engine.guests != "no":
        what = "guests come in and talk" if engine.guests == "yes" else "guests come in and read"
        yield Open(what, "--guests no" + (", or read-only" if engine.guests == "yes" else ""))
    if engine.registration == "open":
        yield Open("anybody opens an account", "--registration invitation, or closed")
    if not config.trusted_proxies and (bare := [url for url in reachable if not parse(url).secure]):
        yield Open(f"no TLS on {' and '.join(bare)}", "--listen wss://… or tls://…, --tls-cert; or a proxy in front")
    if admins == 0:
        yield Open("no account is admin", "chatkit user add NAME --role admin")
    if config.http and config.operator_token is None and any(url.startswith("ws") for url in reachable):
        yield Open("/metrics is shown to everybody", "--operator-token-file FILE, or --no-http")
    if not config.rate_limits:
        yield Open("anybody floods it: no rate limits", "--rate-limits")


def report(config: ServerConfig, addresses: Sequence[str], admins: int | None, *, colour: bool = False) -> str:
    """Say what is open on a server's addresses; nothing if no other machine reaches them."""
    reachable = public(addresses)
    if not reachable:
        return ""
    found = list(openings(config, reachable, admins))
    if not found:
        who = "invitation" if config.engine.registration == "invitation" else "the operator"
        line = f"chatkit: closed to strangers: only accounts, by {who}, over TLS"
        return f"{GREEN}{line}{PLAIN}\n" if colour else f"{line}\n"
    width = max(len(one.what) for one in found)
    rows = "".join(f"  {one.what:<{width}}  {one.closed_by}\n" for one in found)
    return f"chatkit: other machines reach this server. What is open to them, and what closes it:\n{rows}"


async def tell_openness(store: str, config: ServerConfig, addresses: Sequence[str]) -> None:
    """Say on standard error what is open, if other machines reach the server."""
    if public(addresses):
        colour = sys.stderr.isatty() and "NO_COLOR" not in os.environ
        sys.stderr.write(report(config, addresses, await count_admins(store), colour=colour))
        sys.stderr.flush()


async def count_admins(store: str) -> int | None:
    """Return how many accounts of a store are admin; None for one that is gone with its server."""
    if not is_there(store):
        return 0
    try:
        async with open_operator(store) as operator:
            return operator.admins()
    except UsageError:
        return None
