"""chatkit's own conversations beyond one room: making many rooms, and coming back after a restart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from attrs import frozen

from benchmarks.dialects import Chatkit, Opening
from benchmarks.wire import client_frame


class Makers(Chatkit):
    """Guests who make rooms and leave them, ``each`` of them so many."""

    def __init__(self, each: int, rooms: int) -> None:
        super().__init__(rooms=rooms)
        self._each = each
        self._count = rooms

    def opening(self, member: int) -> Opening:
        yield b""
        yield from self._ask("login", {"user": f"maker{member:05}"})
        for number in range(member * self._each, min((member + 1) * self._each, self._count)):
            room = {"room": f"room{number:05}"}
            yield from self._ask("create_room", room)
            yield from self._ask("leave_room", room)


@frozen
class Ticket:
    """What a member needs to come back: its token, and where it stood."""

    token: str
    epoch: str
    seq: int


class Returning(Chatkit):
    """Members who come back, and are there once they have everything they missed, each message once and in order."""

    def __init__(self, tickets: Mapping[int, Ticket], head: int) -> None:
        super().__init__()
        self._tickets = tickets
        self._head = head

    def opening(self, member: int) -> Opening:
        ticket = self._tickets[member]
        position = {"epoch": ticket.epoch, "seq": ticket.seq}
        data = {"user": f"member{member:05}", "token": ticket.token, "resume": {"general": position}}
        yield b""
        payload = yield client_frame(orjson.dumps({"action": "login", "ref": 1, "data": data}))
        at = ticket.seq
        while True:
            said: dict[str, Any] = orjson.loads(payload)
            action, data = said["action"], said["data"]
            if action == "error" or (action == "success" and data["resume"] != {"general": "ok"}):
                raise RuntimeError(f"member {member} was not resumed: {data}")
            if action == "receive_message":
                if data["seq"] != at + 1:
                    raise RuntimeError(f"member {member} got {data['seq']} after {at}")
                at += 1
            if action == "caught_up":
                if at != self._head:
                    raise RuntimeError(f"member {member} was left at {at} of {self._head}")
                return at
            payload = yield b""
