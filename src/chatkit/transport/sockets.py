"""TCP sockets: listening, accepting whatever happens, connecting."""

from __future__ import annotations

import errno
import logging
import socket
import ssl

import trio

from chatkit.errors import ConnectFailed, ListenFailed, UsageError
from chatkit.transport.address import Address, connect_sentence, is_refusal, listen_sentence, peer_name
from chatkit.transport.interface import TransportOptions
from chatkit.transport.stream import ByteStream, TcpStream
from chatkit.transport.tls import TlsStream

logger = logging.getLogger(__name__)

BACKLOG = 1024
SHORTAGE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
SHORTAGE_PAUSE = 0.1
"""Seconds to wait when descriptors or memory ran out: the next moment may free some."""

KEEPALIVE_IDLE = 25
KEEPALIVE_INTERVAL = 4
KEEPALIVE_PROBES = 2
USER_TIMEOUT = 33
"""Seconds: a peer that vanished is noticed about as soon as by WebSocket pings, 25 and 8 more."""

NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"})
OLD_TLS = frozenset({"UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "NO_PROTOCOLS_AVAILABLE"})
MADE_KNOWN = "(--ca FILE, in a program ssl_context, makes one known)"
VERIFY_SENTENCES = {
    9: "it is not valid yet; is the clock right?",
    10: "it has expired",
    18: f"it is signed by itself {MADE_KNOWN}",
    19: f"its authority is not known here {MADE_KNOWN}",
    20: f"its authority is not known here {MADE_KNOWN}",
    21: f"its authority is not known here {MADE_KNOWN}",
    62: "it is for another host",
    64: "it is for another address",
}
"""By the codes of X509_STORE_CTX_get_error."""


class ListeningSockets:
    """The sockets of one address: a name such as ``localhost`` may stand for several."""

    def __init__(self, sockets: list[socket.socket]) -> None:
        self._sockets = sockets
        self._closed = False

    @property
    def port(self) -> int:
        port: int = self._sockets[0].getsockname()[1]
        return port

    async def accept(self) -> tuple[socket.socket, str]:
        """Return the next connection and its peer's name. Raises `trio.ClosedResourceError` after `close`."""
        while True:
            await trio.lowlevel.checkpoint()
            for sock in self._sockets:
                if self._closed:
                    raise trio.ClosedResourceError
                try:
                    accepted, address = sock.accept()
                except BlockingIOError:
                    continue
                except OSError as error:
                    if error.errno not in SHORTAGE:
                        continue  # what befell one connection before it was accepted
                    logger.warning("cannot accept a connection: %s", error.strerror)
                    await trio.sleep(SHORTAGE_PAUSE)
                else:
                    return accepted, peer_name(address)
            await self._wait_for_one()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            for sock in self._sockets:
                trio.lowlevel.notify_closing(sock)
                sock.close()

    async def _wait_for_one(self) -> None:
        if len(self._sockets) == 1:
            await _wait_readable(self._sockets[0])
            return
        async with trio.open_nursery() as nursery:

            async def wait(sock: socket.socket) -> None:
                await _wait_readable(sock)
                nursery.cancel_scope.cancel()

            for sock in self._sockets:
                nursery.start_soon(wait, sock)


async def _wait_readable(sock: socket.socket) -> None:
    try:
        await trio.lowlevel.wait_readable(sock)
    except (trio.ClosedResourceError, ValueError, OSError):
        await trio.lowlevel.checkpoint()  # closed: the accept loop sees it


async def listen(address: Address) -> ListeningSockets:
    """Listen on every address the host stands for. Raises `ListenFailed` with a sentence that names the URL."""
    try:
        found = await trio.socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        raise ListenFailed(f"{address.url}: the name does not resolve to an address") from error
    sockets: list[socket.socket] = []
    failure: OSError | None = None
    port = address.port
    for family, where in dict.fromkeys((family, where) for family, _, _, _, where in found):
        try:
            sock = _listening_socket(family, (where[0], port, *where[2:]))
        except OSError as error:
            failure = failure or error
            continue
        sockets.append(sock)
        port = sock.getsockname()[1]
    # One address family may be missing on this machine; a taken port is an error all the same.
    if not sockets or (failure is not None and failure.errno == errno.EADDRINUSE and address.port):
        for sock in sockets:
            sock.close()
        failure = failure or OSError(errno.EADDRNOTAVAIL, "no address")
        raise ListenFailed(f"{address.url}: {listen_sentence(failure)}") from failure
    return ListeningSockets(sockets)


def _listening_socket(family: int, where: tuple[object, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(where)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def server_context(address: Address, options: TransportOptions) -> ssl.SSLContext | None:
    """Return the TLS context an address listens with. Raises `UsageError` if it needs one and none is given."""
    if not address.secure:
        return None
    if options.ssl_context is None:
        raise UsageError(
            f"{address.url}: listening with TLS needs a certificate: --tls-cert and --tls-key, in a program ssl_context"
        )
    return options.ssl_context


def accepted_stream(
    sock: socket.socket,
    peer: str,
    options: TransportOptions,
    context: ssl.SSLContext | None,
    *,
    keepalive: bool,
    proxied: bool = False,
) -> ByteStream:
    """Wrap an accepted socket; a ``proxied`` one may begin with a PROXY header. Raises OSError if the peer is gone
    already."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, options.send_buffer_bytes)
        if keepalive:
            keep_alive(sock)
        stream: ByteStream = TcpStream(sock, peer, proxied=proxied)
    except BaseException:
        sock.close()
        raise
    return stream if context is None else TlsStream(stream, context, server_side=True)


def keep_alive(sock: socket.socket) -> None:
    """Let the kernel notice a peer that vanished, where it can."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_IDLE),
        ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL),
        ("TCP_KEEPCNT", KEEPALIVE_PROBES),
        ("TCP_USER_TIMEOUT", USER_TIMEOUT * 1000),
    ):
        option = getattr(socket, name, None)
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


async def dial(address: Address, options: TransportOptions, *, keepalive: bool) -> ByteStream:
    """Connect, with TLS if the scheme says so. Raises `ConnectFailed` with a sentence that names the URL; the caller
    sets the deadline."""
    try:
        connected = await trio.open_tcp_stream(address.host, address.port)
    except (OSError, UnicodeError) as error:
        if not isinstance(error, OSError):
            raise ConnectFailed(f"{address.url}: the name is no host name") from error
        raise ConnectFailed(f"{address.url}: {connect_sentence(error)}", refused=is_refusal(error)) from error
    # Trio's socket lets go of the descriptor, and a standard socket takes it: it has one owner at any time.
    sock = socket.socket(fileno=connected.socket.detach())
    try:
        if keepalive:
            keep_alive(sock)
        stream: ByteStream = TcpStream(sock, peer_name(sock.getpeername()))
    except OSError as error:
        sock.close()
        raise ConnectFailed(f"{address.url}: {connect_sentence(error)}") from error
    if not address.secure:
        return stream
    try:
        context = options.ssl_context or ssl.create_default_context()
        stream = TlsStream(stream, context, server_side=False, hostname=address.host)
        await stream.start()
    except (trio.BrokenResourceError, trio.ClosedResourceError, ValueError, UnicodeError) as error:
        stream.abort()
        raise ConnectFailed(f"{address.url}: {_tls_sentence(error.__cause__ or error)}") from error
    except BaseException:
        stream.abort()
        raise
    return stream


def _tls_sentence(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        said = VERIFY_SENTENCES.get(error.verify_code, error.verify_message)
        return f"the server's certificate is not trusted: {said}"
    if isinstance(error, ssl.SSLEOFError):
        return "the server hung up during the TLS handshake"
    if isinstance(error, ssl.SSLError):
        if error.reason in NO_TLS:
            return "what listens there does not speak TLS; ws:// and tcp:// are the addresses without it"
        if error.reason in OLD_TLS:
            return "the server speaks no version of TLS that is still safe"
    return "the TLS handshake failed"
