"""Rows of the log to events, and events to framed bytes: once per event and wire format."""

from __future__ import annotations

from typing import Any

import attrs
import orjson

from chatkit.backend.records import Body, Row
from chatkit.engine.engine import MESSAGE
from chatkit.errors import UsageError
from chatkit.protocol.codec import Codec
from chatkit.protocol.messages import Entry, Event, ReceiveMessage
from chatkit.protocol.vocabulary import Vocabulary
from chatkit.transport.interface import Encoding, WireFormat


class Renderer:
    """Turns what is kept into what is sent, for one vocabulary."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.codecs: dict[Encoding, Codec] = {
            "json": Codec("json", vocabulary),
            "msgpack": Codec("msgpack", vocabulary),
        }

    def event(self, row: Row, room: str) -> Event:
        """Return the event a row stands for; ``room`` is the room's present name."""
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
            )
        fields = orjson.loads(row.body or b"{}") | {"room": room, "seq": row.seq}
        return self.codecs["json"].event_from(row.kind, fields)

    def body(self, event: Event) -> Body:
        """Return what the log keeps of a program's own durable event.

        Raises `UsageError` for an event that is not durable: one without ``room`` and ``seq``.
        """
        if not is_durable(type(event)):
            raise UsageError(f"{type(event).__name__} is not durable: it needs the fields 'room' and 'seq'")
        fields = self.codecs["json"].fields_of(event)
        del fields["room"], fields["seq"]
        return orjson.dumps(fields).decode()

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
