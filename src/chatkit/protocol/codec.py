"""Bytes to messages and back, in one encoding.

The laws: whatever the bytes, decoding gives a message or `ProtocolError`. What was encoded decodes to an equal message.
What was decoded can be encoded again, in either encoding.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeAlias, TypeVar

import msgpack
import orjson
from attrs import frozen
from cattrs import Converter

from chatkit.errors import ProtocolError, UsageError
from chatkit.protocol import times
from chatkit.protocol.bounds import Between
from chatkit.protocol.codes import ErrorCode
from chatkit.protocol.converter import Encoding, Expected, Inside, fault_of, make_converter, plain
from chatkit.protocol.messages import Entry, Event, Request, UnknownEvent
from chatkit.protocol.vocabulary import STANDARD, Vocabulary

R = TypeVar("R")
Ref: TypeAlias = int | str | None
LONGEST_REF = 64


@frozen
class RequestEnvelope:
    """A request as it travels. ``ref`` is the client's own mark; the reply repeats it."""

    request: Request[Any]
    ref: Ref = None


@frozen(kw_only=True)
class Success:
    """The reply to a request that was done. ``data`` is raw; `Codec.reply` gives it its class."""

    ref: Ref
    data: Mapping[str, Any]
    timestamp: int


@frozen(kw_only=True)
class Failure:
    """The reply to a request that was refused."""

    ref: Ref
    code: str
    message: str
    retry_after: float | None = None
    scope: str | None = None
    timestamp: int


@frozen
class EventEnvelope:
    """An event as it travels, with the server's time in milliseconds since 1970."""

    event: Event
    timestamp: int


Inbound: TypeAlias = Success | Failure | EventEnvelope


class Codec:
    """Encodes and decodes one vocabulary in one encoding (``json`` or ``msgpack``).

    Every ``encode_*`` raises `UsageError` for values that have no place in a message: NaN, text that is not Unicode
    (lone surrogates), an integer of more than 64 bits, a time outside 1970 to 9999.
    """

    def __init__(self, encoding: Encoding = "json", vocabulary: Vocabulary = STANDARD) -> None:
        self.encoding: Encoding = encoding
        self.vocabulary = vocabulary
        self._dump: Callable[[Any], bytes] = _dump_json if encoding == "json" else _dump_msgpack
        self._load: Callable[[bytes], Any] = _load_json if encoding == "json" else _load_msgpack
        self._converter = self._new_converter(detailed=False)
        self._structurers: dict[Any, Callable[[Any, Any], Any]] = _Found(self._converter.get_structure_hook)
        self._unstructurers: dict[type, Callable[[Any], Any]] = _Found(self._converter.get_unstructure_hook)
        self._detailed = self._new_converter(detailed=True)

    # ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def encode_request(self, request: Request[Any], ref: Ref = None) -> bytes:
        """Encode a request."""
        envelope: dict[str, Any] = {"action": request.action}
        if ref is not None:
            envelope["ref"] = ref
        envelope["data"] = self.fields_of(request)
        return self._dump(envelope)

    def decode_request(self, raw: bytes) -> RequestEnvelope:
        """Decode what a client sent. Raises `ProtocolError`, with ``ref`` set if it could be read."""
        envelope = self._load(raw)
        ref, action = _head_of(envelope)
        cls = self.vocabulary.requests.get(action)
        if cls is None:
            raise ProtocolError(f"unknown action {action[:64]!r}", code=ErrorCode.UNKNOWN_ACTION, ref=ref)
        return RequestEnvelope(self._structure(envelope.get("data", {}), cls, ref), ref)

    # ── replies ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def encode_success(self, reply: Any, ref: Ref, timestamp: int) -> bytes:
        """Encode the reply to a request that was done; ``reply`` is an attrs object."""
        envelope: dict[str, Any] = {"action": "success"}
        if ref is not None:
            envelope["ref"] = ref
        envelope["data"] = self.fields_of(reply)
        envelope["timestamp"] = times.to_wire(timestamp)
        return self._dump(envelope)

    def encode_failure(
        self,
        code: str,
        message: str,
        ref: Ref,
        timestamp: int,
        *,
        retry_after: float | None = None,
        scope: str | None = None,
    ) -> bytes:
        """Encode the reply to a request that was refused."""
        data: dict[str, Any] = {"code": str(code), "message": message}
        if retry_after is not None:
            data["retry_after"] = retry_after
        if scope is not None:
            data["scope"] = scope
        envelope: dict[str, Any] = {"action": "error", "data": data, "timestamp": times.to_wire(timestamp)}
        if ref is not None:
            envelope["ref"] = ref
        return self._dump(envelope)

    def reply(self, success: Success, request: type[Request[R]]) -> R:
        """Give a success the class that its request announces. Raises `ProtocolError`."""
        reply: R = self._structure(success.data, request.reply, success.ref)
        return reply

    # ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def encode_event(self, event: Event, timestamp: int) -> bytes:
        """Encode an event."""
        return self._dump(self._event_envelope(event, timestamp))

    def decode(self, raw: bytes) -> Inbound:
        """Decode what a server sent: a reply or an event. An event of unknown action is an `UnknownEvent`.

        Raises `ProtocolError`.
        """
        envelope = self._load(raw)
        ref, action = _head_of(envelope)
        data = envelope.get("data", {})
        if type(data) is not dict:
            raise ProtocolError("data: expected an object", ref=ref)
        timestamp = _timestamp_of(envelope, ref)
        if action == "success":
            return Success(ref=ref, data=data, timestamp=timestamp)
        if action == "error":
            why: _FailureData = self._structure(data, _FailureData, ref)
            return Failure(
                ref=ref,
                code=why.code,
                message=why.message,
                retry_after=why.retry_after,
                scope=why.scope,
                timestamp=timestamp,
            )
        return EventEnvelope(self.event_from(action, data), timestamp)

    def event_from(self, action: str, data: Any) -> Event:
        """Make an event from its action and raw data. Raises `ProtocolError`."""
        cls = self.vocabulary.events.get(action)
        try:
            event: Event = self._unknown(action, data) if cls is None else self._structurers[cls](data, cls)
        except Exception as error:
            raise ProtocolError(self._fault(data, cls, error)) from error
        return event

    def fields_of(self, message: Any) -> dict[str, Any]:
        """Return a message's fields as they stand in an envelope's ``data``. Raises `UsageError`."""
        try:
            fields: dict[str, Any] = self._unstructurers[type(message)](message)
        except Exception as error:
            raise UsageError(f"{type(message).__name__} cannot be encoded: {error}") from error
        return fields

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _new_converter(self, *, detailed: bool) -> Converter:
        converter = make_converter(self.encoding, detailed=detailed)
        converter.register_structure_hook(Entry, lambda raw, _: self._entry(raw, converter))
        converter.register_unstructure_hook(Entry, lambda entry: self._event_envelope(entry.event, entry.timestamp))
        converter.register_unstructure_hook(UnknownEvent, lambda event: plain(event.data, binary=True))
        return converter

    def _event_envelope(self, event: Event, timestamp: int) -> dict[str, Any]:
        return {"action": event.action, "data": self.fields_of(event), "timestamp": times.to_wire(timestamp)}

    def _entry(self, raw: Any, converter: Converter) -> Entry:
        if type(raw) is not dict:
            raise Expected("expected the envelope of an event")
        try:
            action, timestamp = _action_of(raw, None), _timestamp_of(raw, None)
        except ProtocolError as error:
            raise Expected(error.message) from error
        data, cls = raw.get("data", {}), self.vocabulary.events.get(action)
        try:
            event = self._unknown(action, data) if cls is None else converter.structure(data, cls)
        except Exception as error:
            raise Inside(".data", error) from error
        return Entry(event=event, timestamp=timestamp)

    def _unknown(self, action: str, data: Any) -> UnknownEvent:
        if type(data) is not dict:
            raise Expected("expected an object")
        return UnknownEvent(action=action, data=plain(data, binary=self.encoding == "msgpack"))

    def _structure(self, data: Any, cls: Any, ref: Ref) -> Any:
        try:
            return self._structurers[cls](data, cls)
        except Exception as error:
            raise ProtocolError(self._fault(data, cls, error), ref=ref) from error

    def _fault(self, data: Any, cls: Any, error: Exception) -> str:
        """Say where the fault is: the fast converter only knows that there is one."""
        try:
            if cls is not None:
                self._detailed.structure(data, cls)
        except Exception as detailed:
            error = detailed
        try:
            return fault_of(error, "data")
        except RecursionError:
            return "data: is nested too deeply"


