"""The schemes ``tcp://`` and ``tls://``: lines over a socket."""

from __future__ import annotations

import ssl

import trio
from attrs import evolve

from chatkit.errors import ConnectFailed, UsageError
from chatkit.transport import sockets
from chatkit.transport.address import parse
from chatkit.transport.interface import Arrival, Connection, Encoding, Listener, TransportOptions
from chatkit.transport.lines import LineArrival, open_client_lines
from chatkit.transport.proxied import is_trusted


class TcpListener(Listener):
    """Listens for lines on a TCP address."""

    def __init__(
        self, opened: sockets.ListeningSockets, url: str, options: TransportOptions, context: ssl.SSLContext | None
    ) -> None:
        self.url = url
        self._sockets = opened
        self._options = options
        self._context = context

    async def accept(self) -> Arrival:
        while True:
            sock, peer = await self._sockets.accept()
            try:
                stream = sockets.accepted_stream(
                    sock,
                    peer,
                    self._options,
                    self._context,
                    keepalive=True,
                    proxied=is_trusted(peer, self._options.trusted_proxies),
                )
            except OSError:  # gone between its connect and our accept
                continue
            return LineArrival(stream, self._options, self.url)

    def close(self) -> None:
        self._sockets.close()


async def listen_tcp(url: str, options: TransportOptions) -> Listener:
    """Listen on ``tcp://host:port`` or, with ``options.ssl_context``, ``tls://host:port``; port 0 picks a free one.

    Raises `UsageError` for a malformed URL, `ListenFailed` when the address cannot be had.
    """
    address = parse(url)
    if address.path.strip("/"):
        raise UsageError(f"address {url!r}: {address.scheme}:// has no path")
    context = sockets.server_context(address, options)
    opened = await sockets.listen(address)
    return TcpListener(opened, evolve(address, port=opened.port, path="").url, options, context)


async def connect_tcp(nursery: trio.Nursery, url: str, options: TransportOptions, encoding: Encoding) -> Connection:
    """Connect to ``tcp://host:port`` or ``tls://host:port``. JSON only.

    Raises `UsageError` for a malformed URL or another encoding, `ConnectFailed` when no link came to be within
    ``options.handshake_timeout``.
    """
    address = parse(url)
    if encoding != "json":
        raise UsageError(f"{url}: lines carry JSON only, not {encoding}")
    try:
        with trio.fail_after(options.handshake_timeout):
            stream = await sockets.dial(address, options, keepalive=True)
    except trio.TooSlowError as error:
        raise ConnectFailed(f"{address.url}: no answer within {options.handshake_timeout:g} seconds") from error
    return open_client_lines(nursery, stream, url, options, encoding)
