"""The WebSocket transport as a plain echo server, and as an echo client, against every case of RFC 6455."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from raw import HEAD_END, PATIENCE, Raw, agree, raw_link, raw_server, upgrade
from rfc6455 import Case, cases
from wire_frames import BINARY, CLOSE, CONTROL, PONG, TEXT, Frame, close, fragments, frame

from chatkit.errors import Disconnected
from chatkit.transport import TransportOptions, open_connection
from chatkit.transport.websocket import WebSocketConnection

EXAMPLE = Path(__file__).parents[2] / "examples" / "echo_websocket.py"
BUDGETS = TransportOptions(max_message_bytes=16_777_216, max_fragments=1_000_000, spare_frames=1_000_000)
TO_SERVER = dict(cases(mask=True))
TO_CLIENT = dict(cases(mask=False))


@pytest.fixture(scope="module")
def echo() -> Iterator[str]:
    """The address of the example, running."""
    command = [sys.executable, str(EXAMPLE), "ws://127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().rpartition(" ")[2].strip()
        finally:
            process.kill()


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Raw]:
    async with raw_link(url) as raw:
        head = await raw.open_websocket(upgrade("/", protocol=None))
        assert head.startswith(b"HTTP/1.1 101"), head
        yield raw


@asynccontextmanager
async def echoing_client() -> AsyncIterator[Raw]:
    """The server's end of a link to a client that echoes."""
    met, done = trio.Event(), trio.Event()
    links: list[Raw] = []

    async def behave(raw: Raw) -> None:
        await agree(raw)
        links.append(raw)
        met.set()
        await done.wait()

    async def echo(port: int) -> None:
        async with trio.open_nursery() as nursery:
            connection = await open_connection(nursery, f"ws://127.0.0.1:{port}/", BUDGETS, "json")
            assert isinstance(connection, WebSocketConnection)
            try:
                while True:
                    await connection.send_any(await connection.receive_any())
            except Disconnected as gone:
                await connection.aclose(gone.code, gone.reason)
            assert (await read_end(connection)) is not None

    async def read_end(connection: WebSocketConnection) -> Disconnected:
        try:
            raise AssertionError(await connection.receive_any())
        except Disconnected as gone:
            return gone

    async with raw_server(behave) as server, trio.open_nursery() as nursery:
        nursery.start_soon(echo, server.port)
        with trio.fail_after(PATIENCE):
            await met.wait()
        yield links[0]
        links[0].close()
        done.set()


async def check(raw: Raw, case: Case, *, mask: bool) -> None:
    """Play a case and compare what comes back."""
    for piece in case.sent:
        await raw.send(piece)
    alive = case.fails is None and case.closed is None
    came: list[Frame] = []
    while len(came) < len(case.heard) and (one := await raw.frame()) is not None:
        came.append(one)
        if one.opcode == CLOSE:
            break
    if alive:
        await raw.send(close(1000, mask=mask))
    while not came or came[-1].opcode != CLOSE:
        last = await raw.frame()
        assert last is not None, "the link ended without a Close"
        came.append(last)
        if not case.may:
            break
    *heard, bye = came
    if case.may:
        heard = []
    assert bye.opcode == CLOSE, f"more came than was to come: {bye}"
    assert all(one.masked is not mask for one in came), "masked by whom should not, or not by whom should"
    expected = [Frame(*one) for one in case.heard]
    for control in (True, False):
        got = [one for one in heard if bool(one.opcode & CONTROL) is control]
        wanted = [one for one in expected if bool(one.opcode & CONTROL) is control]
        assert got == wanted if case.fails is None else got == wanted[: len(got)]
    assert bye.code == (case.fails or case.closed or 1000) or (case.closed == 1005 and bye.code in (None, 1000))
    if not mask:
        raw.end()  # it is the server who ends the TCP link
    assert await raw.frame() is None, "something came behind the Close"


def test_every_case_has_a_name_of_its_own() -> None:
    assert len(TO_SERVER) == len(list(cases(mask=True))) > 480
    assert TO_SERVER.keys() == TO_CLIENT.keys()


@pytest.mark.parametrize("name", TO_SERVER)
async def test_server(name: str, echo: str) -> None:
    async with opened(echo) as raw:
        await check(raw, TO_SERVER[name], mask=True)


