"""A session at a server: connect, join, talk, follow.

Laws: events and replies take effect on `Client.state` in the order the server sent them; requests of several tasks
may be under way at once; however the block ends, the link is closed and nothing runs on.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TypeVar

import trio

from chatkit.client.link import Answer, Link
from chatkit.client.room import Room
from chatkit.client.state import ClientState
from chatkit.client.streams import EventStream
from chatkit.client.window import seq_of
from chatkit.errors import ConnectFailed, Disconnected
from chatkit.private import private_nursery
from chatkit.protocol import messages as m
from chatkit.protocol.codec import Codec
from chatkit.protocol.converter import Encoding
from chatkit.protocol.positions import Step
from chatkit.protocol.vocabulary import STANDARD
from chatkit.transport import open_connection
from chatkit.transport.interface import Connection, TransportOptions

R = TypeVar("R")
DEFAULT_URL = "ws://127.0.0.1:8765"
LARGEST_FROM_SERVER = 4_194_304
"""Bytes of the largest message a client takes; a page of history in JSON is well below it."""


class Client:
    """A session at a chat server. Made by `connect`."""

    def __init__(self, codec: Codec, keep: int) -> None:
        self.state = ClientState(keep)
        """What a frontend shows: rooms, members, messages; kept up to date by itself."""
        self.hello: m.Hello
        """What the server said of itself: its version, limits and ways to log in."""
        self.token = ""
        """Give this to `connect` to be the same person again."""
        self._codec = codec
        self._link: Link
        self._rooms: dict[str, Room] = {}
        self._streams: list[EventStream] = []
        self._ended: Disconnected | None = None
        self._closed = trio.Event()

    def __repr__(self) -> str:
        return f"<Client {self.state.user!r} at {self._link.connection.url}>"

    @property
    def user(self) -> str:
        """One's name, as the server keeps it."""
        return self.state.user

    # ── rooms ────────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def rooms(self) -> dict[str, Room]:
        """The rooms one is in, by name."""
        return {room.name: self._handle(room.name) for room in self.state.joined}

    async def join(self, name: str, *, history: int = 0, after: int | None = None) -> Room:
        """Enter a room; joining one that one is in already succeeds.

        ``history`` asks for that many (at most 1,000) of the newest entries, ``after`` for everything behind a seq;
        `Room.messages` then begins with them. Raises `RequestFailed` (``no_such_room``, ``banned``), `Disconnected`.
        """
        request = m.JoinRoom(room=name, after=after, last=history if history and after is None else None)
        joined: list[Room] = []
        await self.ask(request, lambda reply: joined.append(self._joined(reply)))
        return joined[0]

    def _joined(self, reply: m.Joined) -> Room:
        state = self.state.entered(reply)
        room = self._handle(state.name)
        if reply.events:
            room.begin_at(seq_of(reply.events[0]) - 1)
        room.changed()
        return room

    async def create(self, name: str, *, topic: str = "", private: bool = False) -> Room:
        """Create a room; one is in it and owns it. Raises `RequestFailed` (``room_exists``, ``bad_name``),
        `Disconnected`."""
        request = m.CreateRoom(room=name, topic=topic or None, private=private or None)
        answer = await self.ask(request, self.state.created)
        return self._handle(answer.reply.room)

    def _handle(self, name: str) -> Room:
        room = self._rooms.get(name)
        if room is None or room.state is not self.state.rooms[name]:
            room = self._rooms[name] = Room(self, self.state.rooms[name])
        return room

    def forget(self, name: str) -> None:
        """Take in that one is no longer in a room; iterators over it end."""
        self.state.left(name)
        room = self._rooms.pop(name, None)
        if room is not None:
            room.changed()

    # ── people ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def rename(self, name: str) -> None:
        """Change one's own name. Raises `RequestFailed` (``name_taken``, ``bad_name``), `Disconnected`."""
        await self.ask(m.Rename(user=name), lambda reply: self.state.renamed(reply.user))

    # ── anything ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def request(self, request: m.Request[R]) -> R:
        """Send any request, a program's own ones too, and return its reply.

        Raises `RequestFailed`, `Disconnected`. Cancelling waits no longer; the server may have done what was asked.
        """
        return (await self.ask(request)).reply

    async def ask(self, request: m.Request[R], on_reply: Callable[[R], object] | None = None) -> Answer[R]:
        """As `request`, with the reply's time; ``on_reply`` sees the reply before any later event takes effect."""
        return await self._link.request(request, on_reply)

    def events(self) -> EventStream:
        """Iterate over everything that happens from now on: messages, notices, comings and goings.

        Raises `Disconnected` when the link is gone for good. A reader 10,000 events behind misses ephemeral ones;
        durable ones are fetched for it.
        """
        stream = EventStream(self._rooms.get, lambda: self._ended)
        self._streams.append(stream)
        return stream

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def check_alive(self) -> None:
        """Raises `Disconnected` if the link is gone for good, else does nothing."""
        if self._ended is not None:
            raise Disconnected(self._ended.code, self._ended.reason, reconnect=self._ended.reconnect)

    async def wait_closed(self) -> Disconnected:
        """Return once the link is gone for good, with why."""
        await self._closed.wait()
        return self._ended or Disconnected()

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def open(self, connection: Connection, login: m.Login, nursery: trio.Nursery) -> None:
        """Log in over a fresh connection. Raises `RequestFailed`, `Disconnected`, `ConnectFailed`."""
        self._link = Link(connection, self._codec, self._happened)
        self.hello = await self._link.hello()
        nursery.start_soon(self._read, name=f"read {connection.peer}")
        answer = await self._link.request(login, self.state.logged_in)
        self.token = answer.reply.token
        await self._list_rooms()

    async def _list_rooms(self) -> None:
        found: dict[str, m.Summary] = {}
        more, last = True, None
        while more:
            page: m.Rooms = await self.request(m.ListRooms(after=last))
            found |= {summary.room: summary for summary in page.rooms}
            more, last = page.more and bool(page.rooms), page.rooms[-1].room if page.rooms else None
        self.state.listed(found.values())

    async def _read(self) -> None:
        self._ended = await self._link.run()
        self._closed.set()
        for room in self._rooms.values():
            room.changed()
        for stream in self._streams:
            stream.wake()

    def _happened(self, event: m.Event, timestamp: int) -> None:
        step = self.state.apply(event, timestamp)
        name = getattr(event, "room", None)
        room = self._rooms.get(name) if isinstance(name, str) else None
        if isinstance(event, m.RoomDeleted):
            self._rooms.pop(event.room, None)
        if room is not None:
            room.changed()
        if step is not Step.SKIP:
            for stream in self._streams:
                stream.put(event, timestamp)

    async def close(self) -> None:
        """Say goodbye and end the link; bounded by the transport's ``close_timeout``."""
        try:
            await self._link.connection.aclose(1000, "goodbye", reconnect=False)
        finally:
            self._link.connection.abort()


