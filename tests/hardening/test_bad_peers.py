"""Peers that break off, break the rules or make a handler raise: their own connection ends, and nobody else's."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from itertools import count

import pytest
import trio
from attrs import define, frozen
from neighbours import LISTEN, Bystanders, Contexts, bystanders, quiet
from raw import BROKEN, Member, Raw, dial, greet, member, raw_link, upgrade
from rfc6455 import cases
from wire_frames import BINARY, CLOSE, CONTINUATION, PING, TEXT, close, frame

from chatkit.protocol import messages as m
from chatkit.server import Extension, RequestContext, Server, ServerConfig, open_server
from chatkit.transport.interface import TransportOptions

QUICKLY = TransportOptions(handshake_timeout=0.5, close_timeout=0.5, write_timeout=1.0)
KINDS = ("ws", "tcp", "wss", "tls")
numbers = count(1)
"""A name of one's own for everybody."""
LOGIN = b'{"action":"login","data":{"user":"eve"}}'


@frozen(kw_only=True)
class Raise(m.Request[m.Nothing]):
    action = "raise"
    how: str


class Unheard(BaseException):
    """An exception that is no Exception."""


def raising() -> Extension:
    extension = Extension()

    @extension.action(Raise)
    async def handle(context: RequestContext, request: Raise) -> m.Nothing:
        await trio.lowlevel.checkpoint()
        errors = {
            "ValueError": ValueError("x"),
            "group": ExceptionGroup("several", [KeyError("x"), ExceptionGroup("more", [OSError(9, "x")])]),
            "recursion": RecursionError(),
            "memory": MemoryError(),
            "stop": StopAsyncIteration(),
            "broken": trio.BrokenResourceError(),
            "assertion": AssertionError(),
        }
        raise errors[request.how]

    return extension


@define(eq=False)
class Scene:
    """A server on every binding, and the people beside."""

    server: Server
    contexts: Contexts
    people: Bystanders

    def url(self, kind: str) -> str:
        """Return the address of a binding."""
        return self.server.addresses[KINDS.index(kind)]

    def link(self, kind: str) -> AbstractAsyncContextManager[Raw]:
        """Return a raw link over a binding, not yet connected."""
        return raw_link(self.url(kind), self.contexts.client)


@asynccontextmanager
async def scene(contexts: Contexts, caplog: pytest.LogCaptureFixture, **config: object) -> AsyncIterator[Scene]:
    """Nothing fails unexpectedly here, the people beside lose nothing, and nothing is left in the end."""
    caplog.set_level(logging.ERROR, "chatkit")
    options: dict[str, object] = {"rate_limits": False, "ssl_context": contexts.server, "linger": 0.01} | config
    async with open_server(
        "memory://",
        listen=LISTEN,
        extensions=[raising()],
        config=ServerConfig(**options),  # type: ignore[arg-type]
    ) as server:
        before = trio.lowlevel.current_statistics().tasks_living
        async with bystanders(server, contexts) as people:
            yield Scene(server, contexts, people)
            await people.talk()
        await quiet(server, before)


