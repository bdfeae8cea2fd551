"""Listening in on a client's link: what it asked for and was told, as facts of a `History`.

Law: a tap changes nothing, and understands the wire by itself, so that a client's mistakes do not hide a server's.
"""

from __future__ import annotations

from typing import Any

import msgpack
import orjson
import trio

from chatkit.testing.history import History
from chatkit.transport.interface import Connection


def log_name(room: str, epoch: str) -> str:
    """Return what a `History` calls one life of a room."""
    return f"{room}#{epoch[:6]}"


class TappedConnection(Connection):
    """A client's connection that tells a `History` what passes; everything else is the connection's own."""

    def __init__(self, inner: Connection, history: History, client: str) -> None:
        self.inner = inner
        self.format = inner.format
        self.peer = inner.peer
        self.url = inner.url
        self._tap = _Tap(history, client)
        self._loads = msgpack.unpackb if inner.format.encoding == "msgpack" else orjson.loads

    async def receive(self) -> bytes:
        raw = await self.inner.receive()
        self._tap.heard(self._loads(raw))
        return raw

    async def send(self, message: bytes) -> None:
        self._tap.said(self._loads(message))
        await self.inner.send(message)

    def push(self, blob: bytes) -> bool:
        return self.inner.push(blob)

    def push_anyway(self, blob: bytes) -> None:
        self.inner.push_anyway(blob)

    async def wait_drained(self) -> None:
        await self.inner.wait_drained()

    @property
    def waiting_bytes(self) -> int:
        return self.inner.waiting_bytes

    async def ping(self) -> None:
        await self.inner.ping()

    @property
    def last_heard(self) -> float:
        return self.inner.last_heard

    async def aclose(self, code: int = 1000, reason: str = "", *, reconnect: bool = True) -> None:
        await self.inner.aclose(code, reason, reconnect=reconnect)

    def abort(self) -> None:
        self.inner.abort()


class _Tap:
    """The conversation of one link."""

    def __init__(self, history: History, client: str) -> None:
        self._history = history
        self._client = client
        self._asked: dict[Any, dict[str, Any]] = {}
        self._logs: dict[str, str] = {}
        """The log of each room the link is in."""

    @property
    def _now(self) -> History:
        return self._history.at(trio.current_time())

    def said(self, request: dict[str, Any]) -> None:
        self._asked[request["ref"]] = request
        data = request["data"]
        if request["action"] == "send_message" and data.get("op"):
            self._now.send(self._client, data["op"], data["room"])

    def heard(self, message: dict[str, Any]) -> None:
        action, data = message["action"], message["data"]
        if action == "success":
            self._succeeded(self._asked.pop(message["ref"]), data)
        elif action == "error":
            self._failed(self._asked.pop(message.get("ref"), None), data)
        elif action == "room_deleted":
            self._left(data["room"])
        elif action == "caught_up":
            self._now.caught_up(self._client, self._log(data["room"]), data["seq"])
        elif "seq" in data and "room" in data:
            self._now.receive(self._client, self._log(data["room"]), data["seq"], data.get("op"))

    def _log(self, room: str) -> str:
        return self._logs.get(room, f"{room}#?")

    def _succeeded(self, request: dict[str, Any], data: dict[str, Any]) -> None:
        asked = request["data"]
        match request["action"]:
            case "login":
                self._logged_in(asked.get("resume") or {}, data)
            case "create_room":
                self._joined(data, data["head"])
            case "join_room":
                self._entered(asked, data)
            case "leave_room":
                self._left(asked["room"])
            case "send_message" if asked.get("op"):
                self._now.ack(self._client, log_name(asked["room"], data["epoch"]), data["seq"], asked["op"])

    def _failed(self, request: dict[str, Any] | None, data: dict[str, Any]) -> None:
        if request is None or request["action"] != "send_message" or not request["data"].get("op"):
            return
        op, code = request["data"]["op"], data["code"]
        if code == "storage_unavailable":
            self._now.unknown(self._client, op)
        else:
            self._now.refused(self._client, op, code)

    def _logged_in(self, resume: dict[str, Any], data: dict[str, Any]) -> None:
        answers = data.get("resume") or {}
        for summary in data["rooms"]:
            room = summary["room"]
            if answers.get(room) != "ok":
                self._joined(summary, summary["head"])
                continue
            self._logs[room] = log_name(room, summary["epoch"])
            self._now.resume(self._client, self._logs[room], resume[room]["seq"])

    def _entered(self, asked: dict[str, Any], data: dict[str, Any]) -> None:
        """A join. One from inside that does not say from where changes nothing about what follows."""
        events = [event["data"] for event in data["events"]]
        after = asked.get("after")
        if data["room"] in self._logs and after is None:
            if events:
                self._now.know(self._client, self._logs[data["room"]], events[-1]["seq"])
            return
        first = events[0]["seq"] - 1 if events else data["head"]
        self._joined(data, first if after is None else after)
        for event in events:
            self._now.receive(self._client, self._logs[data["room"]], event["seq"], event.get("op"))

    def _joined(self, summary: dict[str, Any], seq: int) -> None:
        room = summary["room"]
        self._logs[room] = log_name(room, summary["epoch"])
        self._now.join(self._client, self._logs[room], seq)

    def _left(self, room: str) -> None:
        log = self._logs.pop(room, None)
        if log is not None:
            self._now.leave(self._client, log)
