"""What the server and the client need of a transport: whole messages in, bytes out, in order.

A *listener* accepts *arrivals*; an arrival becomes a `Connection` by its handshake, which runs in the connection's
own nursery, so that a slow or hostile handshake is nobody else's trouble. A *connector* makes the client's end.

Both are found by URL scheme in the entry-point groups ``chatkit.listeners`` and ``chatkit.connectors``.
`chatkit.testing.check_transport` tests the laws:

1. What one end sends arrives at the other whole, in order, once, or the link ends with `Disconnected`.
2. `Connection.push` never waits and never raises; `Connection.receive` and `Connection.send` are cancellable, and a
   cancelled `receive` loses no message.
3. A message that breaks the binding's rules but leaves the framing intact raises `ProtocolError` from `receive`, and
   the next call goes on. One that does not ends the link.
4. Bytes of one message never stand inside another's, whoever sends.
"""

from __future__ import annotations

import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, Literal, Protocol

import trio
from attrs import field, frozen

if TYPE_CHECKING:
    from chatkit.transport.stream import ByteStream
    from chatkit.transport.upgrade import RequestHead

Encoding = Literal["json", "msgpack"]
Network = IPv4Network | IPv6Network


@frozen
class WireFormat:
    """How a message becomes bytes on one kind of link: an encoding and a framing.

    Formats are few and compared by name: the server encodes and frames an event once per format.
    """

    name: str
    encoding: Encoding
    frame: Callable[[bytes], bytes] = field(eq=False, repr=False)
    """Turn one encoded message into the bytes that go on the link (server to client)."""


@frozen(kw_only=True)
class TransportOptions:
    """Limits and deadlines of a transport. Times are in seconds, sizes in bytes."""

    max_message_bytes: int = 65_536
    """The whole envelope. A longer message ends the link with 1009."""
    handshake_timeout: float = 10.0
    """From the first byte to the end of the handshake, of TLS and of WebSocket, in all."""
    close_timeout: float = 5.0
    """How long the closing handshake and the last bytes may take before the link is aborted."""
    write_timeout: float = 30.0
    """A link whose waiting bytes make no progress for this long is aborted."""
    outlet_bytes: int = 131_072
    """Bytes that may wait for a link beyond the kernel's buffer; past it the link is lagging."""
    send_buffer_bytes: int = 262_144
    """SO_SNDBUF of an accepted socket, or the kernel takes megabytes for a reader that does not read."""
    receive_buffer_bytes: int = 65_536
    """Read from a link at a time."""
    max_fragments: int = 256
    """Frames that one WebSocket message may come in; more end the link with 4429."""
    spare_frames: int = 1_024
    """Control frames and fragments that may come at once: they cost work and are no messages. More end the link with
    4429."""
    spare_frames_per_second: int = 256
    """As many more of them each second."""
    ssl_context: ssl.SSLContext | None = None
    """For wss:// and tls://. On a connector None means the system's default verification."""
    trusted_proxies: tuple[Network, ...] = ()
    """Listeners only: where proxies connect from that are believed about the address of a client."""


class Writer(Protocol):
    """What bytes are pushed into."""

    def push(self, blob: bytes) -> bool:
        """See `Connection.push`."""


