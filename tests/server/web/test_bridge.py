"""HTTP on the WebSocket's port: what a well-behaved and a strange peer is answered, and how long it may take."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing
from http_client import site
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

import chatkit
import chatkit.transport
from chatkit.server import ServerConfig
from chatkit.server.http_limits import HttpLimits

GET = "GET {} HTTP/1.1\r\nHost: chat.example.org\r\n\r\n"
LAST = "GET {} HTTP/1.1\r\nHost: chat.example.org\r\nConnection: close\r\n\r\n"
BIG = 8_000_000


async def echo(request: Request) -> Response:
    return Response(await request.body(), media_type="application/octet-stream")


async def about(request: Request) -> Response:
    scope = request.scope
    return PlainTextResponse(f"{scope['path']} {scope['query_string'].decode()} {request.url.scheme}")


async def broken(_: Request) -> Response:
    raise ValueError("a secret of the program")


async def half(_: Request) -> Response:
    async def parts() -> AsyncIterator[bytes]:
        yield b"the beginning"
        raise ValueError("in the middle")

    return StreamingResponse(parts())


async def too_short(_: Request) -> Response:
    return Response(b"abc", headers={"content-length": "10"})


class Parts:
    """A body in parts."""

    def __init__(self) -> None:
        self.left = BIG // 100_000

    def __aiter__(self) -> Parts:
        return self

    async def __anext__(self) -> bytes:
        if not self.left:
            raise StopAsyncIteration
        self.left -= 1
        return bytes(100_000)


async def big(_: Request) -> Response:
    return StreamingResponse(Parts())


async def unread(_: Request) -> Response:
    return PlainTextResponse("the body was not looked at\n")


ROUTES = [
    Route("/echo", echo, methods=["POST"]),
    Route("/about/{rest:path}", about),
    Route("/broken", broken),
    Route("/half", half),
    Route("/too-short", too_short),
    Route("/big", big),
    Route("/unread", unread, methods=["POST"]),
]


async def test_several_requests_on_one_connection() -> None:
    async with site(routes=ROUTES) as here:
        peer = await here.peer()
        for _ in range(3):
            page = await peer.get("/")
            assert page.status == 200
            assert page.headers["content-type"].startswith("text/html")
            assert "date" in page.headers
            assert (await peer.get("/nowhere")).status == 404
            echoed = await peer.get("/echo", "POST", b"a body")
            assert echoed.body == b"a body"


async def test_requests_one_behind_the_other_without_waiting() -> None:
    async with site(routes=ROUTES) as here:
        requests = "".join(GET.format(f"/about/{number}") for number in range(20)) + LAST.format("/about/last")
        received = await here.said(requests)
    assert received.count(b"HTTP/1.1 200") == 21
    places = [received.index(f"/about/{number}  ".encode()) for number in (*range(20), "last")]
    assert places == sorted(places)


async def test_a_body_that_could_be_read_in_two_ways_is_refused() -> None:
    """A length and chunks at once (RFC 9112, section 6.3): somebody before us may have seen another request."""
    smuggled = GET.format("/about/smuggled")
    twice = "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    async with site(routes=ROUTES) as here:
        for before in ("", GET.format("/about/first")):
            received = await here.said(before + twice + smuggled)
            assert b" 400 " in received
            assert b"smuggled" not in received


async def test_a_request_in_every_piece() -> None:
    request = LAST.format("/about/pieces").encode()
    async with site(routes=ROUTES) as here:
        for cut in range(1, len(request), 7):
            peer = await here.peer()
            await peer.say(request[:cut])
            await trio.testing.wait_all_tasks_blocked(0.001)
            await peer.say(request[cut:])
            assert b"/about/pieces" in await peer.rest()


async def test_head_is_get_without_a_body() -> None:
    async with site(routes=ROUTES) as here:
        for path in ("/", "/static/page.css", "/healthz", "/about/x"):
            full = await here.get(path)
            received = await here.said(LAST.format(path).replace("GET", "HEAD"))
            head, _, body = received.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            assert f"content-length: {len(full.body)}".encode() in head.lower()
            assert body == b""


async def test_ranges() -> None:
    async with site() as here:
        whole = await here.get("/static/page.css")
        part = await here.get("/static/page.css", range="bytes=5-9")
        assert part.status == 206
        assert part.body == whole.body[5:10]
        assert part.headers["content-range"] == f"bytes 5-9/{len(whole.body)}"
        assert (await here.get("/static/page.css", range=f"bytes={len(whole.body)}-")).status == 416
        unchanged = await here.get("/static/page.css", if_none_match=whole.headers["etag"])
        assert (unchanged.status, unchanged.body) == (304, b"")


async def test_http_1_0_and_connection_close() -> None:
    async with site(routes=ROUTES) as here:
        assert b"/about/old" in await here.said("GET /about/old HTTP/1.0\r\n\r\n")
        assert b"/about/x" in await here.said(LAST.format("/about/x"))


async def test_a_whole_url_as_the_target() -> None:
    async with site(routes=ROUTES) as here:
        assert b"/about/x a=b http" in await here.said(LAST.format("http://chat.example.org/about/x?a=b"))
        assert b"/about/\xc3\xa4 " in await here.said(LAST.format("/about/%C3%A4"))


async def test_a_peer_that_ends_its_half_gets_its_answer() -> None:
    async with site(routes=ROUTES) as here:
        for path in ("/", "/about/x", "/big"):
            peer = await here.peer()
            await peer.say(GET.format(path))
            await peer.stream.send_eof()
            received = await peer.rest()
            assert received.startswith(b"HTTP/1.1 200")
            assert path != "/big" or len(received) > BIG


# ── bodies ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_body_that_is_too_large_is_answered_413() -> None:
    config = ServerConfig(http_limits=HttpLimits(body_bytes=1000))
    async with site(routes=ROUTES, config=config) as here:
        assert (await here.get("/echo", "POST", bytes(1000))).status == 200
        assert (await here.get("/echo", "POST", bytes(1001))).status == 413
        assert (await here.get("/unread", "POST", bytes(1001))).status == 413
        assert (await here.get("/echo", "POST", bytes(1001), transfer_encoding="chunked")).status == 413
        head = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999\r\n\r\n"
        assert (await here.said(head)).startswith(b"HTTP/1.1 413")


async def test_a_body_nobody_reads_does_not_spoil_the_next_request() -> None:
    async with site(routes=ROUTES) as here:
        peer = await here.peer()
        for _ in range(3):
            assert "not looked at" in (await peer.get("/unread", "POST", bytes(500))).text
        peer = await here.peer()
        await peer.say("POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\nthe rest never comes")
        received = await peer.rest()
        assert received.startswith(b"HTTP/1.1 200")
        assert b"not looked at" in received


async def test_a_peer_may_ask_whether_to_send_its_body() -> None:
    async with site(routes=ROUTES) as here:
        peer = await here.peer()
        await peer.say(
            "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
        )
        assert (await peer.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
        await peer.say("body")
        assert (await peer.rest()).endswith(b"body")


# ── what goes wrong ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("path", "status"), [("/broken", 500), ("/too-short", 200), ("/half", 200)])
async def test_a_route_that_fails_ends_its_own_connection_only(
    path: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with site(routes=ROUTES) as here:
        received = await here.said(LAST.format(f"{path}?token=canary"))
        assert received.startswith(f"HTTP/1.1 {status}".encode())
        assert b"a secret" not in received
        assert (await here.get("/healthz")).status == 200
    (failure,) = [record for record in caplog.records if record.exc_info]
    assert failure.levelno == logging.ERROR
    assert "canary" not in failure.getMessage()
    assert failure.connection > 0  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ("GET / HTTP/1.1\r\n\r\n", 400),  # no Host
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ("nonsense\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nA: \xff\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\n" + "A: b\r\n" * 4000 + "\r\n", 431),
        ("GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        ("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        ("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        ("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        ("DELETE / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 405),
        ("OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404),
        ("GET /static/../app.py HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404),
        ("GET /static/%2e%2e/app.py HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404),
        ("GET /static/..%2f..%2fconfig.py HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404),
        ("GET /static/%00 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404),
        ("GET //etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404),
    ],
)
async def test_a_request_that_is_wrong(request_: str, status: int) -> None:
    async with site(routes=ROUTES) as here:
        received = await here.said(request_.encode("latin-1"))
    assert received.startswith(f"HTTP/1.1 {status} ".encode()), received[:200]
    assert received.count(b"HTTP/1.1 ") == 1


async def test_the_second_request_of_a_connection_is_judged_as_the_first() -> None:
    async with site(routes=ROUTES) as here:
        received = await here.said(GET.format("/about/x") + "nonsense\r\n\r\n")
        assert [part[:3] for part in received.split(b"HTTP/1.1 ")[1:]] == [b"200", b"400"]
        assert b"HTTP/1.1 431" in await here.said(GET.format("/about/x") + "GET /" + "x" * 20_000)
        upgrade = GET.format("/ws").replace("\r\n\r\n", "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        assert b"a WebSocket begins with a connection of its own" in await here.said(GET.format("/about/x") + upgrade)


# ── how long it may take ─────────────────────────────────────────────────────────────────────────────────────────────

HASTY = HttpLimits(head_timeout=0.2, body_timeout=0.2, write_timeout=0.2, linger=0.1)


@pytest.mark.parametrize(
    "said",
    [
        GET.format("/about/x"),  # and then silence
        GET.format("/about/x") + "GET /about/y HT",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf",
        "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        GET.format("/big"),  # and it reads nothing
    ],
)
async def test_a_slow_peer_is_let_go(said: str) -> None:
    async with site(routes=ROUTES, config=ServerConfig(http_limits=HASTY)) as here:
        peer = await here.peer()
        await peer.say(said)
        with trio.fail_after(5):
            while here.server._door._inside:
                await trio.testing.wait_all_tasks_blocked(0.05)
        assert len(await peer.rest()) < BIG


async def test_half_a_head_is_let_go_by_the_handshakes_deadline() -> None:
    config = ServerConfig(transport=chatkit.transport.TransportOptions(handshake_timeout=0.2))
    async with site(config=config) as here:
        assert await here.said("GET / HT") == b""


async def test_a_slow_reader_that_does_read_gets_everything() -> None:
    async with site(routes=ROUTES) as here:
        peer = await here.peer()
        await peer.say(LAST.format("/big"))
        received = 0
        while data := await peer.stream.receive_some(50_000):
            received += len(data)
            await trio.lowlevel.checkpoint()
    assert received > BIG


async def test_a_peer_that_leaves_in_the_middle_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async with site(routes=ROUTES) as here:
        for said in (GET.format("/big"), "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf"):
            peer = await here.peer()
            await peer.say(said)
            await trio.testing.wait_all_tasks_blocked(0.01)
            peer.stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            peer.stream.socket.close()
        assert (await here.get("/healthz")).status == 200
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
