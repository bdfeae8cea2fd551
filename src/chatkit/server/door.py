"""How many may be connected: in all, from one address, and without having logged in.

Laws: an arrival over a cap is turned away or makes the one that has waited longest leave, never anybody logged in;
whoever has left is no longer counted.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable

from chatkit.server.config import ServerConfig
from chatkit.server.statistics import Counters


class Pass:
    """One connection's place among those that are counted."""

    __slots__ = ("_door", "address", "throw_out", "waiting")

    def __init__(self, door: Door, address: str | None, throw_out: Callable[[], None]) -> None:
        self._door = door
        self.address = address
        self.throw_out = throw_out
        self.waiting = True

    def logged_in(self) -> None:
        """It is no stranger any more."""
        self._door._settle(self)

    def leave(self) -> None:
        """It is gone. A second call does nothing."""
        self._door._leave(self)


class Door:
    """Counts connections and enforces the caps of a configuration."""

    def __init__(self, config: ServerConfig, counters: Counters) -> None:
        self._config = config
        self._counters = counters
        self._inside: set[Pass] = set()
        self._waiting: dict[Pass, None] = {}
        self._by_address: Counter[str] = Counter()
        self._waiting_by_address: dict[str, dict[Pass, None]] = {}

    def enter(self, peer: str, throw_out: Callable[[], None]) -> Pass | None:
        """Count an arrival; None if it may not come in. ``throw_out`` ends its connection at once: it is called if
        it has waited longest without logging in when there are too many such."""
        config, address = self._config, address_of(peer)
        if len(self._inside) >= config.max_connections:
            self._counters.turned_away["full"] += 1
            return None
        if config.rate_limits and address and self._by_address[address] >= config.max_connections_per_address:
            self._counters.turned_away["address"] += 1
            return None
        entering = Pass(self, address, throw_out)
        self._inside.add(entering)
        self._waiting[entering] = None
        if address:
            self._by_address[address] += 1
            self._waiting_by_address.setdefault(address, {})[entering] = None
        self._make_room(entering)
        return entering

    def _make_room(self, entering: Pass) -> None:
        config = self._config
        strangers = self._waiting_by_address.get(entering.address or "", {})
        if config.rate_limits and len(strangers) > config.max_strangers_per_address:
            self._drop(next(iter(strangers)))
        if len(self._waiting) > config.max_strangers:
            self._drop(next(iter(self._waiting)))

    def _drop(self, oldest: Pass) -> None:
        self._counters.turned_away["stranger"] += 1
        self._leave(oldest)
        oldest.throw_out()

    def _settle(self, known: Pass) -> None:
        known.waiting = False
        self._waiting.pop(known, None)
        if known.address:
            strangers = self._waiting_by_address.get(known.address, {})
            strangers.pop(known, None)
            if not strangers:
                self._waiting_by_address.pop(known.address, None)

    def _leave(self, leaving: Pass) -> None:
        if leaving not in self._inside:
            return
        self._inside.discard(leaving)
        self._settle(leaving)
        if leaving.address:
            self._by_address[leaving.address] -= 1
            if not self._by_address[leaving.address]:
                del self._by_address[leaving.address]


def address_of(peer: str) -> str | None:
    """Return what a peer counts under: its IPv4 address, or its IPv6 network of 64 bits, which one customer usually
    has to himself. None for a peer within the process."""
    host = peer.rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if address.version == 6:
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