@pytest.mark.parametrize("name", TO_CLIENT)
async def test_client(name: str) -> None:
    async with echoing_client() as raw:
        await check(raw, TO_CLIENT[name], mask=False)


# ── sizes and numbers ────────────────────────────────────────────────────────────────────────────────────────────────


def sliced(payload: bytes, size: int) -> list[bytes]:
    return [payload[at : at + size] for at in range(0, len(payload), size)] or [b""]


LARGE = [
    (opcode, size, piece)
    for opcode in (TEXT, BINARY)
    for size, piece in (
        (262_144, None),
        (1_048_576, None),
        (4_194_304, None),
        (16_777_216, None),
        (4_194_304, 1_048_576),
        (4_194_304, 65_536),
        (1_048_576, 4_096),
        (1_048_576, 256),
        (262_144, 64),
        (65_536, 1_300),
    )
]


async def check_large(raw: Raw, opcode: int, size: int, piece: int | None, *, mask: bool) -> None:
    text = ("üx€😀" * (size // 10 + 1)).encode()[:size].decode(errors="ignore").encode()
    payload = text if opcode == TEXT else bytes(range(256)) * (size // 256)
    pieces = [payload] if piece is None else sliced(payload, piece)
    whole = fragments(opcode, *pieces, mask=mask)

    async def send() -> None:
        for start in range(0, len(whole), 100):
            await raw.send(b"".join(whole[start : start + 100]))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        got = await raw.message()
    assert got == (opcode, payload), "it came back changed"
    await check(raw, Case(sent=()), mask=mask)


@pytest.mark.parametrize(("opcode", "size", "piece"), LARGE)
async def test_large_messages(opcode: int, size: int, piece: int | None, echo: str) -> None:
    async with opened(echo) as raw:
        await check_large(raw, opcode, size, piece, mask=True)
    if size <= 4_194_304:
        async with echoing_client() as raw:
            await check_large(raw, opcode, size, piece, mask=False)


@pytest.mark.parametrize("size", [0, 16, 64, 256, 1024, 4096])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
async def test_a_thousand_messages(opcode: int, size: int, echo: str) -> None:
    async def talk(raw: Raw, mask: bool) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(raw.send, b"".join(frame(opcode, b"*" * size, mask=mask) for _ in range(1000)))
            for _ in range(1000):
                assert await raw.message() == (opcode, b"*" * size)
        await check(raw, Case(sent=()), mask=mask)

    async with opened(echo) as raw:
        await talk(raw, True)
    async with echoing_client() as raw:
        await talk(raw, False)


async def test_single_bytes_of_a_large_message(echo: str) -> None:
    payload = bytes(range(256)) * 16
    async with opened(echo) as raw:
        raw.sock.setsockopt(6, 1, 1)  # TCP_NODELAY
        for byte in frame(BINARY, payload):
            await raw.send(bytes((byte,)))
        assert await raw.message() == (BINARY, payload)


async def test_past_the_budgets(echo: str) -> None:
    async with opened(echo) as raw:
        await raw.send(frame(BINARY, b"", length=b"\xff" + (16_777_217).to_bytes(8, "big")))
        assert await raw.message() == 1009


# ── the opening handshake ────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_stands_right_behind_the_request(echo: str) -> None:
    async with raw_link(echo) as raw:
        await raw.send(upgrade("/", protocol=None) + frame(TEXT, b"early"))
        await raw.open_websocket(b"\0")  # in the middle of nothing: the rest of no frame at all
        assert await raw.message() == (TEXT, b"early")


async def test_header_names_in_any_case_and_several_tokens(echo: str) -> None:
    request = upgrade("/", protocol=None).replace(b"Upgrade: websocket", b"uPGRADE: WebSocket")
    request = request.replace(b"Connection: Upgrade", b"CONNECTION: keep-alive, Upgrade")
    async with raw_link(echo) as raw:
        assert (await raw.open_websocket(request)).startswith(b"HTTP/1.1 101")
        await check(raw, Case(sent=(frame(TEXT, b"x"),), heard=((TEXT, b"x"),)), mask=True)


async def test_a_compression_that_is_offered_is_not_taken(echo: str) -> None:
    offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
    async with raw_link(echo) as raw:
        head = await raw.open_websocket(upgrade("/", offer, protocol=None))
        assert head.endswith(HEAD_END)
        assert b"extensions" not in head.lower()
        await check(raw, Case(sent=(frame(PONG),)), mask=True)
