"""One link to a server: requests out, each matched with its reply by ``ref``; events handed on in order.

Laws: every call given to a link is ended by it or left over when it has ended; bytes go out in the order of the
calls.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable

from chatkit.client.calls import Answer, Call
from chatkit.errors import ConnectFailed, Disconnected, ProtocolError, RequestFailed, UsageError
from chatkit.protocol.codec import Codec, EventEnvelope, Failure, Success
from chatkit.protocol.messages import Closing, Event, Hello
from chatkit.transport.interface import Connection

OnEvent = Callable[[Event, int], None]


class Link:
    """One connection's conversation. ``on_event`` is called for every event, in order, and must not raise."""

    def __init__(self, connection: Connection, codec: Codec, on_event: OnEvent) -> None:
        self.connection = connection
        self._codec = codec
        self._on_event = on_event
        self._refs = itertools.count(1)
        self._calls: dict[int, Call] = {}
        self._most_bytes = sys.maxsize
        self._unawaited: dict[int, Call] = {}
        """Calls nobody waits for any more, whose answers say where one is, or who."""

    async def hello(self) -> Hello:
        """Receive the server's first word. Raises `ConnectFailed` if it is another, `Disconnected`."""
        try:
            first = self._codec.decode(await self.connection.receive())
        except ProtocolError as error:
            raise ConnectFailed(f"{self.connection.url} is no chatkit server: {error}") from error
        if isinstance(first, EventEnvelope) and isinstance(first.event, Closing):
            raise Disconnected(first.event.code, first.event.reason, reconnect=first.event.reconnect)
        if not isinstance(first, EventEnvelope) or not isinstance(first.event, Hello):
            raise ConnectFailed(f"{self.connection.url} is no chatkit server: it did not say hello")
        if first.event.protocol != 1:
            raise ConnectFailed(f"{self.connection.url} speaks protocol {first.event.protocol}; this client speaks 1")
        self._most_bytes = first.event.limits.get("max_message_bytes", self._most_bytes)
        return first.event

    async def send(self, call: Call) -> None:
        """Send a call's request. Raises `Disconnected`; the call is then left over. One that cannot be sent, on this
        link or any, is ended with why, and the link lives."""
        call.ref = next(self._refs)
        try:
            message = self._codec.encode_request(call.request, call.ref)
        except UsageError as error:
            call.finish(error)
            return
        if len(message) > self._most_bytes:
            why = f"a request has at most {self._most_bytes} bytes here, and this one {len(message)}"
            call.finish(RequestFailed("too_large", why))
            return
        self._calls[call.ref] = call
        await self.connection.send(message)

    def forget(self, call: Call) -> None:
        """Nobody waits for this call any more: it is not left over. What its answer changes in the client's state still
        takes effect, for the server did it."""
        if self._calls.get(call.ref) is call:
            del self._calls[call.ref]
            if call.on_reply is not None and getattr(call.request, "op", None) is None:
                self._unawaited[call.ref] = call

    def left_over(self) -> list[Call]:
        """Return the calls that were not answered, in order."""
        return [call for call in self._calls.values() if not call.done]

    async def run(self) -> Disconnected:
        """Receive until the link ends; return why. What the server sends that is no message ends it too."""
        try:
            while True:
                self._take(await self.connection.receive())
        except Disconnected as error:
            return error
        except ProtocolError as error:
            self.connection.abort()
            return Disconnected(1002, f"the server sent nonsense: {error}", reconnect=False)

    def _take(self, raw: bytes) -> None:
        message = self._codec.decode(raw)
        if isinstance(message, EventEnvelope):
            if isinstance(message.event, Closing):
                closing = message.event
                raise Disconnected(closing.code, closing.reason, reconnect=closing.reconnect)
            self._on_event(message.event, message.timestamp)
            return
        if not isinstance(message.ref, int):
            return
        call = self._calls.get(message.ref) or self._unawaited.pop(message.ref, None)
        if call is not None:
            self._answer(call, message)
            self._calls.pop(call.ref, None)

    def _answer(self, call: Call, message: Success | Failure) -> None:
        if isinstance(message, Failure):
            call.finish(
                RequestFailed(message.code, message.message, retry_after=message.retry_after, scope=message.scope)
            )
            return
        answer = Answer(self._codec.reply(message, type(call.request)), message.timestamp)
        if call.on_reply is not None:
            call.on_reply(answer.reply)
        call.finish(answer)
