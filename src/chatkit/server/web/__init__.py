"""HTTP on the WebSocket's port: who is let through to a WebSocket, and what everybody else is answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from chatkit.errors import MissingExtra
from chatkit.server.web.bridge import AsgiApp, HttpConnection
from chatkit.server.web.origins import Origins
from chatkit.transport.interface import HttpArrival

if TYPE_CHECKING:
    from chatkit.server.server import Server


class Web:
    """A server's door for HTTP requests."""

    def __init__(self, server: Server, routes: Sequence[Any]) -> None:
        self._server = server
        self._origins = Origins(server.config.origins)
        self._app = _app(server, routes) if server.config.http else None

    async def admit(self, arrival: HttpArrival) -> bool:
        """Say whether an arrival may go on to its handshake; any other has been served or turned away.

        Raises `Disconnected` and `ProtocolError` as a handshake does.
        """
        head = await arrival.read_head()
        address, secure = urlsplit(arrival.url), arrival.secure
        if head.wants_websocket:
            origin, host = head.header("origin"), head.header("host")
            if self._origins.allow(origin, host, listening=address.hostname or "", secure=secure):
                return True
            self._server.counters.turned_away["origin"] += 1
            await arrival.refuse(403, f"pages of {origin} may not connect here; the operator can allow it")
            return False
        if self._app is None:
            return True
        stream, received = arrival.release()
        await HttpConnection(
            stream,
            received,
            self._app,
            self._server.config.http_limits,
            secure=secure,
            server=(address.hostname or "", address.port),
            keep_alive=not arrival.proxied,
        ).run()
        return False


def _app(server: Server, routes: Sequence[Any]) -> AsgiApp | None:
    try:
        from chatkit.server.web.app import make_app
    except MissingExtra:
        if routes:
            raise
        return None  # a server without the extra still serves every WebSocket
    return make_app(server, routes)
