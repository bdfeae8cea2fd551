"""One room's fan-out: each event encoded once per wire format, the same bytes handed to every live session.

Laws: nothing here waits. A session is attached *live* (it has been handed everything published) or *pulling* (its
puller serves it from a position); a session whose link takes no more goes from live to pulling at the exact seq.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from chatkit.backend.records import Row
from chatkit.engine.state import Room
from chatkit.protocol.messages import Event
from chatkit.server.config import ServerConfig
from chatkit.server.rendering import Renderer
from chatkit.server.ring import Encoded, Ring
from chatkit.server.statistics import Counters
from chatkit.transport.interface import WireFormat, Writer

if TYPE_CHECKING:
    from chatkit.server.session import Session


class Audience:
    """Sessions by wire format, each with what writes to its link."""

    def __init__(self) -> None:
        self.by_format: dict[WireFormat, dict[Session, Writer]] = {}

    def add(self, session: Session) -> None:
        """Let a session hear what is said here."""
        self.by_format.setdefault(session.wire, {})[session] = session.connection.writer

    def discard(self, session: Session) -> None:
        """Let it hear no more."""
        listeners = self.by_format.get(session.wire)
        if listeners is not None:
            listeners.pop(session, None)

    def __contains__(self, session: Session) -> bool:
        return session in self.by_format.get(session.wire, ())

    def __iter__(self) -> Iterator[Session]:
        for listeners in self.by_format.values():
            yield from listeners

    def tell(self, event: Event, now: int, renderer: Renderer, but: int | None = None) -> None:
        """Hand everybody an ephemeral event, encoded once per format."""
        for wire, listeners in self.by_format.items():
            if not listeners:
                continue
            frame = renderer.frame_event(event, now, wire)
            for session, link in listeners.items():
                if session.id != but and (session.holding or not link.push(frame)):
                    session.hold(event, frame)

    def tell_all(self, events: Sequence[Event], now: int, renderer: Renderer) -> None:
        """Hand everybody several ephemeral events in one write."""
        for wire, listeners in self.by_format.items():
            if not listeners:
                continue
            frames = [renderer.frame_event(event, now, wire) for event in events]
            blob = b"".join(frames)
            for session, link in listeners.items():
                if session.holding or not link.push(blob):
                    for event, frame in zip(events, frames, strict=True):
                        session.hold(event, frame)


class Channel:
    """The live side of one room."""

    def __init__(self, room: Room, ring: Ring, config: ServerConfig, renderer: Renderer, counters: Counters) -> None:
        self.room = room
        self.published = room.head
        self.attached = Audience()
        self._live = Audience()
        self._renderer = renderer
        self._counters = counters
        self._blob_bytes = config.blob_bytes
        self._ring = ring

    def attach(self, session: Session, after: int | None) -> bool:
        """Add a session; say whether it is live. ``after`` None means from the head."""
        self.attached.add(session)
        if after is None or after >= self.published:
            self._live.add(session)
            return True
        self._live.discard(session)
        return False

    def detach(self, session: Session) -> None:
        """Remove a session; it is handed nothing more."""
        self.attached.discard(session)
        self._live.discard(session)

    def publish(self, rows: Sequence[Row]) -> None:
        """Hand the next committed rows to every live session."""
        if rows[0].seq > self.published + 1:
            self.trimmed(rows[0].seq)
        encoded = [Encoded(row) for row in rows]
        self._ring.extend(encoded)
        behind: list[tuple[Session, int]] = []
        for wire, listeners in self._live.by_format.items():
            if listeners:
                self._counters.deliveries += len(rows) * len(listeners)
                behind += self._fan_out(encoded, wire, listeners)
        self.published = self.room.head = rows[-1].seq
        self._counters.messages += len(rows)
        self._counters.fell_behind += len(behind)
        for session, seq in behind:
            session.fall_behind(self, seq)

    def trimmed(self, first: int) -> None:
        """Take in that the rows below ``first`` are gone. If some of them were never published, those who were live
        are no longer: their pull finds out that they missed something."""
        if first - 1 <= self.published:
            return
        missed = list(self._live)
        for session in missed:
            self._live.discard(session)
        before, self.published = self.published, first - 1
        self._ring.clear()
        for session in missed:
            session.fall_behind(self, before)

    def forget_encoded(self) -> None:
        """Read what comes next for those who are behind from the log: what it says, or the room's name, has changed."""
        self._ring.clear()

    def _fan_out(
        self, encoded: list[Encoded], wire: WireFormat, listeners: dict[Session, Writer]
    ) -> list[tuple[Session, int]]:
        behind: list[tuple[Session, int]] = []
        before = encoded[0].row.seq - 1
        for blob, last in self._blobs(encoded, wire):
            self._counters.delivered_bytes += len(blob) * len(listeners)
            taken = [link.push(blob) for link in listeners.values()]
            if not all(taken):
                for session in [session for session, took in zip(listeners, taken, strict=True) if not took]:
                    del listeners[session]
                    behind.append((session, before))
            before = last
            self._counters.blobs += 1
        return behind

    def _blobs(self, encoded: list[Encoded], wire: WireFormat) -> Iterator[tuple[bytes, int]]:
        parts: list[bytes] = []
        size = 0
        last = 0
        for one in encoded:
            frame = one.frame(wire, self._frame)
            if parts and size + len(frame) > self._blob_bytes:
                yield b"".join(parts), last
                parts, size = [], 0
            parts.append(frame)
            size += len(frame)
            last = one.row.seq
        yield b"".join(parts) if len(parts) > 1 else parts[0], last

    def recent(self, after: int, wire: WireFormat, most: int) -> tuple[bytes, int] | None:
        """Return the encoded events behind ``after`` as far as ``most`` bytes go (at least one), and the seq they
        reach; None if they are no longer at hand."""
        held = self._ring.after(after)
        return None if held is None else self._join(held, wire, most)

    def render(self, rows: Sequence[Row], wire: WireFormat) -> tuple[bytes, int]:
        """Return rows from the log, as far as they are published, and the seq they reach. Without rows that is the
        head: there is nothing to be had before it."""
        blob, last = self._join([Encoded(row) for row in rows if row.seq <= self.published], wire, self._blob_bytes)
        return blob, last or self.published

    def _join(self, encoded: list[Encoded], wire: WireFormat, most: int) -> tuple[bytes, int]:
        parts: list[bytes] = []
        size = last = 0
        for one in encoded:
            parts.append(one.frame(wire, self._frame))
            last = one.row.seq
            size += len(parts[-1])
            if size >= most:
                break
        return b"".join(parts), last

    def _frame(self, row: Row, wire: WireFormat) -> bytes:
        return self._renderer.frame_row(row, self.room.name, wire)