@asynccontextmanager
async def connect(
    url: str = DEFAULT_URL,
    # who
    *,
    user: str,
    password: str | None = None,
    token: str | None = None,
    # how
    encoding: Encoding = "json",
    ssl_context: ssl.SSLContext | None = None,
    connect_timeout: float = 10.0,
    # what it understands and keeps
    events: Iterable[type[m.Event]] = (),
    keep: int = 1000,
) -> AsyncIterator[Client]:
    """Connect to a chat server, log in, and be there for as long as the block lasts.

    ``url`` is ``ws://``, ``wss://``, ``tcp://`` or ``tls://`` with host and port (``memory://`` within a process).
    ``token`` is that of an earlier `Client`, to be the same person again. ``ssl_context`` is for ``wss://`` and
    ``tls://``; without it the system's authorities verify the server. ``connect_timeout`` bounds connecting and logging in,
    in seconds. ``events`` are event classes of a program's own. ``keep`` entries of each room are held.

    Raises `ConnectFailed` (nobody there, no chatkit server, too slow), `RequestFailed` (``name_taken``, ``bad_name``,
    ``bad_credentials``, ``banned``), `Disconnected`, `UsageError`. Leaving the block says goodbye and closes the
    link; cancelling closes it at once.
    """
    client = Client(Codec(encoding, STANDARD.including(events=events)), keep)
    options = TransportOptions(
        max_message_bytes=LARGEST_FROM_SERVER, ssl_context=ssl_context, handshake_timeout=connect_timeout
    )

    def stop(nursery: trio.Nursery) -> None:
        nursery.start_soon(_close, client, nursery)

    async with private_nursery(stop) as nursery:
        with trio.move_on_after(connect_timeout) as scope:
            connection = await open_connection(nursery, url, options, encoding)
            await client.open(connection, m.Login(user=user, password=password, token=token), nursery)
        if scope.cancelled_caught:
            raise ConnectFailed(f"{url} did not answer within {connect_timeout:g} seconds")
        yield client


async def _close(client: Client, nursery: trio.Nursery) -> None:
    try:
        await client.close()
    finally:
        nursery.cancel_scope.cancel()
