"""A server behind reverse proxies: under which address its clients count, stand in the log and in the list."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from attrs import Factory, define

from chatkit.server import Server, ServerConfig, open_server
from chatkit.server.door import Door, address_of
from chatkit.server.statistics import Counters

UPGRADE = (
    "GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{}\r\n"
)
LISTEN = ("ws://127.0.0.1:0", "tcp://127.0.0.1:0")


@define(eq=False)
class Site:
    """A server, and those who came to it and stay."""

    server: Server
    streams: list[trio.SocketStream] = Factory(list)

    async def say(self, scheme: str, words: str, until: bytes) -> bytes:
        """Come and say something; return what is answered, up to some bytes or the end."""
        url = next(url for url in self.server.addresses if url.startswith(scheme))
        stream = await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2]))
        self.streams.append(stream)
        await stream.send_all(words.encode())
        return await heard(stream, until)


@asynccontextmanager
async def behind(*proxies: str, **limits: int) -> AsyncIterator[Site]:
    config = ServerConfig(rate_limits=True, trusted_proxies=proxies, **limits)  # type: ignore[arg-type]
    async with open_server("memory://", listen=LISTEN, config=config) as server:
        site = Site(server)
        try:
            yield site
        finally:
            for stream in site.streams:
                stream.socket.close()


async def heard(stream: trio.SocketStream, until: bytes) -> bytes:
    received = b""
    with trio.fail_after(10):
        while until not in received:
            try:
                data = await stream.receive_some()
            except trio.BrokenResourceError:
                break
            if not data:
                break
            received += data
    return received


def upgrade(*forwarded: str) -> str:
    return UPGRADE.format("".join(f"X-Forwarded-For: {value}\r\n" for value in forwarded))


@pytest.mark.parametrize(
    ("proxies", "scheme", "words", "address"),
    [
        (("127.0.0.1",), "ws", upgrade("203.0.113.7"), "203.0.113.7"),
        (("127.0.0.0/8",), "ws", upgrade("198.51.100.1, 203.0.113.7"), "203.0.113.7"),
        (("127.0.0.1",), "ws", upgrade(), "127.0.0.1:"),
        (("192.0.2.1",), "ws", upgrade("203.0.113.7"), "127.0.0.1:"),
        ((), "ws", upgrade("203.0.113.7"), "127.0.0.1:"),
        (("127.0.0.1",), "tcp", "PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n", "203.0.113.7:4711"),
        (("127.0.0.1",), "tcp", "", "127.0.0.1:"),
    ],
)
async def test_the_address_that_is_shown_and_logged(
    proxies: tuple[str, ...], scheme: str, words: str, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    words += '{"action":"login","data":{"user":"ann"}}\n' if scheme == "tcp" else ""
    with caplog.at_level(logging.INFO, "chatkit"):
        async with behind(*proxies) as site:
            received = await site.say(scheme, words, b"hello")
            assert b"hello" in received
            (connection,) = site.server.connections()
            assert connection.address.startswith(address)
            assert connection.address == address or address.endswith(":")
    lines = [record for record in caplog.records if getattr(record, "event", "") == "connected"]
    assert [record.address for record in lines] == [connection.address]  # type: ignore[attr-defined]


async def test_each_client_behind_a_proxy_has_a_share_of_its_own() -> None:
    async with behind("127.0.0.1", max_connections_per_address=2) as site:
        for address in ("203.0.113.7", "203.0.113.7", "198.51.100.2", "198.51.100.2", "2001:db8::1", "2001:db8::2"):
            received = await site.say("ws", upgrade(address), b"hello")
            assert b"hello" in received, address
        for words in (upgrade("203.0.113.7"), upgrade("2001:db8::3")):
            received = await site.say("ws", words, b"never")
            assert received.startswith(b"HTTP/1.1 429")
        line = 'PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n{"action":"login","data":{"user":"ann"}}\n'
        received = await site.say("tcp", line, b"hello")
        assert received == b""
        assert site.server.statistics().turned_away_total == {"address": 3}


async def test_a_proxy_that_says_nothing_is_not_limited_as_one_client() -> None:
    async with behind("127.0.0.1", max_connections_per_address=1) as site:
        for _ in range(3):
            received = await site.say("ws", upgrade(), b"hello")
            assert b"hello" in received


async def test_one_connection_of_a_proxy_carries_one_request() -> None:
    request = "GET /healthz HTTP/1.1\r\nHost: chat.example.org\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n"
    async with behind("127.0.0.1") as site:
        received = await site.say("ws", request + request, b"never")
    assert received.count(b"HTTP/1.1 200") == 1
    assert b"connection: close" in received.lower()


# ── the door ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_door_counts_exactly() -> None:
    config = ServerConfig(
        rate_limits=True, trusted_proxies=("10.0.0.1",), max_connections_per_address=3, max_strangers_per_address=2
    )
    counters, gone = Counters(), []
    door = Door(config, counters)
    inside = [door.enter("10.0.0.1:1", lambda number=number: gone.append(number)) for number in range(4)]
    assert all(inside)
    for known in inside[:3]:
        assert known is not None
        assert known.identify("203.0.113.7")
    assert gone == [0]  # the third stranger of this address drives out its first
    assert inside[0] is not None
    assert not inside[0].identify("203.0.113.7")  # gone is gone
    assert inside[1] is not None
    inside[1].logged_in()
    assert inside[3] is not None
    assert inside[3].identify("203.0.113.7")
    refused = door.enter("203.0.113.7:9", lambda: None)
    assert refused is None
    for known in inside:
        assert known is not None
        known.leave()
        known.leave()
    assert not door._by_address
    assert not door._waiting_by_address
    assert not door._inside
    assert counters.turned_away == {"stranger": 1, "address": 1}


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("203.0.113.7:80", "203.0.113.7"),
        ("203.0.113.7", "203.0.113.7"),
        ("[2001:db8:1:2:3::4]:80", "2001:db8:1:2::/64"),
        ("[fe80::1%eth0]:80", "fe80::/64"),
        ("[::ffff:203.0.113.7]:80", "203.0.113.7"),
        ("memory", None),
    ],
)
def test_what_counts_as_one_address(peer: str, address: str | None) -> None:
    assert address_of(peer) == address
