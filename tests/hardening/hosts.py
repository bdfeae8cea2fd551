"""Servers of every bad kind, over raw sockets, on both bindings."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio
from attrs import define, field
from raw import Raw, RawServer, agree, raw_server
from wire_frames import TEXT, frame

NOW = "2026-11-20T10:30:00.123Z"
HELLO: dict[str, Any] = {"protocol": 1, "server": "other/1", "auth": ["guest"], "limits": {}, "heartbeat": 25.0}
GENERAL: dict[str, Any] = {"room": "general", "topic": "", "users": 1, "head": 0, "epoch": "e"}
Behaviour = Callable[["Host"], Awaitable[object]]


@define(eq=False)
class Host:
    """One link, seen from the server that says what it likes."""

    raw: Raw
    lines: bool
    number: int = 1
    """Which link this is, from 1."""
    heard: list[dict[str, Any]] = field(factory=list)

    def framed(self, message: bytes) -> bytes:
        """Return one message as it travels."""
        return message + b"\n" if self.lines else frame(TEXT, message, mask=False)

    async def tell_raw(self, *messages: bytes) -> None:
        """Send messages' bytes."""
        await self.raw.send(b"".join(map(self.framed, messages)))

    async def tell(self, action: str, *, ref: object = None, **data: Any) -> None:
        """Send an envelope."""
        await self.tell_raw(envelope(action, data, ref))

    async def hear(self) -> dict[str, Any]:
        """Return the next request. Raises `trio.BrokenResourceError` at the end."""
        if self.lines:
            line = await self.raw.until(b"\n")
            message = line if line.endswith(b"\n") else None
        else:
            got = await self.raw.message()
            message = got[1] if isinstance(got, tuple) else None
        if message is None:
            raise trio.BrokenResourceError
        self.heard.append(json.loads(message))
        if self.heard[-1]["action"] == "closing":  # how a client says goodbye on lines
            raise trio.BrokenResourceError
        return self.heard[-1]

    async def shake(self) -> None:
        """Shake hands, where there is something to shake."""
        if not self.lines:
            await agree(self.raw)

    async def welcome(self, **hello: Any) -> None:
        """Shake hands and say hello."""
        await self.shake()
        await self.tell("hello", **(HELLO | hello))

    async def let_in(self, rooms: list[dict[str, Any]] | None = None, **hello: Any) -> None:
        """Do all that a good server does until somebody is logged in and knows the rooms."""
        await self.welcome(**hello)
        rooms = [GENERAL] if rooms is None else rooms
        login = await self.hear()
        resume = {"resume": dict.fromkeys(login["data"].get("resume") or {}, "ok")} if self.number > 1 else {}
        await self.tell("success", ref=login["ref"], user="ann", role="guest", token="t", rooms=rooms, **resume)
        listing = await self.hear()
        await self.tell("success", ref=listing["ref"], rooms=rooms, more=False)

    async def answer(self, **data: Any) -> dict[str, Any]:
        """Answer the next request; return it."""
        request = await self.hear()
        await self.tell("success", ref=request.get("ref"), **data)
        return request

    async def stay(self) -> None:
        """Read and say nothing until the client leaves."""
        if self.lines:
            await self.raw.rest()
        else:
            while isinstance(await self.raw.message(), tuple):
                pass


def envelope(action: str, data: Any, ref: object = None) -> bytes:
    """Encode an envelope."""
    return json.dumps(
        {"action": action, "data": data, "timestamp": NOW} | ({} if ref is None else {"ref": ref})
    ).encode()


def said(seq: int, text: str = "x", room: str = "general", **fields: Any) -> bytes:
    """Encode something said."""
    return envelope("receive_message", {"room": room, "seq": seq, "user": "bob", "text": text} | fields)


def entry(seq: int, text: str = "x", room: str = "general") -> dict[str, Any]:
    """Return an entry of a page."""
    found: dict[str, Any] = json.loads(said(seq, text, room))
    return found


@define(eq=False)
class Hosting:
    """A server that behaves badly, and its address."""

    url: str
    server: RawServer

    @property
    def links(self) -> int:
        """How many have come."""
        return self.server.links


@asynccontextmanager
async def hosting(behave: Behaviour, kind: str) -> AsyncIterator[Hosting]:
    """Run a server of a kind, ``ws`` or ``tcp``, that behaves so on every link."""
    numbers = iter(range(1, 1_000_000))

    async def meet(raw: Raw) -> None:
        await behave(Host(raw, lines=kind == "tcp", number=next(numbers)))

    async with raw_server(meet) as server:
        yield Hosting(f"{kind}://127.0.0.1:{server.port}", server)
