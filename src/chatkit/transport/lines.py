r"""The line binding: one JSON message per line, over any byte stream, so that ``nc`` is a client."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import orjson
import trio

from chatkit.errors import Disconnected, ProtocolError, UsageError
from chatkit.protocol.framing import LineBuffer, line_frame
from chatkit.transport.closing import (
    BROKEN,
    GARBAGE,
    LINGER_SECONDS,
    TOO_LARGE,
    TOO_SLOW,
    closing_event,
    ended,
    read_closing,
)
from chatkit.transport.interface import Arrival, Connection, Encoding, TransportOptions, WireFormat
from chatkit.transport.outlet import Outlet
from chatkit.transport.stream import ByteStream
from chatkit.transport.written import STREAM_ENDED, WrittenConnection

JSON_LINES = WireFormat("json/lines", "json", line_frame)


class LineConnection(WrittenConnection):
    """One end of a link that speaks lines."""

    format = JSON_LINES

    def __init__(
        self, nursery: trio.Nursery, stream: ByteStream, url: str, options: TransportOptions, *, server: bool
    ) -> None:
        self.peer = stream.peer
        self.url = url
        self._stream = stream
        self._options = options
        self.outlet = Outlet(stream, nursery, options.outlet_bytes, options.write_timeout)
        self._lines = LineBuffer(options.max_message_bytes)
        self._unproven = server
        """No message has come yet, so this may be a web page that posts here."""
        self._begun = False
        """Something has come that may become a JSON object."""
        self._too_large = False
        self._receiving = False
        self._receiver_left = trio.Event()
        self._closing = False
        self._discarding = False
        self._closed = trio.Event()
        self._end: Callable[[], Disconnected] | None = None
        """What this end decided, or the peer said, about the end of the link."""

    async def receive(self) -> bytes:
        if self._receiving:
            raise UsageError("two tasks receive from one connection")
        self._receiving = True
        if self._receiver_left.is_set():
            self._receiver_left = trio.Event()
        try:
            await trio.lowlevel.checkpoint()
            return self._checked(await self._next_line())
        finally:
            self._receiving = False
            self._receiver_left.set()

    async def ping(self) -> None:
        await trio.lowlevel.checkpoint()

    @property
    def last_heard(self) -> float:
        # Nothing can be asked of a peer on lines: the kernel watches it, and nobody who only listens is dead.
        return trio.current_time()

    async def aclose(self, code: int = 1000, reason: str = "", *, reconnect: bool = True) -> None:
        if self._closing or self._closed.is_set():
            with trio.move_on_after(self._options.close_timeout):
                await self._closed.wait()
            return
        self._closing = True
        self._end = self._end or (lambda: ended(code, reason, reconnect=reconnect))
        try:
            with trio.move_on_after(self._options.close_timeout) as patience:
                await self._say_goodbye(code, reason, reconnect)
            if not patience.cancelled_caught:
                self._stream.close()
        finally:
            self.abort()

    def abort(self) -> None:
        self._end = self._end or (lambda: ended(BROKEN, "aborted by this end"))
        self.outlet.abort()
        self._closed.set()

    async def _next_line(self) -> bytes:
        while (line := self._lines.next_line()) is None:
            if self._too_large:
                limit = self._options.max_message_bytes
                await self._refuse(TOO_LARGE, f"a message is longer than {limit} bytes")
            if self._closing:
                await self._discard()
                raise self._disconnected()
            try:
                data = await self._stream.receive_some(self._options.receive_buffer_bytes)
            except STREAM_ENDED as error:
                raise self._disconnected() from error
            if self._closing:
                await self._discard()
                raise self._disconnected()
            if not data:
                raise self._disconnected()
            if self._unproven and not self._begun:
                first = data.lstrip()[:1]
                if first not in (b"{", b""):
                    await self._refuse(GARBAGE, "the first line is no JSON object")
                self._begun = bool(first)
            try:
                self._lines.feed(data)
            except ProtocolError:
                self._too_large = True
        if self._unproven:
            await self._prove(line)
        return line

    def _checked(self, line: bytes) -> bytes:
        if (farewell := read_closing(line)) is not None:
            self._end = self._end or (
                lambda: Disconnected(farewell.code, farewell.reason, reconnect=farewell.reconnect)
            )
            self.abort()  # nothing more comes or is read: let the server's lingering end
            raise self._end()
        if not line.isascii():
            try:
                line.decode()
            except UnicodeDecodeError as error:
                raise ProtocolError(f"a line must be UTF-8; byte {error.start} of this one is not") from error
        return line

    async def _prove(self, line: bytes) -> None:
        with suppress(orjson.JSONDecodeError):
            if isinstance(orjson.loads(line), dict):
                self._unproven = False
                return
        await self._refuse(GARBAGE, "the first line is no JSON object")

    async def _refuse(self, code: int, reason: str) -> None:
        self._receiving = False
        await self.aclose(code, reason, reconnect=ended(code).reconnect)
        raise self._disconnected()

    async def _say_goodbye(self, code: int, reason: str, reconnect: bool) -> None:
        with suppress(*STREAM_ENDED):
            self.outlet.finish(closing_event(code, reason, reconnect=reconnect) + b"\n")
            await self.outlet.flush()
        self._stream.send_eof()
        with trio.move_on_after(LINGER_SECONDS):
            while self._receiving:  # that task discards what still comes
                await self._receiver_left.wait()
            await self._discard()

    async def _discard(self) -> None:
        """Throw away what still comes. One task does it; another that would waits until the link is closed."""
        if self._discarding:
            await self._closed.wait()
            return
        self._discarding = True
        try:
            await self._stream.discard()
        finally:
            self._discarding = False

    def _disconnected(self) -> Disconnected:
        if self._end is None:
            if self.outlet.timed_out:
                seconds = self._options.write_timeout
                self._end = lambda: ended(TOO_SLOW, f"the peer read nothing for {seconds:g} seconds")
            else:
                self._end = lambda: ended(BROKEN)
        return self._end()


class LineArrival(Arrival):
    """Somebody at the door of a line listener. There is nothing to shake hands about but TLS."""

    def __init__(self, stream: ByteStream, options: TransportOptions, url: str) -> None:
        self.peer = stream.peer
        self._stream = stream
        self._options = options
        self.url = url

    async def handshake(self, nursery: trio.Nursery) -> Connection:
        try:
            with trio.fail_after(self._options.handshake_timeout):
                await self._stream.start()
            self.peer = self._stream.peer
        except trio.TooSlowError as error:
            self.abort()
            raise ended(BROKEN, "the handshake took too long") from error
        except STREAM_ENDED as error:
            self.abort()
            raise ended(BROKEN, "the handshake failed") from error
        except BaseException:
            self.abort()
            raise
        return LineConnection(nursery, self._stream, self.url, self._options, server=True)

    def abort(self) -> None:
        self._stream.abort()


def open_client_lines(
    nursery: trio.Nursery, stream: ByteStream, url: str, options: TransportOptions, encoding: Encoding = "json"
) -> Connection:
    """Make the client's end of a line link over a connected stream. Raises `UsageError` for another encoding."""
    if encoding != "json":
        raise UsageError(f"{url}: lines carry JSON only, not {encoding}")
    return LineConnection(nursery, stream, url, options, server=False)
