"""Whatever follows what the server says: the state, the handles on rooms, the streams of events.

Laws: the state changes first, then whoever waits for the change is woken; a room has one handle for as long as one is
in it, also under another name.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from weakref import WeakValueDictionary

from chatkit.client.asking import Asking
from chatkit.client.room import Room
from chatkit.client.state import ClientState, RoomState
from chatkit.client.streams import EventStream
from chatkit.client.window import room_of
from chatkit.protocol import messages as m
from chatkit.protocol import moderation as mod
from chatkit.protocol.positions import Step


class Following:
    """What is kept up to date. ``handle`` makes a room's handle; requests that wait follow their rooms' names too."""

    def __init__(self, state: ClientState, asking: Asking, handle: Callable[[Following, RoomState], Room]) -> None:
        self.state = state
        self._asking = asking
        self._new_handle = handle
        self._rooms: dict[str, Room] = {}
        self._streams: WeakValueDictionary[int, EventStream] = WeakValueDictionary()
        self._stream_numbers = itertools.count()

    def room(self, name: str) -> Room:
        """Return the handle on a room of the state."""
        room = self._rooms.get(name)
        if room is None or room.state is not self.state.rooms[name]:
            room = self._rooms[name] = self._new_handle(self, self.state.rooms[name])
        return room

    def events(self, failed: Callable[[], Exception | None]) -> EventStream:
        """Return a stream of what happens from now on; ``failed`` says why there will be no more."""
        stream = EventStream(self._rooms.get, failed)
        self._streams[next(self._stream_numbers)] = stream
        return stream

    # ── what the server says ─────────────────────────────────────────────────────────────────────────────────────────

    def happened(self, event: m.Event, timestamp: int) -> None:
        """Take in an event."""
        step = self.state.apply(event, timestamp)
        if isinstance(event, mod.RoomRenamed):
            self._follow_names()
        room = self._rooms.get(room_of(event) or "")
        if isinstance(event, m.RoomDeleted | mod.RemovedFromRoom):
            self._rooms.pop(event.room, None)
        if room is not None:
            room.changed()
        if step is not Step.SKIP:
            for stream in self._streams.values():
                stream.put(event, timestamp)

    def logged_in(self, reply: m.LoggedIn) -> list[str]:
        """Take in who one is and which rooms one is in; return those that begin anew. Raises `ProtocolError` for
        nonsense."""
        before = self.state.joined
        anew = self.state.logged_in(reply)
        for room in before:
            if not room.joined:
                self.left(room.name)
        self._follow_names()
        for state in self.state.joined:
            self.room(state.name)  # so that its cursor begins at the login, not when it is first asked for
        return anew

    def left(self, name: str) -> None:
        """Take in that one is no longer in a room; iterators over it end."""
        self.state.left(name)
        room = self._rooms.pop(name, None)
        if room is not None:
            room.changed()

    def renamed(self, was: str, name: str) -> None:
        """Take in that a room has another name; if it is known already, nothing happens."""
        self.state.room_renamed(was, name)
        self._follow_names()

    def _follow_names(self) -> None:
        """Let handles, and requests that wait for a link, follow rooms that have another name now."""
        names = {was: room.name for was, room in self._rooms.items() if room.name != was}
        if not names:
            return
        handles = list(self._rooms.values())
        self._rooms.clear()
        for handle in handles:
            if self.state.rooms.get(handle.name) is handle.state:
                self._rooms[handle.name] = handle
            handle.changed()
        self._asking.follow_names(names)

    # ── waking ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def wake_rooms(self) -> None:
        """Let whoever waits for a room to change look again."""
        for room in list(self._rooms.values()):
            room.changed()

    def wake(self) -> None:
        """Let everybody who waits look again."""
        self.wake_rooms()
        for stream in self._streams.values():
            stream.wake()
