"""How many may be connected: in all, from one address, and without having logged in.

Laws: an arrival over a cap is turned away or makes the one that has waited longest leave, never anybody logged in;
where many wait to log in, nobody waits long; whoever has left is no longer counted. Who comes through a trusted proxy
counts under its own address, as soon as the proxy has said it.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable

from chatkit.server.config import ServerConfig
from chatkit.server.statistics import Counters
from chatkit.transport.proxied import host_of, is_trusted, networks


class Pass:
    """One connection's place among those that are counted."""

    __slots__ = ("_door", "address", "hurried", "since", "throw_out", "waiting")

    def __init__(self, door: Door, throw_out: Callable[[], None], since: float) -> None:
        self._door = door
        self.address: str | None = None
        self.throw_out = throw_out
        self.since = since
        self.hurried = False
        self.waiting = True

    def identify(self, peer: str) -> bool:
        """Count it under this address, which a proxy may have told meanwhile; say whether it may stay."""
        return self in self._door._inside and self._door._identify(self, peer)

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
        self._proxies = networks(config.trusted_proxies)
        self._inside: set[Pass] = set()
        self._waiting: dict[Pass, None] = {}
        self._by_address: Counter[str] = Counter()
        self._waiting_by_address: dict[str, dict[Pass, None]] = {}

    def enter(self, peer: str, throw_out: Callable[[], None], now: float = 0.0) -> Pass | None:
        """Count an arrival; None if it may not come in. ``throw_out`` ends its connection at once: it is called if
        it has waited longest without logging in when there are too many such, or too long when there are many."""
        if len(self._inside) >= self._config.max_connections:
            self._counters.turned_away["full"] += 1
            return None
        entering = Pass(self, throw_out, now)
        if not self._identify(entering, peer):
            return None
        self._inside.add(entering)
        self._waiting[entering] = None
        if len(self._waiting) > self._config.max_strangers:
            self._drop(next(iter(self._waiting)))
        entering.hurried = self._crowded
        return entering

    @property
    def _crowded(self) -> bool:
        return len(self._waiting) > self._config.crowd

    def hurry(self, now: float) -> None:
        """Make those go who have waited longer than is allowed where many wait, or where many waited when they came."""
        crowded, latest = self._crowded, now - self._config.crowd_timeout
        for waiting in list(self._waiting):
            if waiting.since > latest:
                break
            if crowded or waiting.hurried:
                self._drop(waiting)

    def _identify(self, known: Pass, peer: str) -> bool:
        config, address = self._config, None if is_trusted(peer, self._proxies) else address_of(peer)
        if address is None or address == known.address:
            return True
        if config.rate_limits and self._by_address[address] >= config.max_connections_per_address:
            self._counters.turned_away["address"] += 1
            return False
        known.address = address
        self._by_address[address] += 1
        strangers = self._waiting_by_address.setdefault(address, {})
        strangers[known] = None
        if config.rate_limits and len(strangers) > config.max_strangers_per_address:
            self._drop(next(iter(strangers)))
        return True

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
    address = host_of(peer)
    if address is not None and address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return None if address is None else str(address)
