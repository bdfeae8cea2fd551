"""One link to a server: requests out, each matched with its reply by ``ref``; events handed on in order.

Laws: a request is answered exactly once or fails with `Disconnected`; after the link has ended every request fails.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import trio
from attrs import frozen

from chatkit.errors import ConnectFailed, Disconnected, ProtocolError, RequestFailed
from chatkit.protocol.codec import Codec, EventEnvelope, Failure, Success
from chatkit.protocol.messages import Closing, Event, Hello, Request
from chatkit.transport.interface import Connection

R = TypeVar("R")
OnEvent = Callable[[Event, int], None]
OnReply = Callable[[Any], object]


@frozen
class Answer(Generic[R]):
    """A reply, with the server's time in milliseconds since 1970."""

    reply: R
    timestamp: int


class Call:
    """A request that waits for its reply."""

    __slots__ = ("answer", "done", "error", "on_reply", "request")

    def __init__(self, request: Request[Any], on_reply: OnReply | None) -> None:
        self.request = request
        self.on_reply = on_reply
        self.done = trio.Event()
        self.answer: Answer[Any] | None = None
        self.error: Exception | None = None


class Link:
    """One connection's conversation. ``on_event`` is called for every event, in order, and must not raise."""

    def __init__(self, connection: Connection, codec: Codec, on_event: OnEvent) -> None:
        self.connection = connection
        self._codec = codec
        self._on_event = on_event
        self._refs = itertools.count(1)
        self._calls: dict[int, Call] = {}
        self._ended: Disconnected | None = None

    async def hello(self) -> Hello:
        """Receive the server's first word. Raises `ConnectFailed` if it is another, `Disconnected`."""
        try:
            first = self._codec.decode(await self.connection.receive())
        except ProtocolError as error:
            raise ConnectFailed(f"{self.connection.url} is no chatkit server: {error}") from error
        if not isinstance(first, EventEnvelope) or not isinstance(first.event, Hello):
            raise ConnectFailed(f"{self.connection.url} is no chatkit server: it did not say hello")
        if first.event.protocol != 1:
            raise ConnectFailed(f"{self.connection.url} speaks protocol {first.event.protocol}; this client speaks 1")
        return first.event

    async def request(self, request: Request[R], on_reply: Callable[[R], object] | None = None) -> Answer[R]:
        """Send a request and return what answers it.

        ``on_reply`` is called with the reply before any later event is handed on. Raises `RequestFailed`,
        `Disconnected`. Cancelling waits no longer; the server may have done what was asked.
        """
        if self._ended is not None:
            raise _again(self._ended)
        ref = next(self._refs)
        call = self._calls[ref] = Call(request, on_reply)
        try:
            await self.connection.send(self._codec.encode_request(request, ref))
            await call.done.wait()
        finally:
            self._calls.pop(ref, None)
        if call.answer is None:
            raise call.error or _again(Disconnected())
        return call.answer

    async def run(self) -> Disconnected:
        """Receive until the link ends; return why. What the server sends that is no message ends it too."""
        try:
            while True:
                self._take(await self.connection.receive())
        except Disconnected as error:
            self._ended = error
        except ProtocolError as error:
            self._ended = Disconnected(1002, f"the server sent nonsense: {error}")
            self.connection.abort()
        finally:
            self.end(self._ended or Disconnected(1006, "the link was given up"))
        return self._ended

    def end(self, why: Disconnected) -> None:
        """Fail every request that waits, and every later one. The first call counts."""
        self._ended = self._ended or why
        for call in self._calls.values():
            if not call.done.is_set():
                call.error = _again(self._ended)
                call.done.set()

    def _take(self, raw: bytes) -> None:
        message = self._codec.decode(raw)
        if isinstance(message, EventEnvelope):
            if isinstance(message.event, Closing):
                closing = message.event
                raise Disconnected(closing.code, closing.reason, reconnect=closing.reconnect)
            self._on_event(message.event, message.timestamp)
            return
        call = self._calls.get(message.ref) if isinstance(message.ref, int) else None
        if call is not None:
            self._answer(call, message)

    def _answer(self, call: Call, message: Success | Failure) -> None:
        if isinstance(message, Failure):
            call.error = RequestFailed(message.code, message.message, retry_after=message.retry_after)
        else:
            call.answer = Answer(self._codec.reply(message, type(call.request)), message.timestamp)
            if call.on_reply is not None:
                call.on_reply(call.answer.reply)
        call.done.set()


def _again(why: Disconnected) -> Disconnected:
    """Return a new exception for another task: one object raised twice would mix up their tracebacks."""
    return Disconnected(why.code, why.reason, reconnect=why.reconnect)
