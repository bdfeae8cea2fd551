"""Rows of the log to events, and events to framed bytes: once per event and wire format."""

from __future__ import annotations

import logging
from typing import Any

import attrs
import orjson

from chatkit.backend.records import Body, Row
from chatkit.engine.talking import MESSAGE
from chatkit.errors import ProtocolError, UsageError
from chatkit.protocol.codec import Codec
from chatkit.protocol.messages import Entry, Event, ReceiveMessage, UnknownEvent
from chatkit.protocol.vocabulary import Vocabulary
from chatkit.transport.interface import Encoding, WireFormat

log = logging.getLogger("chatkit.server")

UNREADABLE = "unreadable_entry"
"""The action of an entry that cannot be read: no client knows it, so it counts and is not shown."""


class Renderer:
    """Turns what is kept into what is sent, for one vocabulary."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.codecs: dict[Encoding, Codec] = {
            "json": Codec("json", vocabulary),
            "msgpack": Codec("msgpack", vocabulary),
        }

    def event(self, row: Row, room: str) -> Event:
        """Return the event a row stands for; ``room`` is the room's present name.

        An entry this server cannot read, of another vocabulary or damaged, keeps its place and nothing else: it must
        end neither a server nor a client.
        """
        if row.kind == MESSAGE:
            body = row.body
            return ReceiveMessage(
                room=room,
                seq=row.seq,
                user=row.name,
                text=body if isinstance(body, str) else None,
                binary=body if isinstance(body, bytes) else None,
                op=row.op,
                reply_to=row.about,
                deleted=True if body is None else None,
            )
        place = {"room": room, "seq": row.seq}
        try:
            return self.codecs["json"].event_from(row.kind, {**orjson.loads(row.body or b"{}"), **place})
        except (ValueError, TypeError, ProtocolError) as error:
            log.error("entry %d of %r, a %s, cannot be read: %s", row.seq, room, row.kind, error)
            return UnknownEvent(action=UNREADABLE, data=place)

    def body(self, event: Event) -> Body:
        """Return what the log keeps of a program's own durable event.

        Raises `UsageError` for an event that is not durable, one without ``room`` and ``seq``, or not what its class
        announces.
        """
        if not is_durable(type(event)):
            raise UsageError(f"{type(event).__name__} is not durable: it needs the fields 'room' and 'seq'")
        fields = self.checked_fields(event)
        del fields["room"], fields["seq"]
        return orjson.dumps(fields).decode()

    def checked_fields(self, event: Event) -> dict[str, Any]:
        """Return an event's fields. Raises `UsageError` if a client could not read them: of another type than its
        class announces, or out of bounds."""
        codec = self.codecs["json"]
        fields = codec.fields_of(event)
        try:
            codec.event_from(event.action, fields)
        except ProtocolError as error:
            raise UsageError(f"{type(event).__name__}: {error}") from error
        return fields

    def entry(self, row: Row, room: str) -> Entry:
        """Return the row as a page of history holds it."""
        return Entry(event=self.event(row, room), timestamp=row.time)

    def frame_row(self, row: Row, room: str, wire: WireFormat) -> bytes:
        """Return a row's event as framed bytes."""
        return wire.frame(self.codecs[wire.encoding].encode_event(self.event(row, room), row.time))

    def frame_event(self, event: Event, now: int, wire: WireFormat) -> bytes:
        """Return an ephemeral event as framed bytes."""
        return wire.frame(self.codecs[wire.encoding].encode_event(event, now))


def is_durable(event: type[Any]) -> bool:
    """Whether events of this class are entries of a room's log."""
    return {"room", "seq"} <= {attribute.name for attribute in attrs.fields(event)}