def failures(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the server's barrier caught that nobody expects."""
    return [record.getMessage() for record in caplog.records if getattr(record, "event", "") == "failed"]


# ── breaking off ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def connected(raw: Raw, lines: bool) -> None:
    pass


async def half_a_head(raw: Raw, lines: bool) -> None:
    await raw.send(b'{"act' if lines else upgrade()[:40])


async def shaken(raw: Raw, lines: bool) -> None:
    if not lines:
        await raw.send(upgrade())


async def greeted(raw: Raw, lines: bool) -> None:
    await greet(Member(raw, lines))


async def asked(raw: Raw, lines: bool) -> None:
    here = Member(raw, lines)
    await greet(here)
    await here.say_raw(LOGIN)


async def logged_in(raw: Raw, lines: bool) -> None:
    await greet(Member(raw, lines), f"eve{next(numbers)}")


async def half_a_message(raw: Raw, lines: bool) -> None:
    await greet(Member(raw, lines), f"eve{next(numbers)}")
    await raw.send(b'{"action":"list' if lines else frame(TEXT, b'{"action":"list_rooms"}')[:9])


async def half_a_fragmented_message(raw: Raw, lines: bool) -> None:
    await greet(Member(raw, lines), f"eve{next(numbers)}")
    await raw.send(b'{"action":"list' if lines else frame(TEXT, b'{"action":', fin=False))


async def saying_a_lot(raw: Raw, lines: bool) -> None:
    here = Member(raw, lines)
    await greet(here, f"eve{next(numbers)}")
    for _ in range(50):
        await here.say("send_message", room="general", text="x" * 1000)


async def saying_goodbye(raw: Raw, lines: bool) -> None:
    await greet(Member(raw, lines), f"eve{next(numbers)}")
    farewell = b'{"action":"closing","data":{"code":1000,"reason":"","reconnect":false}}\n'
    await raw.send(farewell if lines else close(1000))


async def answering_its_own_goodbye(raw: Raw, lines: bool) -> None:
    await saying_goodbye(raw, lines)
    if not lines:
        await raw.send(frame(PING, b"late") + frame(TEXT, LOGIN) + close(1000))


STAGES: tuple[Callable[[Raw, bool], Awaitable[None]], ...] = (
    connected,
    half_a_head,
    shaken,
    greeted,
    asked,
    logged_in,
    half_a_message,
    half_a_fragmented_message,
    saying_a_lot,
    saying_goodbye,
    answering_its_own_goodbye,
)


@pytest.mark.parametrize("kind", KINDS)
async def test_breaking_off_at_any_stage(kind: str, contexts: Contexts, caplog: pytest.LogCaptureFixture) -> None:
    async with scene(contexts, caplog) as here:
        for stage in STAGES:
            for how in ("reset", "end", "end, then wait", "close"):
                async with here.link(kind) as raw:
                    await stage(raw, kind in ("tcp", "tls"))
                    if how == "reset":
                        raw.reset()
                    elif how == "close":
                        raw.close()
                    else:
                        raw.end()
                        if how != "end":
                            await raw.rest()
            await here.people.talk()
    assert not failures(caplog)


@pytest.mark.parametrize("kind", ["wss", "tls"])
async def test_breaking_off_within_tls(kind: str, contexts: Contexts, caplog: pytest.LogCaptureFixture) -> None:
    hello = b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(range(160))
    async with scene(contexts, caplog) as here:
        for data in (b"", b"\x16", hello[:20], hello, b"\x16\x03\x01\xff\xff", upgrade(), LOGIN + b"\n", bytes(70_000)):
            for reset in (True, False):
                raw = await dial(here.url(kind))
                await raw.send(data)
                raw.reset() if reset else raw.end()
                if not reset:
                    await raw.rest()
                raw.close()
    assert not failures(caplog)


# ── breaking the rules ───────────────────────────────────────────────────────────────────────────────────────────────

BAD = {name: case for name, case in cases(mask=True) if case.fails is not None}


@pytest.mark.parametrize("kind", ["ws", "wss"])
async def test_bad_frames(kind: str, contexts: Contexts, caplog: pytest.LogCaptureFixture) -> None:
    """Every case of RFC 6455 that has to fail, against a chat server: answered with its code, and closed."""

    async def play(name: str) -> None:
        async with places, here.link(kind) as raw:
            await greet(Member(raw, lines=False))
            for piece in BAD[name].sent:
                await raw.send(piece)
            frames = await raw.all_frames()
            assert frames, name
            assert (frames[-1].opcode, frames[-1].code) == (CLOSE, BAD[name].fails), name

    async with scene(contexts, caplog, garbage=1000) as here:
        places = trio.CapacityLimiter(20)
        async with trio.open_nursery() as nursery:
            for name in BAD:
                nursery.start_soon(play, name)
        await here.people.talk()
    assert not failures(caplog)


AFTER_CLOSE = (
    frame(PING, b"late"),
    frame(TEXT, LOGIN),
    frame(BINARY, b"x"),
    close(1000),
    frame(CONTINUATION, b"x"),
    b"\xff" * 20,
    frame(PING, b"x") * 3000,
)


@pytest.mark.parametrize("kind", ["ws", "wss"])
@pytest.mark.parametrize("ours", [True, False], ids=["after its close", "after ours"])
async def test_anything_after_a_close(
    ours: bool, kind: str, contexts: Contexts, caplog: pytest.LogCaptureFixture
) -> None:
    """``ours``: the server closes, for garbage."""
    async with scene(contexts, caplog, garbage=1, transport=QUICKLY) as here:
        for late in AFTER_CLOSE:
            async with here.link(kind) as raw:
                await greet(Member(raw, lines=False))
                await raw.send((frame(TEXT, b"garbage") if ours else close(1000)) + late)
                frames = await raw.all_frames()
                closes = [one for one in frames if one.opcode == CLOSE]
                assert frames[-1:] == closes[-1:]
                assert [one.code for one in closes] == [4400 if ours else 1000]
    assert not failures(caplog)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_handler_that_raises(kind: str, contexts: Contexts, caplog: pytest.LogCaptureFixture) -> None:
    async with scene(contexts, caplog) as here:
        for number, how in enumerate(("ValueError", "group", "recursion", "memory", "stop", "broken", "assertion")):
            async with member(here.url(kind), contexts.client, f"eve{number}") as eve:
                reply = await eve.ask("raise", how=how)
                assert (reply["action"], reply["data"]["code"]) == ("error", "internal_error")
                assert (await eve.ask("list_rooms"))["action"] == "success"
            await here.people.talk()
    assert "a handler of raise failed" in caplog.text


# ── going on too long, and too slowly ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", KINDS)
async def test_a_message_that_is_too_long(kind: str, contexts: Contexts, caplog: pytest.LogCaptureFixture) -> None:
    async with scene(contexts, caplog) as here:
        for size in (65_537, 70_000, 5_000_000):
            async with member(here.url(kind), contexts.client, "eve") as eve:

                async def send(eve: Member = eve, size: int = size) -> None:
                    await eve.say_raw(b'{"action":"list_rooms","x":"' + b"x" * size + b'"}')

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(send)
                    assert await eve.code() == 1009
                    nursery.cancel_scope.cancel()
            await here.people.talk()
        async with member(here.url(kind), contexts.client, "eve") as eve:
            room = 65_536 - len('{"action":"list_rooms","x":""}')
            await eve.say_raw(b'{"action":"list_rooms","x":"' + b"x" * room + b'"}')
            assert (await eve.reply())["action"] == "success"
    assert not failures(caplog)


FLOODS = {
    "fragments": (frame(TEXT, b"[", fin=False) + frame(CONTINUATION, b" ", fin=False) * 300, 4429),
    "empty fragments": (frame(TEXT, b"", fin=False) + frame(CONTINUATION, b"", fin=False) * 300, 4429),
    "messages in fragments": ((frame(TEXT, b"[", fin=False) + frame(CONTINUATION, b"]")) * 3000, None),
    "pings": (frame(PING, b"x" * 125) * 3000, 4429),
    "pongs": (frame(0xA, b"x" * 125) * 3000, 4429),
    "pings between fragments": (frame(TEXT, b"[", fin=False) + frame(PING) * 3000, 4429),
    "fragments of too much": (frame(TEXT, b"x" * 60_000, fin=False) + frame(CONTINUATION, b"x" * 60_000), 1009),
}


@pytest.mark.parametrize("kind", ["ws", "wss"])
async def test_floods_of_frames(kind: str, contexts: Contexts, caplog: pytest.LogCaptureFixture) -> None:
    async with scene(contexts, caplog) as here:
        for name, (flood, code) in FLOODS.items():
            async with member(here.url(kind), contexts.client, "eve") as eve:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(eve.raw.send, flood)
                    ended = await eve.code()
                    nursery.cancel_scope.cancel()
                assert ended == code or (code is None and ended in (4400, 4429)), name
            await here.people.talk()
    assert not failures(caplog)


@pytest.mark.parametrize("kind", KINDS)
async def test_drips_of_single_bytes(kind: str, contexts: Contexts, caplog: pytest.LogCaptureFixture) -> None:
    """A stranger who drips is ended by the deadlines; a member may be as slow as it likes."""

    async def drip(raw: Raw, data: bytes) -> None:
        with suppress(*BROKEN):
            for byte in data:
                await raw.stream.send_all(bytes((byte,)))
                await trio.sleep(0.01)

    endless = b'{"action":"login","x":"' + b"x" * 100_000
    async with scene(contexts, caplog, login_timeout=0.7, transport=QUICKLY) as here:
        for plain in (False, True):  # bytes of no TLS, where there is some
            raw = await dial(here.url(kind), None if plain else contexts.client)
            try:
                async with trio.open_nursery() as nursery:
                    head = b"\x16\x03\x01\x40\x00" + bytes(16_000) if kind in ("wss", "tls") and plain else b""
                    nursery.start_soon(drip, raw, head or (endless if kind in ("tcp", "tls") else upgrade() * 1000))
                    await raw.rest()
                    nursery.cancel_scope.cancel()
            finally:
                raw.close()
        async with member(here.url(kind), contexts.client, "eve") as eve:
            slowly = b'{"action":"list_rooms","x":"' + b"x" * 100 + b'"}'
            await drip(eve.raw, slowly + b"\n" if eve.lines else frame(TEXT, slowly))
            assert (await eve.reply())["action"] == "success"
    assert not failures(caplog)


POSTED = (
    b"POST / HTTP/1.1\r\nHost: 127.0.0.1:8766\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n"
    + LOGIN
    + b"\n",
    b"GET /%7B%22action%22:%22login%22%7D HTTP/1.1\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\n\r\n",
    b"EHLO example.org\r\n",
    b"\x00\x00\x00",
    b"[" + LOGIN + b"]\n",
    b"null\n",
    b'"{}"\n',
    b"x" + LOGIN + b"\n",
)


@pytest.mark.parametrize("kind", ["tcp", "tls"])
async def test_a_web_page_cannot_post_commands(kind: str, contexts: Contexts, caplog: pytest.LogCaptureFixture) -> None:
    async with scene(contexts, caplog) as here:
        for first in POSTED:
            async with here.link(kind) as raw:
                await raw.send(first)
                answer = await raw.rest()
                assert b'"code":4400' in answer
                assert b'"success"' not in answer
        assert not [one for one in here.server.connections() if one.user == "eve"]
    assert not failures(caplog)


OWN = "http://127.0.0.1:{port}"
ORIGINS = {
    OWN: True,
    "http://allowed.example": True,
    "https://allowed.example": False,
    "http://allowed.example:81": False,
    "http://allowed.example.evil.example": False,
    "http://notallowed.example": False,
    "http://evil.example": False,
    "http://evil.example/http://allowed.example": False,
    "null": False,
    "": False,
    "file://": False,
    "http://127.0.0.1": False,
    "http://127.0.0.1:1": False,
    "http://user@allowed.example": False,
    None: True,
}


@pytest.mark.parametrize("kind", ["ws", "wss"])
async def test_web_pages_of_others_are_refused(kind: str, contexts: Contexts, caplog: pytest.LogCaptureFixture) -> None:
    async with scene(contexts, caplog, origins=("http://allowed.example",)) as here:
        port = here.url(kind).rpartition(":")[2]
        for origin, allowed in ORIGINS.items():
            async with here.link(kind) as raw:
                own = "" if origin is None else origin.format(port=port)
                if kind == "wss" and origin == OWN:
                    own = own.replace("http:", "https:")
                header = [] if origin is None else [f"Origin: {own}"]
                head = await raw.open_websocket(upgrade("/ws", *header, host=f"127.0.0.1:{port}"))
                assert head.startswith(b"HTTP/1.1 101" if allowed else b"HTTP/1.1 403"), (origin, head)
    assert not failures(caplog)


KEY = b"Sec-WebSocket-Key: "
SHAKES: dict[str, tuple[bytes, int]] = {
    "as it should be": (upgrade(), 101),
    "an absolute target": (upgrade("http://127.0.0.1/ws"), 101),
    "an absolute target without a path": (upgrade("ws://127.0.0.1"), 101),
    "an absolute target elsewhere": (upgrade("http://127.0.0.1/other"), 404),
    "HTTP/1.0": (upgrade().replace(b"HTTP/1.1", b"HTTP/1.0"), 426),
    "a body": (upgrade("/ws", "Content-Length: 60") + b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    "a body of nothing": (upgrade("/ws", "Content-Length: 0"), 101),
    "a body in chunks": (upgrade("/ws", "Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
    "a short key": (upgrade().replace(KEY, KEY + b"AAAA\r\nX: "), 400),
    "a long key": (upgrade().replace(KEY, KEY + b"AAAA"), 400),
    "a key that is no base64": (upgrade().replace(KEY, KEY + b"!!!!!!!!!!!!!!!!!!!!!!==\r\nX: "), 400),
    "two keys": (upgrade("/ws", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="), 400),
    "no key": (upgrade().replace(KEY, b"X: "), 400),
    "two versions": (upgrade("/ws", "Sec-WebSocket-Version: 8"), 426),
    "a host with a name before it": (upgrade(host="user@127.0.0.1"), 400),
    "a host that is none": (upgrade(host="]["), 400),
    "a host with a path": (upgrade(host="127.0.0.1/ws"), 400),
    "no host": (upgrade().replace(b"Host: 127.0.0.1", b"X: y"), 400),
    "two hosts": (upgrade("/ws", "Host: 127.0.0.2"), 400),
    "another protocol as well": (upgrade().replace(b"Upgrade: websocket", b"Upgrade: h2c, websocket"), 101),
}


@pytest.mark.parametrize("kind", ["ws", "wss"])
async def test_handshakes_by_the_letter(kind: str, contexts: Contexts, caplog: pytest.LogCaptureFixture) -> None:
    """RFC 6455, section 4.2.1; what carries a body could be read in two ways, by us and by a proxy before us."""
    async with scene(contexts, caplog) as here:
        for name, (request, status) in SHAKES.items():
            async with here.link(kind) as raw:
                head = await raw.open_websocket(request)
                assert head.startswith(b"HTTP/1.1 %d " % status), (name, head)
    assert not failures(caplog)
