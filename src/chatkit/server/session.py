"""One link's place in the server: what is sent to it, and how it catches up when it cannot keep pace."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from chatkit.engine.state import SessionState
from chatkit.errors import Disconnected, StorageUnavailable
from chatkit.flag import Pulse
from chatkit.protocol.codec import Ref
from chatkit.protocol.messages import CaughtUp, Event
from chatkit.server.door import Pass
from chatkit.server.history import read_anew
from chatkit.server.replies import ReplyQueue
from chatkit.transport.interface import Connection
from chatkit.transport.proxied import host_of

if TYPE_CHECKING:
    from chatkit.server.channel import Channel
    from chatkit.server.core import Core

MOST_HELD = 1024
"""Ephemeral events kept for a session that is behind, the latest per key; more are dropped."""


class Pull:
    """Where a session stands in a room it is being served from."""

    __slots__ = ("after", "announce")

    def __init__(self, after: int, announce: bool) -> None:
        self.after = after
        self.announce = announce


class Session:
    """A connected client, logged in or about to."""

    def __init__(self, number: int, connection: Connection, core: Core, nursery: trio.Nursery, entered: Pass) -> None:
        self.id = number
        self.connection = connection
        self.wire = connection.format
        self.codec = core.renderer.codecs[connection.format.encoding]
        self.replies = ReplyQueue()
        self.in_flight_bytes = 0
        self.since = core.now_ms()
        host = host_of(connection.peer)
        self.address = str(host) if host is not None else None
        self.state: SessionState | None = None
        """Its place in the rules once logged in; what it was, once it has ended."""
        self.closing: tuple[int, str, bool] | None = None
        self.settled = Pulse()
        self.scope = trio.CancelScope()
        self.entered = entered
        self._core = core
        self._nursery = nursery
        self._pulls: dict[Channel, Pull] = {}
        self._held: dict[tuple[str, ...], bytes] = {}
        self._pulling = False

    def __repr__(self) -> str:
        user = self._core.engine.user_of(self.id)
        return f"[{self.id} {self.connection.peer}{' ' + user.name if user else ''}]"

    @property
    def fields(self) -> dict[str, Any]:
        """What a line of the log says of it when another task writes the line."""
        user = self._core.engine.user_of(self.id)
        fields = {"connection": self.id, "address": self.connection.peer}
        return fields | ({"user": user.name} if user else {})

    @property
    def behind(self) -> bool:
        """Whether it is served from a position in some room, rather than live."""
        return bool(self._pulls)

    # ── sending ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def tell(self, event: Event) -> None:
        """Send an event to this session alone."""
        self.connection.push_anyway(self._core.renderer.frame_event(event, self._core.now_ms(), self.wire))

    def hear(self, event: Event) -> None:
        """Send an ephemeral event, or hold it back while the link takes nothing."""
        frame = self._core.renderer.frame_event(event, self._core.now_ms(), self.wire)
        if self.holding or not self.connection.push(frame):
            self.hold(event, frame)

    def success(self, reply: Any, ref: Ref, timestamp: int | None = None) -> bytes:
        """Return a framed success."""
        at = self._core.now_ms() if timestamp is None else timestamp
        return self.wire.frame(self.codec.encode_success(reply, ref, at))

    def failure(
        self, code: str, message: str, ref: Ref, retry_after: float | None = None, scope: str | None = None
    ) -> bytes:
        """Return a framed error."""
        self._core.counters.refused[str(code)] += 1
        return self.wire.frame(
            self.codec.encode_failure(code, message, ref, self._core.now_ms(), retry_after=retry_after, scope=scope)
        )

    def flush_replies(self) -> None:
        """Send the replies whose turn has come."""
        blob = self.replies.ready()
        if blob:
            self.connection.push_anyway(blob)
            self.settled.wake()

    @property
    def holding(self) -> bool:
        """Whether ephemeral events are held back: a later one must not overtake them."""
        return bool(self._held)

    def hold(self, event: Event, frame: bytes) -> None:
        """Keep an ephemeral event for when the link takes bytes again; a later one of the same kind replaces it."""
        key = (event.action, str(getattr(event, "room", "")), str(getattr(event, "user", "")))
        if self._held.pop(key, None) is not None or len(self._held) < MOST_HELD:
            self._held[key] = frame  # last, where it belongs in the order of events
        self._start_pulling()

    # ── catching up ──────────────────────────────────────────────────────────────────────────────────────────────────

    def fall_behind(self, channel: Channel, after: int) -> None:
        """The link is full: serve this room from a position, when there is space again."""
        self.pull(channel, after)

    def pull(self, channel: Channel, after: int, *, announce_caught_up: bool = False) -> None:
        """Serve a room from behind ``after`` until its head, then live."""
        self._pulls[channel] = Pull(after, announce_caught_up)
        self._start_pulling()

    def forget(self, channel: Channel) -> None:
        """Serve nothing more of a room."""
        self._pulls.pop(channel, None)

    def caught_up(self, channel: Channel) -> None:
        """Say that what follows in this room is live."""
        self.tell(CaughtUp(room=channel.room.name, seq=channel.published))

    def _start_pulling(self) -> None:
        if not self._pulling:
            self._pulling = True
            self._nursery.start_soon(self._pull_all, name=f"pull {self.id}")

    async def _pull_all(self) -> None:
        try:
            while (self._pulls or self._held) and self.closing is None:
                await self.connection.wait_drained()
                self._release_held()
                for channel in list(self._pulls):
                    await self._pull_some(channel)
        except Disconnected:
            return
        except StorageUnavailable as error:
            self.end(1011, str(error), reconnect=True)
        finally:
            self._pulling = False

    def _release_held(self) -> None:
        held, self._held = self._held, {}
        if held:
            self.connection.push_anyway(b"".join(held.values()))

    async def _pull_some(self, channel: Channel) -> None:
        pull = self._pulls.get(channel)
        if pull is None:
            return
        blob, last = await self._next(channel, pull.after)
        if self._pulls.get(channel) is not pull:
            return
        if blob:
            self.connection.push_anyway(blob)
        pull.after = last
        if pull.after >= channel.published:
            del self._pulls[channel]
            channel.attach(self, None)
            if pull.announce:
                self.caught_up(channel)

    async def _next(self, channel: Channel, after: int) -> tuple[bytes, int]:
        if after >= channel.published:
            return b"", after
        most = self._core.config.pull_bytes
        recent = channel.recent(after, self.wire, most)
        if recent is not None:
            return recent
        try:
            read = partial(self._core.backend.log.read, channel.room.id, after=after, limit=500, max_bytes=most)
            page = await read_anew(channel.room, read)
        except KeyError:
            return b"", after
        if page.first > after + 1:
            self.end(4408, "what comes next for you is no longer kept", reconnect=True)
            return b"", after
        return channel.render(page.rows, self.wire)

    def stop_pulling(self) -> None:
        """Serve nothing more from anywhere."""
        self._pulls.clear()
        self._held.clear()

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def end(self, code: int, reason: str, *, reconnect: bool) -> None:
        """End the link with this code, soon. The first call counts."""
        if self.closing is None:
            self.closing = (code, reason, reconnect)
            self._core.counters.closed[code] += 1
        self.scope.cancel()
