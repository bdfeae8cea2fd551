"""The people of the demo: clients as any program would write them, and one who has nothing but a socket."""

from __future__ import annotations

import base64
import json
import socket
import struct
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

import trio
from attrs import Factory, define

from chatkit.client import Client, connect
from chatkit.client.status import Connected
from chatkit.errors import ChatError
from chatkit.private import private_nursery
from chatkit.protocol import messages as m


@define(eq=False)
class Sightings:
    """When each message was sent, and when each of the others saw it. Times are of `time.perf_counter`."""

    sent: dict[str, float] = Factory(dict)
    seen: dict[str, dict[str, float]] = Factory(dict)
    present: defaultdict[str, set[str]] = Factory(lambda: defaultdict(set))
    """Who is in which room."""
    _changed: trio.Event = Factory(trio.Event)

    def sending(self, op: str) -> None:
        """A message is about to be sent."""
        self.sent[op] = perf_counter()

    def saw(self, op: str | None, name: str) -> None:
        """Somebody has received a message."""
        if op in self.sent:
            self.seen.setdefault(op, {})[name] = perf_counter()
            self.poke()

    def poke(self) -> None:
        """Let those who wait look again."""
        self._changed.set()
        self._changed = trio.Event()

    async def wait(self) -> None:
        """Return when something has been seen."""
        await self._changed.wait()

    async def by_all(self, op: str, room: str, sender: str) -> tuple[float, float]:
        """Wait until everybody else in the room has seen a message; return the first and the last delay in seconds."""
        others = self.present[room] - {sender}
        while not others <= self.seen.get(op, {}).keys():
            await self.wait()
        delays = [self.seen[op][name] - self.sent[op] for name in others]
        return min(delays), max(delays)

    @property
    def delays(self) -> list[float]:
        """Every delay, in seconds; that of a message's own sender counts as well."""
        return [at - self.sent[op] for op, sightings in self.seen.items() for at in sightings.values()]


@define(eq=False)
class Person:
    """Somebody with a client."""

    name: str
    link: str
    client: Client
    _seen: Sightings
    _gone: set[str] = Factory(set)

    def count(self, room: str) -> int:
        """How many people are in a room, as this client knows it."""
        return self.client.state.rooms[room].users

    async def create(self, room: str, topic: str) -> None:
        """Create a room and be in it."""
        await self.client.create(room, topic=topic)
        self._seen.present[room].add(self.name)

    async def join(self, room: str) -> None:
        """Enter a room."""
        await self.client.join(room)
        self._seen.present[room].add(self.name)

    async def say(self, room: str, said: str | bytes) -> tuple[float, float]:
        """Say something; return the first and the last delay until the others in the room saw it."""
        op = self.client.new_op()
        self._seen.sending(op)
        await self.client.rooms[room].send(said, op=op)
        return await self._seen.by_all(op, room, self.name)

    async def wait_left(self, name: str) -> None:
        """Return once this client has been told that somebody left."""
        while name not in self._gone:
            await self._seen.wait()

    async def wait_back(self) -> None:
        """Return once the client is connected again."""
        async for status in self.client.statuses():
            if isinstance(status, Connected):
                return

    async def listen(self) -> None:
        """Take note of what happens, until the link is gone for good."""
        async for happening in self.client.events():
            match happening.event:
                case m.ReceiveMessage(op=op):
                    self._seen.saw(op, self.name)
                case m.UserLeft(user=user):
                    self._gone.add(user)
            self._seen.poke()


@asynccontextmanager
async def enter(name: str, url: str, seen: Sightings) -> AsyncIterator[Person]:
    """Let somebody come, and go at the end of the block."""
    async with connect(url, user=name) as client:
        person = Person(name, url.partition(":")[0], client, seen)
        async with private_nursery(lambda nursery: nursery.cancel_scope.cancel()) as nursery:
            nursery.start_soon(person.listen)
            await person.join("general")
            yield person
            for people in seen.present.values():
                people.discard(name)


class ByHand:
    """Somebody who has no client at all, but a TCP socket and a keyboard."""

    link = "tcp"

    def __init__(self, name: str, stream: trio.SocketStream, seen: Sightings) -> None:
        self.name = name
        self._stream = stream
        self._seen = seen
        self._number = 0

    @classmethod
    @asynccontextmanager
    async def enter(cls, name: str, url: str, seen: Sightings) -> AsyncIterator[ByHand]:
        """Let them come, and go at the end of the block."""
        where = urlsplit(url)
        stream = await trio.open_tcp_stream(where.hostname or "", where.port or 0)
        hand = cls(name, stream, seen)
        async with private_nursery(lambda nursery: nursery.cancel_scope.cancel()) as nursery:
            with_login = trio.Event()
            nursery.start_soon(hand._read, with_login)
            await hand._type("login", {"user": name})
            await with_login.wait()
            seen.present["general"].add(name)
            yield hand

    async def _type(self, action: str, data: dict[str, Any]) -> None:
        await self._stream.send_all(json.dumps({"action": action, "data": data}).encode() + b"\n")

    async def say(self, room: str, said: str | bytes) -> tuple[float, float]:
        """Say something; return the first and the last delay until the others in the room saw it."""
        self._number += 1
        op = f"by-hand-{self._number}"
        what = {"text": said} if isinstance(said, str) else {"binary": base64.b64encode(said).decode()}
        self._seen.sending(op)
        await self._type("send_message", {"room": room, "op": op, **what})
        return await self._seen.by_all(op, room, self.name)

    def abort(self) -> None:
        """Pull the cable: no goodbye, a TCP reset."""
        self._stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._stream.socket.close()
        self._seen.present["general"].discard(self.name)

    async def _read(self, logged_in: trio.Event) -> None:
        buffer = b""
        try:
            async for chunk in self._stream:
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in lines:
                    self._take(json.loads(line), logged_in)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    def _take(self, envelope: dict[str, Any], logged_in: trio.Event) -> None:
        match envelope:
            case {"action": "success", "data": {"token": _}}:
                logged_in.set()
            case {"action": "receive_message", "data": {"op": op}}:
                self._seen.saw(op, self.name)
            case {"action": "error", "data": {"message": message}}:
                raise ChatError(message)
