"""Every limit of a server, with its reason. Times are in seconds, sizes in bytes."""

from __future__ import annotations

import math
import secrets
import ssl
import time
from collections.abc import Callable

import attrs
from attrs import field, frozen

from chatkit.engine.limits import EngineLimits
from chatkit.errors import UsageError
from chatkit.server.http_limits import HttpLimits
from chatkit.server.limits import Rates
from chatkit.server.throttle import LoginRates
from chatkit.transport.interface import TransportOptions
from chatkit.transport.proxied import networks


def system_time() -> int:
    """Return the time of day in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@frozen(kw_only=True)
class ServerConfig:
    """How a server behaves. The defaults suit a public server of a few thousand people."""

    # Who may do what
    engine: EngineLimits = field(factory=EngineLimits)
    """Bounds of the rules."""
    rate_limits: bool = True
    """Whether rates and the caps per address are enforced; a load test turns this off. Sizes and deadlines stay."""
    rates: Rates = field(factory=Rates)
    """How fast one session may go."""
    logins: LoginRates = field(factory=LoginRates)
    """How often passwords may be tried, by address and by account, while rates are enforced."""
    password_workers: int | None = None
    """Threads that hash passwords at a time; unset, one less than there are cores, so that the chat keeps one."""

    # One message
    max_message_bytes: int = 65_536
    """The whole envelope of a request. A longer one ends the link with 1009."""
    page_bytes: int = 262_144
    """A page of history ends here, so that one request cannot make the server build megabytes."""

    # One session
    in_flight_messages: int = 256
    """Requests a session may have waiting for their commit; then its reader waits, which is its backpressure."""
    in_flight_bytes: int = 1_048_576
    """Bytes of requests a session may have waiting for their commit."""
    sweep_interval: float = 60.0
    """How often tokens, bans and invitations that have run out are let go of. They count for nothing before that, and
    whoever is connected by a token is disconnected when it runs out."""
    login_timeout: float = 60.0
    """A link that is not logged in by then is closed with 4401; long enough to type JSON by hand."""
    garbage: int = 20
    """As many requests in a row that do not parse close the link with 4400."""
    heartbeat: float = 25.0
    """A link that has been silent this long is pinged, where the binding has pings."""
    heartbeat_grace: float = 8.0
    """A link that was pinged is dead if nothing arrives within this."""
    linger: float = 1.0
    """Somebody whose link broke counts as present for this long: a client that comes back within it was never away.
    A client that says goodbye leaves at once."""

    # HTTP on the WebSocket's port
    http: bool = True
    """Whether anything but WebSockets is answered there: the page, ``/healthz``, ``/metrics``, ``/connections``."""
    http_limits: HttpLimits = field(factory=HttpLimits)
    """Deadlines and sizes of HTTP requests."""
    origins: tuple[str, ...] = ()
    """Web pages besides the server's own that may connect, as exact origins: ``https://chat.example.org``."""
    operator_token: str | None = field(default=None, repr=False)
    """Whoever sends it as ``Authorization: Bearer …`` may see ``/connections`` and ``/metrics``. Without one there is
    no ``/connections``, and ``/metrics`` is open to everybody who reaches the port."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses and networks of reverse proxies. What these say of a client's address counts: ``X-Forwarded-For`` on
    HTTP and WebSockets, a PROXY line (version 1 or 2) on ``tcp://`` and ``tls://``. Nobody else is believed."""

    # How many
    max_connections: int = 20_000
    """Connections at a time; mind the descriptors the process may have."""
    max_connections_per_address: int = 512
    """Connections from one IPv4 address or one IPv6 network of 64 bits; an office behind one address gets in."""
    max_strangers: int = 2_000
    """Connections that have not logged in; when one more comes the oldest is dropped."""
    max_strangers_per_address: int = 200
    """Connections from one address that have not logged in, so that an attacker only ever crowds out himself."""
    crowd: int = 100
    """Connections that have not logged in, from which on they are taken for an attack: they are hurried."""
    crowd_timeout: float = 10.0
    """In a crowd, a link that is not logged in by then is dropped: a program needs less, who types by hand waits."""

    # All sessions
    in_flight_total_bytes: int = 67_108_864
    """Requests of all sessions waiting for their commit."""
    commit_changes: int = 4096
    """Changes in one transaction; bounds how long the others wait for it."""
    commit_gather: float = 0.001
    """While many people speak at once, a commit is put off at most this long until as many have spoken as did before:
    fewer, larger commits and writes."""
    list_interval: float = 0.05
    """A room's line in everybody's list is sent at most this often."""
    rings_bytes: int = 33_554_432
    """Bytes of recent events kept encoded, of all rooms."""

    # One room
    ring_events: int = 256
    """Recent events kept encoded, for those who are a little behind."""
    ring_bytes: int = 4_194_304
    """Bytes of recent events kept encoded: more than is said in a moment."""
    blob_bytes: int = 262_144
    """Events of one commit are joined into writes of at most this."""
    pull_bytes: int = 65_536
    """A session that is behind is served in portions of this."""

    # What a room keeps
    keep_events: int | None = None
    """As many of its newest events a room keeps at least; unset, all of them."""
    keep_for: float | None = None
    """What is older goes; unset, nothing does. With both limits, what either lets go of goes."""
    trim_interval: float = 10.0
    """How often rooms are looked at for what may go."""
    trim_rows: int = 500
    """Rows that go in one commit: few, since those who talk meanwhile wait for it."""
    trim_pause: float = 0.02
    """The least rest between two such commits."""

    # Links
    transport: TransportOptions = field(factory=TransportOptions)
    """Limits and deadlines of every link."""
    ssl_context: ssl.SSLContext | None = None
    """For ``wss://`` and ``tls://`` addresses."""

    # Time and randomness
    now_ms: Callable[[], int] = system_time
    """The time that goes into the log, in milliseconds since 1970."""
    secret: Callable[[int], str] = secrets.token_hex
    """Gives that many random bytes as text, for ids and tokens."""

    # The end
    stop_timeout: float = 10.0
    """How long a graceful stop may take before what is left is cut off."""

    def __attrs_post_init__(self) -> None:
        for attribute in attrs.fields(type(self)):
            value = getattr(self, attribute.name)
            if isinstance(value, int | float) and not isinstance(value, bool) and not 0 < value < math.inf:
                raise UsageError(f"ServerConfig.{attribute.name} must be more than 0, not {value!r}")
        if not 0 < self.engine.session_life < math.inf:
            raise UsageError(f"EngineLimits.session_life must be more than 0, not {self.engine.session_life!r}")
        networks(self.trusted_proxies)

    @property
    def transport_options(self) -> TransportOptions:
        """Return the transport's options with what this configuration decides for it."""
        return attrs.evolve(
            self.transport,
            max_message_bytes=self.max_message_bytes,
            ssl_context=self.ssl_context,
            trusted_proxies=networks(self.trusted_proxies),
        )
