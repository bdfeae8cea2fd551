"""HTTP on a raw socket: what stands on the wire, request by request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import h11
import trio
from attrs import Factory, define

from chatkit.server import Server, ServerConfig, open_server

PATIENCE = 10.0


@define(eq=False)
class Answer:
    """One response."""

    status: int
    headers: dict[str, str]
    body: bytes = b""

    @property
    def text(self) -> str:
        return self.body.decode()


@define(eq=False)
class Peer:
    """A client on a raw socket."""

    stream: trio.SocketStream
    http: h11.Connection = Factory(lambda: h11.Connection(h11.CLIENT))

    async def say(self, data: bytes | str) -> None:
        await self.stream.send_all(data.encode() if isinstance(data, str) else data)

    async def get(self, path: str, method: str = "GET", body: bytes = b"", **headers: str) -> Answer:
        """Send a request and return its answer; the connection stays."""
        if self.http.our_state is h11.DONE:
            self.http.start_next_cycle()
        named = [("host", "chat.example.org"), *((name.replace("_", "-"), value) for name, value in headers.items())]
        if body and "transfer_encoding" not in headers:
            named.append(("content-length", str(len(body))))
        data = self.http.send(h11.Request(method=method, target=path, headers=named)) or b""
        if body:
            data += self.http.send(h11.Data(data=body)) or b""
        await self.say(data + (self.http.send(h11.EndOfMessage()) or b""))
        return await self.answer()

    async def answer(self) -> Answer:
        """Return the next response of a request made by `get`."""
        head: h11.Response | None = None
        body = b""
        with trio.fail_after(PATIENCE):
            while True:
                event = self.http.next_event()
                if event is h11.NEED_DATA:
                    self.http.receive_data(await self.stream.receive_some())
                elif isinstance(event, h11.Response):
                    head = event
                elif isinstance(event, h11.Data):
                    body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    assert head is not None
                    headers = {name.decode(): value.decode() for name, value in head.headers}
                    return Answer(head.status_code, headers, body)
                elif isinstance(event, h11.ConnectionClosed):
                    raise EOFError

    async def rest(self) -> bytes:
        """Return everything up to the end, however it comes."""
        received = b""
        with trio.fail_after(PATIENCE):
            while True:
                try:
                    data = await self.stream.receive_some()
                except trio.BrokenResourceError:
                    return received
                if not data:
                    return received
                received += data

    async def until(self, words: bytes) -> bytes:
        """Return what comes, up to some bytes."""
        received = b""
        with trio.fail_after(PATIENCE):
            while words not in received:
                data = await self.stream.receive_some()
                assert data, received
                received += data
        return received


@define(eq=False)
class Site:
    """A server and those who ask it."""

    server: Server
    peers: list[Peer] = Factory(list)

    @property
    def port(self) -> int:
        return int(self.server.addresses[0].rpartition(":")[2])

    async def peer(self) -> Peer:
        """Connect."""
        peer = Peer(await trio.open_tcp_stream("127.0.0.1", self.port))
        self.peers.append(peer)
        return peer

    async def get(self, path: str, method: str = "GET", body: bytes = b"", **headers: str) -> Answer:
        """Ask on a connection of its own."""
        return await (await self.peer()).get(path, method, body, **headers)

    async def said(self, data: bytes | str) -> bytes:
        """Say something on a connection of its own, and nothing more; return all that comes."""
        peer = await self.peer()
        await peer.say(data)
        return await peer.rest()


@asynccontextmanager
async def site(*, routes: Iterable[Any] = (), config: ServerConfig | None = None) -> AsyncIterator[Site]:
    """Run a server that answers HTTP."""
    config = config or ServerConfig(rate_limits=False)
    async with open_server("memory://", listen=["ws://127.0.0.1:0"], routes=routes, config=config) as server:
        here = Site(server)
        try:
            yield here
        finally:
            for peer in here.peers:
                peer.stream.socket.close()
