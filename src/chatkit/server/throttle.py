"""How often a password may be tried: decided before any work is done for it.

Laws: one address has so many tries, whichever names it tries, and one name so many from all the addresses it never came
in from; where somebody has come in from lately they have tries of their own, so that nobody who guesses elsewhere locks
them out; being right costs nothing; all tables are bounded, and what was unused for longest is forgotten.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from attrs import field, frozen

from chatkit.errors import UsageError
from chatkit.protocol.rates import Bucket, Rate
from chatkit.transport.proxied import host_of

WITHIN = "(within this process)"
"""Where those come from who have no address."""
DAY = 86_400.0
MOST = 65_536
"""Addresses, and names, that are kept count of at a time."""
MOST_OF_ONE = 32
"""Addresses remembered for one name, so that nobody who owns an account crowds out others'."""
K = TypeVar("K")
V = TypeVar("V")


@frozen(kw_only=True)
class LoginRates:
    """How often a password may be tried. A try that was right does not count."""

    address: Rate = Rate(burst=6, per_second=0.025)
    """Tries from one IPv4 address or one IPv6 network of 64 bits, whatever names it tries: slower than what one name
    allows, so that a single guesser leaves tries for its owner."""
    account: Rate = Rate(burst=6, per_second=0.05)
    """Tries of one name from all addresses together that it never came in from: at most nine in a minute, then three a
    minute, however many addresses guess."""
    known: Rate = Rate(burst=6, per_second=0.05)
    """Tries of one name from an address that it came in from before; guesses made elsewhere do not touch these."""
    newcomers: Rate = Rate(burst=30, per_second=0.05)
    """Accounts opened, and passwords changed, from one address: a class at once, then three a minute."""
    remembered: float = field(default=30 * DAY)
    """How long an address that somebody came in from is remembered; at most until the server ends."""

    def __attrs_post_init__(self) -> None:
        if not self.remembered > 0:
            raise UsageError(f"LoginRates.remembered must be more than 0, not {self.remembered!r}")


@frozen
class _Visit:
    """Somebody came in from an address, last at that time; they have tries of their own there."""

    at: float
    bucket: Bucket


class Throttle:
    """Counts tries. Times are in seconds on a clock that never jumps."""

    def __init__(self, rates: LoginRates | None = None, *, most: int = MOST, most_of_one: int = MOST_OF_ONE) -> None:
        self._rates = rates or LoginRates()
        self._addresses: Table[str, Bucket] = Table(most)
        self._accounts: Table[str, Bucket] = Table(most)
        self._newcomers: Table[str, Bucket] = Table(most)
        self._visits: Table[str, Table[str, _Visit]] = Table(most)
        self._most_of_one = most_of_one

    def __len__(self) -> int:
        """How many things are kept count of."""
        counted = len(self._addresses) + len(self._accounts) + len(self._newcomers)
        return counted + sum(map(len, self._visits.values()))

    def check(self, address: str | None, key: str | None, now: float) -> float | None:
        """Count one try from an IP address (None: from within this process) and return None; or count nothing and
        return the seconds to wait. ``key`` is the case-mapped name it is for; None: a new password, no guess at one."""
        buckets = self._buckets(_network_of(address), key, now)
        waits = [bucket.take(now) for bucket in buckets]
        if not any(waits):
            return None
        for bucket, wait in zip(buckets, waits, strict=True):
            if not wait:
                _give_back(bucket)
        return max(waits)

    def succeeded(self, address: str | None, key: str, now: float) -> None:
        """The password was right: the try costs nothing, and the address is known from now on."""
        network = _network_of(address)
        for bucket in self._buckets(network, key, now):
            _give_back(bucket)
        visits = self._visits.use(key, lambda: Table(self._most_of_one))
        was = visits.get(network)
        visits.put(network, _Visit(now, was.bucket if was else Bucket(self._rates.known)))

    def _buckets(self, network: str, key: str | None, now: float) -> list[Bucket]:
        if key is None:
            return [self._newcomers.use(network, lambda: Bucket(self._rates.newcomers))]
        visits = self._visits.get(key)
        visit = visits.get(network) if visits is not None else None
        if visit is not None and now - visit.at <= self._rates.remembered:
            return [visit.bucket]
        address = self._addresses.use(network, lambda: Bucket(self._rates.address))
        return [address, self._accounts.use(key, lambda: Bucket(self._rates.account))]


class Table(Generic[K, V]):
    """A mapping with at most ``most`` entries: the one unused for longest makes room."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._entries: OrderedDict[K, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def values(self) -> list[V]:
        """Return what is kept, the longest unused first."""
        return list(self._entries.values())

    def get(self, key: K) -> V | None:
        """Return what is kept under a key, None if nothing is."""
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key]

    def use(self, key: K, make: Callable[[], V]) -> V:
        """Return what is kept under a key; if nothing is, keep what ``make`` returns."""
        found = self.get(key)
        if found is None:
            found = make()
            self.put(key, found)
        return found

    def put(self, key: K, value: V) -> None:
        """Keep a value under a key."""
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self._most:
            self._entries.popitem(last=False)


def _give_back(bucket: Bucket) -> None:
    bucket.full_at -= 1 / bucket.rate.per_second


def _network_of(address: str | None) -> str:
    """Return what an address counts under: itself, or for IPv6 the network of 64 bits that one customer has."""
    found = None if address is None else host_of(address)
    if found is None:
        return WITHIN
    return str(found) if found.version == 4 else str(ipaddress.ip_network((found, 64), strict=False))
