"""How each server wants to be spoken to: opening a link, saying something, telling a message from a reply.

A dialect's `opening` is a conversation: a generator that yields bytes to send (perhaps none) and is given the next
frame's payload, until the link is ready.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from typing import Any, TypeAlias

import orjson

from benchmarks.wire import client_frame

Opening: TypeAlias = Generator[bytes, bytes, Any]
COUNTER = 10
"""Digits a message's text begins with: its number."""


def text_of(number: int, size: int) -> bytes:
    """Return a message's text: its number, then filling."""
    return b"%0*d" % (COUNTER, number) + b"x" * (size - COUNTER)


class Dialect(ABC):
    """A server's way of speaking."""

    path = "/"

    @abstractmethod
    def opening(self, member: int) -> Opening:
        """Bring a link into the room."""

    @abstractmethod
    def say(self, number: int, size: int, member: int = 0) -> bytes:
        """Return the framed request that says message ``number``, ``size`` bytes of text."""

    def is_message(self, data: bytes, start: int) -> bool:
        """Whether the frame whose payload begins at ``start`` is a message of the room; else it is a reply."""
        return True

    @abstractmethod
    def number_of(self, payload: bytes) -> int:
        """Return the number of the message that a delivered payload holds."""

    def grows_with(self, payload: bytes) -> int:
        """Return the counter in a payload whose digits make later payloads longer; 0 if there is none."""
        return 0


class Echo(Dialect):
    """A plain WebSocket whose server sends to all what one says."""

    def opening(self, member: int) -> Opening:
        yield from ()

    def say(self, number: int, size: int, member: int = 0) -> bytes:
        return client_frame(text_of(number, size))

    def number_of(self, payload: bytes) -> int:
        return int(payload[:COUNTER])


class SocketIO(Dialect):
    """Engine.IO 4 over WebSocket, one Socket.IO event each way."""

    path = "/socket.io/?EIO=4&transport=websocket"

    def opening(self, member: int) -> Opening:
        yield b""
        yield client_frame(b"40")

    def say(self, number: int, size: int, member: int = 0) -> bytes:
        return client_frame(b'42["msg","' + text_of(number, size) + b'"]')

    def number_of(self, payload: bytes) -> int:
        at = len(b'42["msg","')
        return int(payload[at : at + COUNTER])


class Chatkit(Dialect):
    """chatkit's own protocol, as a guest in ``general``, or in rooms of ``room_size``."""

    path = "/ws"

    def __init__(self, rooms: int = 0, room_size: int = 2) -> None:
        self._rooms = rooms
        self._room_size = room_size

    def room_of(self, member: int) -> str:
        """Return the room a member talks in."""
        return f"room{member // self._room_size:05}" if self._rooms else "general"

    def opening(self, member: int) -> Opening:
        yield b""  # hello
        answer = yield from self._ask("login", {"user": f"member{member:05}"})
        if self._rooms:
            yield from self._ask("join_room", {"room": self.room_of(member)})
        return answer

    def _ask(self, action: str, data: dict[str, Any]) -> Opening:
        payload = yield client_frame(orjson.dumps({"action": action, "ref": 1, "data": data}))
        while True:
            answer = orjson.loads(payload)
            if answer["action"] == "success":
                return answer
            if answer["action"] == "error":
                raise RuntimeError(f"{action}: {answer['data']}")
            payload = yield b""

    def say(self, number: int, size: int, member: int = 0) -> bytes:
        text, room = text_of(number, size), self.room_of(member).encode()
        return client_frame(
            b'{"action":"send_message","ref":%d,"data":{"room":"%b","text":"%b"}}' % (number, room, text)
        )

    def is_message(self, data: bytes, start: int) -> bool:
        return data.startswith(b'{"action":"receive_message"', start)

    def number_of(self, payload: bytes) -> int:
        message = orjson.loads(payload)
        return int(message["data"]["text"][:COUNTER])

    def grows_with(self, payload: bytes) -> int:
        return int(orjson.loads(payload)["data"]["seq"])
