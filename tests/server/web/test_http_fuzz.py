"""Bytes that only look like HTTP: the server answers or ends the connection, in time, and everybody else goes on."""

from __future__ import annotations

import logging
import random

import pytest
import trio
from http_client import Site, site
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from chatkit.server import ServerConfig
from chatkit.server.http_limits import HttpLimits

SEEDS = [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b'GET /static/page.js HTTP/1.1\r\nHost: x\r\nRange: bytes=0-10,20-30\r\nIf-None-Match: "x"\r\n\r\n',
    b"HEAD /static/page.css HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n",
    b"GET /connections HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer abc\r\n\r\n",
    b"GET /metrics?name[]=x HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n",
    b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    b"OPTIONS * HTTP/1.0\r\n\r\n",
]
DICTIONARY = [
    b"\r\n", b"\n", b"\r", b"\0", b"\xff", b" ", b"\t", b":", b"%", b"%00", b"%2e%2e/", b"../", b"//", b"?", b"#", b"*",
    b"HTTP/1.1", b"HTTP/0.9", b"HTTP/2.0", b"Host: x\r\n", b"Content-Length: 9999999999\r\n", b"Content-Length: -1\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip\r\n", b"Connection: close\r\n", b"Upgrade: h2c\r\n",
    b"Range: bytes=-1\r\n", b"Range: bytes=9-5\r\n", b"Range: bytes=0-0,1-1,2-2\r\n", b"Expect: 100-continue\r\n",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", b"X-Forwarded-For: 1.2.3.4\r\n", b"A" * 5000, b"A: " + b"b" * 9000 + b"\r\n",
]  # fmt: skip
HASTY = ServerConfig(
    rate_limits=False, http_limits=HttpLimits(head_timeout=0.02, body_timeout=0.02, write_timeout=1.0, linger=0.02)
)


async def echo(request: Request) -> Response:
    return Response(await request.body())


ROUTES = [Route("/echo", echo, methods=["POST"])]


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Several requests, one behind the other, with something wrong in them."""
    data = bytearray(b"".join(draw(st.lists(st.sampled_from(SEEDS), min_size=1, max_size=3))))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["insert", "delete", "flip", "cut", "double"])):
            case "insert":
                data[at:at] = draw(st.sampled_from(DICTIONARY) | st.binary(max_size=8))
            case "delete":
                del data[at : at + draw(st.integers(1, 10))]
            case "flip" if at < len(data):
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del data[at:]
            case "double":
                data[at:at] = data[: draw(st.integers(0, 100))]
    return bytes(data)


async def survives(here: Site, data: bytes, cut: int) -> None:
    """Say something in two pieces; whatever comes back is HTTP."""
    peer = await here.peer()
    try:
        await peer.say(data[:cut])
        await peer.say(data[cut:])
        await peer.stream.send_eof()
    except trio.BrokenResourceError:
        pass
    received = await peer.rest()
    assert received[:9] in (b"", b"HTTP/1.1 "), received[:100]
    peer.stream.socket.close()
    here.peers.remove(peer)


def unexpected(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(st.lists(st.tuples(requests(), st.integers(0, 200)), min_size=1, max_size=8))
async def test_no_request_harms_the_server(caplog: pytest.LogCaptureFixture, said: list[tuple[bytes, int]]) -> None:
    async with site(routes=ROUTES, config=HASTY) as here:
        async with trio.open_nursery() as nursery:
            for data, cut in said:
                nursery.start_soon(survives, here, data, cut)
        assert (await here.get("/healthz")).status == 200
    assert not unexpected(caplog)


async def test_many_mutated_requests(caplog: pytest.LogCaptureFixture) -> None:
    chance = random.Random(5)
    async with site(routes=ROUTES, config=HASTY) as here:
        for _ in range(40):
            async with trio.open_nursery() as nursery:
                for _ in range(25):
                    data = bytearray(chance.choice(SEEDS) + chance.choice([b"", *SEEDS]))
                    for _ in range(chance.randrange(4)):
                        at = chance.randrange(len(data) + 1)
                        data[at : at + chance.randrange(3)] = chance.choice(DICTIONARY)
                    nursery.start_soon(survives, here, bytes(data), chance.randrange(len(data) + 1))
        assert (await here.get("/healthz")).status == 200
        with trio.fail_after(5):
            while len(here.server._door._inside) > 1:  # the one who asked for the health, still
                await trio.lowlevel.checkpoint()
    assert not unexpected(caplog)
