"""Which web pages may open a chat connection: their own, and those an operator names. Exact, no patterns.

A browser tells a server with ``Origin`` which page asks; programs send none and are let in. A page counts as the
server's own if its origin is the very address the browser connected to, and that address is an IP address,
``localhost`` or the host the server listens on: any other name could be an attacker's that points here.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from chatkit.errors import UsageError


class Origins:
    """The origins let in. Raises `UsageError` for one that is no origin."""

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self._allowed = frozenset(map(_checked, allowed))

    def allow(self, origin: str | None, host: str | None, *, listening: str, secure: bool) -> bool:
        """Whether a page of this origin may connect. ``host`` is the request's Host header, ``listening`` the host
        name in the listener's URL."""
        if origin is None:
            return True
        if origin in self._allowed:
            return True
        return host is not None and origin == f"{'https' if secure else 'http'}://{host}" and _is_own(host, listening)


def _is_own(host: str, listening: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name in ("localhost", listening):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _checked(origin: str) -> str:
    try:
        parts = urlsplit(origin)
        exact = parts.scheme in ("http", "https") and parts.hostname and origin == f"{parts.scheme}://{parts.netloc}"
    except ValueError:
        exact = False
    if not exact:
        raise UsageError(f"origin {origin!r}: expected scheme, host and port alone, such as https://chat.example.org")
    return origin