class _Found(dict[Any, Callable[..., Any]]):
    """What has been looked up once. The converter finds the same two functions for a class each time anew, in more
    steps than they have themselves."""

    def __init__(self, look_up: Callable[[Any], Callable[..., Any]]) -> None:
        super().__init__()
        self._look_up = look_up

    def __missing__(self, cls: Any) -> Callable[..., Any]:
        found = self[cls] = self._look_up(cls)
        return found


@frozen
class _FailureData:
    code: str
    message: str
    retry_after: Annotated[float, Between(0, 2**31)] | None = None
    scope: str | None = None


def _load_json(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ProtocolError(f"not JSON: {error}") from None


def _load_msgpack(raw: bytes) -> Any:
    try:
        return msgpack.unpackb(raw, raw=False, strict_map_key=True, ext_hook=_no_extensions, timestamp=0)
    except Exception as error:
        raise ProtocolError(f"not MessagePack: {str(error) or type(error).__name__}") from None


def _no_extensions(code: int, _: bytes) -> Any:
    raise ValueError(f"extension type {code} has no place in a message")


def _dump_json(value: Any) -> bytes:
    try:
        return orjson.dumps(value, default=_bytes_as_text)
    except TypeError as error:
        raise UsageError(f"cannot be encoded as JSON: {error}") from error


def _bytes_as_text(value: Any) -> str:
    if type(value) is bytes:  # of an event this program has no class for, received as MessagePack
        return b64encode(value).decode("ascii")
    raise TypeError(f"{type(value).__name__} has no place in a message")


def _dump_msgpack(value: Any) -> bytes:
    try:
        packed: bytes = msgpack.packb(value, use_bin_type=True)
    except (TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"cannot be encoded as MessagePack: {error}") from error
    return packed


def _head_of(envelope: Any) -> tuple[Ref, str]:
    """Return the ref and the action of what was received. Raises `ProtocolError`."""
    if type(envelope) is not dict:
        raise ProtocolError("expected an object with 'action' and 'data'")
    ref = envelope.get("ref")
    if not (ref is None or type(ref) is int or (type(ref) is str and len(ref.encode()) <= LONGEST_REF)):
        raise ProtocolError(f"ref: expected an integer or a string of at most {LONGEST_REF} bytes")
    return ref, _action_of(envelope, ref)


def _action_of(envelope: dict[str, Any], ref: Ref) -> str:
    action = envelope.get("action")
    if type(action) is not str:
        raise ProtocolError("action: expected a string" if action is not None else "action: is missing", ref=ref)
    return action


def _timestamp_of(envelope: dict[str, Any], ref: Ref) -> int:
    timestamp = envelope.get("timestamp")
    if type(timestamp) is not str:
        raise ProtocolError("timestamp: expected a string", ref=ref)
    try:
        return times.from_wire(timestamp)
    except ValueError as error:
        raise ProtocolError(f"timestamp: {error}", ref=ref) from error
