"""HTTP/1.1 on a stream, served by an ASGI application: h11 in front, the application behind.

Laws: every step has a deadline (a request's head, its body, each write), so a slow peer holds nothing for long; a
body is bounded; whatever the application raises is answered by 500 and logged, and ends this connection alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, TypeAlias
from urllib.parse import unquote

import h11
import trio

from chatkit.server.http_limits import HttpLimits
from chatkit.server.logbook import Logbook
from chatkit.transport.proxied import host_of
from chatkit.transport.stream import ByteStream
from chatkit.transport.upgrade import fault

log = Logbook("chatkit.server.http")

Message: TypeAlias = MutableMapping[str, Any]
AsgiApp: TypeAlias = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]
RECEIVE_BYTES = 65_536
HEAD_BYTES = 16_384
BODY_TOO_LARGE = "the body is too large"
REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}
STREAM_ENDED = (trio.BrokenResourceError, trio.ClosedResourceError)


class Gone(OSError):
    """The peer is gone, or was too slow: nothing more can be said to it. To an application, the error of a closed
    connection (ASGI's HTTP specification, 2.4)."""


class HttpConnection:
    """One connection's requests, one after the other."""

    def __init__(
        self,
        stream: ByteStream,
        received: bytes,
        app: AsgiApp,
        limits: HttpLimits,
        *,
        secure: bool,
        server: tuple[str, int | None],
        keep_alive: bool = True,
    ) -> None:
        """``received`` was read of the stream already. Without ``keep_alive`` it ends after one request: a proxy might
        send those of several clients."""
        self.limits = limits
        self.scheme = "https" if secure else "http"
        self.server = server
        self.client = _host_and_port(stream.peer)
        self.keep_alive = keep_alive
        self._stream = stream
        self._app = app
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
        self._http.receive_data(received)

    async def run(self) -> None:
        """Serve until either side ends the connection. Never raises but for cancellation."""
        try:
            while await self._serve_one():
                pass
            await self._stream.linger(self.limits.linger)
        except (Gone, *STREAM_ENDED):
            return
        finally:
            self._stream.abort()

    async def _serve_one(self) -> bool:
        try:
            event = await self.next_event(self.limits.head_timeout)
        except Gone:
            return False  # no other request came
        except h11.RemoteProtocolError as error:
            await self.refuse(error.error_status_hint, f"this is no HTTP request: {fault(error)}")
            return False
        if not isinstance(event, h11.Request):
            return False
        refusal = self._judge(event)
        if refusal is not None:
            await self.refuse(*refusal)
            return False
        await Exchange(self, event).run(self._app)
        if self._http.our_state is not h11.DONE or not self.skip_body():
            return False
        self._http.start_next_cycle()
        return True

    def _judge(self, request: h11.Request) -> tuple[int, str] | None:
        """Say why a request is not even shown to the application."""
        if not request.http_version.startswith(b"1."):
            return 505, "the HTTP versions are 1.0 and 1.1"
        headers = {bytes(name): bytes(value) for name, value in request.headers}
        if b"websocket" in headers.get(b"upgrade", b"").lower():
            return 400, "a WebSocket begins with a connection of its own"
        if b"transfer-encoding" in headers and b"content-length" in headers:  # RFC 9112, section 6.3
            return 400, "a body has a length or comes in chunks, not both"
        if int(headers.get(b"content-length", b"0")) > self.limits.body_bytes:
            return 413, BODY_TOO_LARGE
        return None

    async def next_event(self, seconds: float) -> Any:
        """Return the next HTTP event. Raises `Gone`, also after ``seconds``, and h11's error for nonsense."""
        with trio.move_on_after(max(0.0, seconds)):
            while (event := self._http.next_event()) is h11.NEED_DATA:
                if self._http.they_are_waiting_for_100_continue:
                    await self.send(h11.InformationalResponse(status_code=100, headers=[]))
                try:
                    self._http.receive_data(await self._stream.receive_some(RECEIVE_BYTES))
                except STREAM_ENDED as error:
                    raise Gone from error
            return event
        raise Gone

    def skip_body(self) -> bool:
        """Throw away what has come already of a request's body; say whether that was the rest of it."""
        try:
            while self._http.their_state is h11.SEND_BODY:
                if self._http.next_event() in (h11.NEED_DATA, h11.PAUSED):
                    return False
        except h11.RemoteProtocolError:
            return False
        return self._http.their_state is h11.DONE

    async def wait_gone(self) -> None:
        """Return when the peer has ended its half; keep what it sends until then for the next request. Raises `Gone`
        if that is too much."""
        kept = 0
        try:
            while data := await self._stream.receive_some(RECEIVE_BYTES):
                kept += len(data)
                if kept > self.limits.body_bytes:
                    raise Gone
                self._http.receive_data(data)
        except STREAM_ENDED as error:
            raise Gone from error

    async def send(self, event: Any) -> None:
        """Send one HTTP event. Raises `Gone`, and h11's error for what HTTP does not allow."""
        data = self._http.send(event)
        if not data:
            return
        with trio.move_on_after(self.limits.write_timeout):
            try:
                await self._stream.send_all(data)
            except STREAM_ENDED as error:
                raise Gone from error
            return
        raise Gone

    async def refuse(self, status: int, sentence: str) -> None:
        """Answer with a status and a sentence, if nothing was answered yet; the connection ends then."""
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        body = f"{sentence}\n".encode()
        headers = [
            ("date", formatdate(usegmt=True)),
            ("content-type", "text/plain; charset=utf-8"),
            ("content-length", str(len(body))),
            ("connection", "close"),
        ]
        await self.send(h11.Response(status_code=status, headers=headers, reason=_reason(status)))
        if not self._answers_head():
            await self.send(h11.Data(data=body))
        await self.send(h11.EndOfMessage())

    def _answers_head(self) -> bool:
        return bool(self._http._request_method == b"HEAD")


class Exchange:
    """One request and its response, as the application sees them."""

    def __init__(self, connection: HttpConnection, request: h11.Request) -> None:
        self._connection = connection
        self._request = request
        self._received = 0
        self._complete = False
        self._started = False
        self._ended = False
        self._gone = False
        self._deadline = trio.current_time() + connection.limits.body_timeout

    async def run(self, app: AsgiApp) -> None:
        """Let the application answer. Raises `Gone` when it could not."""
        path = _path(self._request.target)
        try:
            await app(self._scope(path), self._receive, self._send)
        except Exception as error:
            if not self._gone:
                method = self._request.method.decode()
                log.exception("%s %.200r failed", method, path.decode(), event="http_failed")
            elif not self._ended:  # whatever the application made of it
                raise Gone from error
        if not self._started:
            await self._connection.refuse(500, "the server failed in this request")
        elif not self._ended:
            raise Gone

    def _scope(self, path: bytes) -> MutableMapping[str, Any]:
        request, connection = self._request, self._connection
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": request.http_version.decode(),
            "method": request.method.decode(),
            "scheme": connection.scheme,
            "path": unquote(path.decode()),
            "raw_path": path,
            "query_string": request.target.partition(b"?")[2],
            "root_path": "",
            "headers": [(bytes(name), bytes(value)) for name, value in request.headers],
            "client": connection.client,
            "server": connection.server,
        }

    async def _receive(self) -> Message:
        try:
            return await self._next_message()
        except Gone:
            self._gone = True
            return {"type": "http.disconnect"}

    async def _next_message(self) -> Message:
        if self._complete:
            await self._connection.wait_gone()
            return {"type": "http.disconnect"}
        try:
            event = await self._connection.next_event(self._deadline - trio.current_time())
        except h11.RemoteProtocolError as error:
            raise Gone from error
        if isinstance(event, h11.Data):
            self._received += len(event.data)
            if self._received > self._connection.limits.body_bytes:
                self._started = self._started or await self._refuse_body()
                raise Gone
            return {"type": "http.request", "body": bytes(event.data), "more_body": True}
        if isinstance(event, h11.EndOfMessage):
            self._complete = True
            return {"type": "http.request", "body": b"", "more_body": False}
        raise Gone

    async def _refuse_body(self) -> bool:
        await self._connection.refuse(413, BODY_TOO_LARGE)
        self._ended = True
        return True

    async def _send(self, message: Message) -> None:
        if self._gone:
            raise Gone
        try:
            await self._send_message(message)
        except Gone:
            self._gone = True
            raise

    async def _send_message(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [(bytes(name), bytes(value)) for name, value in message.get("headers", ())]
            if not any(name.lower() == b"date" for name, _ in headers):
                headers.append((b"date", formatdate(usegmt=True).encode()))
            if not self._connection.keep_alive:
                headers.append((b"connection", b"close"))
            status = message["status"]
            await self._connection.send(h11.Response(status_code=status, headers=headers, reason=_reason(status)))
            self._started = True
        elif message["type"] == "http.response.body":
            body = message.get("body", b"")
            if body and self._request.method != b"HEAD":
                await self._connection.send(h11.Data(data=bytes(body)))
            if not message.get("more_body", False):
                await self._connection.send(h11.EndOfMessage())
                self._ended = True


def _reason(status: int) -> bytes:
    """Return the phrase that goes with a status; one that is not registered has none."""
    return REASONS.get(status, b"")


def _path(target: bytes) -> bytes:
    """Return the path of a request's target, which may be a whole URL (RFC 9112, section 3.2.2)."""
    path = target.partition(b"?")[0]
    scheme, found, rest = path.partition(b"://")
    if found and scheme.lower() in (b"http", b"https"):
        path = b"/" + rest.partition(b"/")[2]
    return path


def _host_and_port(peer: str) -> tuple[str, int] | None:
    address = host_of(peer)
    if address is None:
        return None
    port = peer.rpartition(":")[2]
    return str(address), int(port) if port.isdigit() else 0