class Connection(ABC):
    """One link between a client and a server."""

    format: WireFormat
    peer: str
    """The other end for a log line: ``127.0.0.1:52114``, ``memory``."""
    url: str
    """The listener's or the dialled URL."""

    @abstractmethod
    async def receive(self) -> bytes:
        """Return the next message's bytes. Raises `ProtocolError` for one that breaks the binding's rules (the link
        lives), `Disconnected` when the link has ended, with the code and reason the peer gave."""

    @abstractmethod
    async def send(self, message: bytes) -> None:
        """Frame and send one encoded message; return when its bytes are with the kernel. Raises `Disconnected`.
        Cancelling leaves the message queued whole or not sent at all, never in part."""

    @abstractmethod
    def push(self, blob: bytes) -> bool:
        """Put framed bytes (one or several messages, by `WireFormat.frame`) on the link without waiting.

        Returns False if the link is *lagging*: at least ``outlet_bytes`` were waiting already. The bytes are then not
        taken; the caller goes on from its position once `wait_drained` returns. On a closed link the bytes vanish and
        the answer is True: `receive` is what tells of the end.
        """

    @property
    def writer(self) -> Writer:
        """What does the work of `push`: for whoever keeps it, and calls that for every member of a room."""
        return self

    @abstractmethod
    def push_anyway(self, blob: bytes) -> None:
        """As `push`, over the bound: for replies, which the number of requests in flight bounds already."""

    @abstractmethod
    async def wait_drained(self) -> None:
        """Return once fewer than half of ``outlet_bytes`` wait. Raises `Disconnected` if the link ends first."""

    @property
    @abstractmethod
    def waiting_bytes(self) -> int:
        """Bytes pushed and not yet with the kernel."""

    @abstractmethod
    async def ping(self) -> None:
        """Ask the peer for a sign of life where the binding has one (WebSocket); elsewhere do nothing. Does not wait
        for the answer: any byte that arrives moves `last_heard`."""

    @property
    @abstractmethod
    def last_heard(self) -> float:
        """When the peer's last byte arrived, by `trio.current_time`."""

    @abstractmethod
    async def aclose(self, code: int = 1000, reason: str = "", *, reconnect: bool = True) -> None:
        """Send what waits, tell the peer why (a close code, a ``closing`` event), close. Bounded by
        ``close_timeout``, then as `abort`. Never fails; a second call does nothing more."""

    @abstractmethod
    def abort(self) -> None:
        """End the link at once, dropping what waits. A task in `receive` gets `Disconnected`."""


class Arrival(ABC):
    """Somebody at the door: accepted, not yet shaken hands with."""

    peer: str
    url: str
    """The listener's."""

    @abstractmethod
    async def handshake(self, nursery: trio.Nursery) -> Connection:
        """Complete the handshake; the connection's own tasks run in ``nursery`` and end with it or when the
        connection does. Raises `Disconnected` or `ProtocolError` when it fails; the arrival is closed then."""

    @abstractmethod
    def abort(self) -> None:
        """Turn the arrival away without a word."""


class HttpArrival(Arrival):
    """An arrival that begins as an HTTP request: a WebSocket's handshake, or a plain request on the same port.

    Look with `read_head`, then go on with `handshake`, `refuse` or `release`. From `read_head` on ``peer`` is the
    client, also behind a trusted proxy.
    """

    secure: bool = False
    """Whether the client speaks TLS, with this listener or with a trusted proxy."""
    proxied: bool = False
    """Whether a trusted proxy stands between, which may use one connection for several clients."""

    @abstractmethod
    async def read_head(self) -> RequestHead:
        """Return the request's head. Raises as `Arrival.handshake`."""

    @abstractmethod
    async def refuse(self, status: int, sentence: str) -> None:
        """Answer with an HTTP status and a sentence, and close. Bounded by ``close_timeout``; never fails."""

    @abstractmethod
    def release(self) -> tuple[ByteStream, bytes]:
        """Hand over the stream and what was read of it."""


class Listener(ABC):
    """An address that is listened on, from the moment it exists."""

    url: str
    """The address with its real port."""

    @abstractmethod
    async def accept(self) -> Arrival:
        """Return the next arrival. Survives what one arrival or a shortage of descriptors causes. Raises
        `trio.ClosedResourceError` after `close`."""

    @abstractmethod
    def close(self) -> None:
        """Stop accepting, at once; connections live on. A second call does nothing."""


# What the entry points name:
#   chatkit.listeners   async (url: str, options: TransportOptions) -> Listener; raises UsageError, ListenFailed
#   chatkit.connectors  async (nursery, url: str, options: TransportOptions, encoding: Encoding) -> Connection;
#                       raises UsageError, ConnectFailed
