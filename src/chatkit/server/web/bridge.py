"""HTTP/1.1 on a stream, served by an ASGI application: h11 in front, the application behind.

Laws: every step has a deadline (a request's head, its body, each write), so a slow peer holds nothing for long; a
body is bounded; whatever the application raises is answered by 500 and logged, and ends this connection alone.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias
from urllib.parse import unquote

import h11
import trio
from attrs import frozen

from chatkit.transport.stream import ByteStream

log = logging.getLogger("chatkit.server.http")

Message: TypeAlias = MutableMapping[str, Any]
AsgiApp: TypeAlias = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]
RECEIVE_BYTES = 65_536
HEAD_BYTES = 16_384


@frozen(kw_only=True)
class HttpLimits:
    """Deadlines in seconds, sizes in bytes."""

    head_timeout: float = 10.0
    """A request's head, and the wait for the next request on the same connection."""
    body_timeout: float = 30.0
    """A request's whole body."""
    write_timeout: float = 30.0
    """One write to a peer that reads slowly."""
    body_bytes: int = 65_536
    """A request's body; a longer one is answered by 413."""
    linger: float = 1.0
    """How long the last bytes may take to be read."""


class Gone(Exception):
    """The peer is gone, or was too slow: nothing more can be said to it."""


class HttpConnection:
    """One connection's requests, one after the other."""

    def __init__(
        self, stream: ByteStream, received: bytes, app: AsgiApp, limits: HttpLimits, *, secure: bool, server: str
    ) -> None:
        self._stream = stream
        self._app = app
        self._limits = limits
        self._scheme = "https" if secure else "http"
        self._server = server
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
        self._http.receive_data(received)

    async def run(self) -> None:
        """Serve until either side ends the connection. Never raises but for cancellation."""
        try:
            while await self._serve_one():
                pass
            await self._stream.linger(self._limits.linger)
        except Gone:
            return
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
        finally:
            self._stream.abort()

    async def _serve_one(self) -> bool:
        try:
            event = await self._next_event(self._limits.head_timeout)
        except h11.RemoteProtocolError as error:
            await self._refuse(error.error_status_hint, str(error))
            return False
        if not isinstance(event, h11.Request):
            return False
        exchange = Exchange(self, event)
        await exchange.run(self._app)
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    async def _next_event(self, seconds: float) -> Any:
        with trio.move_on_after(seconds):
            while (event := self._http.next_event()) is h11.NEED_DATA:
                self._http.receive_data(await self._stream.receive_some(RECEIVE_BYTES))
            return event
        raise Gone

    async def wait_gone(self) -> None:
        """Return when the peer has ended its half; keep what it sends until then for the next request. Raises `Gone`
        if that is too much."""
        kept = 0
        while data := await self._stream.receive_some(RECEIVE_BYTES):
            kept += len(data)
            if kept > self._limits.body_bytes:
                raise Gone
            self._http.receive_data(data)

    async def send(self, event: Any) -> None:
        """Send one HTTP event. Raises `Gone`."""
        data = self._http.send(event)
        if not data:
            return
        with trio.move_on_after(self._limits.write_timeout):
            await self._stream.send_all(data)
            return
        raise Gone

    async def _refuse(self, status: int, sentence: str) -> None:
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        body = f"{sentence}\n".encode()
        headers = [
            ("content-type", "text/plain; charset=utf-8"),
            ("content-length", str(len(body))),
            ("connection", "close"),
        ]
        await self.send(h11.Response(status_code=status, headers=headers))
        await self.send(h11.Data(data=body))
        await self.send(h11.EndOfMessage())


class Exchange:
    """One request and its response, as the application sees them."""

    def __init__(self, connection: HttpConnection, request: h11.Request) -> None:
        self._connection = connection
        self._request = request
        self._received = 0
        self._complete = False
        self._started = False
        self._ended = False
        self._deadline = trio.current_time() + connection._limits.body_timeout

    async def run(self, app: AsgiApp) -> None:
        """Let the application answer."""
        try:
            await app(self._scope(), self._receive, self._send)
        except Gone:
            raise
        except Exception:
            log.exception("%s %s failed", self._request.method.decode(), self._request.target.decode())
        if not self._started:
            await self._connection._refuse(500, "the server failed in this request")
        elif not self._ended:
            raise Gone

    def _scope(self) -> MutableMapping[str, Any]:
        request, connection = self._request, self._connection
        path, _, query = request.target.partition(b"?")
        host, _, port = connection._stream.peer.rpartition(":")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": request.http_version.decode(),
            "method": request.method.decode(),
            "scheme": connection._scheme,
            "path": unquote(path.decode("ascii", "replace")),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": [(bytes(name), bytes(value)) for name, value in request.headers],
            "client": (host, int(port)) if port.isdigit() else None,
            "server": (connection._server, None),
        }

    async def _receive(self) -> Message:
        if self._complete:
            await self._connection.wait_gone()
            return {"type": "http.disconnect"}
        try:
            event = await self._connection._next_event(max(0.0, self._deadline - trio.current_time()))
        except h11.RemoteProtocolError as error:
            raise Gone from error
        if isinstance(event, h11.Data):
            self._received += len(event.data)
            if self._received > self._connection._limits.body_bytes:
                await self._connection._refuse(413, "the body is too large")
                raise Gone
            return {"type": "http.request", "body": bytes(event.data), "more_body": True}
        if isinstance(event, h11.EndOfMessage):
            self._complete = True
            return {"type": "http.request", "body": b"", "more_body": False}
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._started = True
            headers = [(bytes(name), bytes(value)) for name, value in message.get("headers", ())]
            await self._connection.send(h11.Response(status_code=message["status"], headers=headers))
        elif message["type"] == "http.response.body":
            body = message.get("body", b"")
            if body and self._request.method != b"HEAD":
                await self._connection.send(h11.Data(data=bytes(body)))
            if not message.get("more_body", False):
                await self._drain()
                await self._connection.send(h11.EndOfMessage())
                self._ended = True

    async def _drain(self) -> None:
        """Take in what is left of a small body, so that the connection can carry another request."""
        while not self._complete:
            await self._receive()
