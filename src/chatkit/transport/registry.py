"""Opening listeners and connections by the scheme of a URL."""

from __future__ import annotations

import trio

from chatkit.registry import find, scheme_of
from chatkit.transport.interface import Connection, Encoding, Listener, TransportOptions

DEFAULTS = TransportOptions()


async def open_listener(url: str, options: TransportOptions = DEFAULTS) -> Listener:
    """Listen on a URL: ``ws://``, ``wss://``, ``tcp://``, ``tls://``, ``memory://``, or a scheme some installed
    package registers in ``chatkit.listeners``. Port 0 picks a free one; ``Listener.url`` has it.

    Raises `UsageError` for an unknown scheme or a malformed URL, `ListenFailed` when the address cannot be had.
    """
    listen = find("chatkit.listeners", scheme_of(url, "address"), "listener scheme")
    listener: Listener = await listen(url, options)
    return listener


async def open_connection(
    nursery: trio.Nursery, url: str, options: TransportOptions = DEFAULTS, encoding: Encoding = "json"
) -> Connection:
    """Connect to a URL of a scheme as in `open_listener`; the connection's own tasks run in ``nursery``.

    Raises `UsageError` for an unknown scheme, a malformed URL or an encoding the binding does not carry,
    `ConnectFailed` when no link came to be within ``options.handshake_timeout``.
    """
    connect = find("chatkit.connectors", scheme_of(url, "address"), "connection scheme")
    connection: Connection = await connect(nursery, url, options, encoding)
    return connection
