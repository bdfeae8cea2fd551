"""``chatkit serve``: its beginning, its end, its log."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trio
from at_work import CHATKIT, run, running, serving

import chatkit
from chatkit.frontends.exits import Exit


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_stops_it_gracefully(number: signal.Signals, tmp_path: Path) -> None:
    async with serving(tmp_path) as server, chatkit.connect(server.ws, user="ann", reconnect=False) as ann:
        kept = await ann.rooms["general"].send("before the end")
        server.process.process.send_signal(number)
        gone = await ann.wait_closed()
        assert isinstance(gone, chatkit.Disconnected)
        assert (gone.code, gone.reconnect) == (1001, True)
        assert await server.process.wait() == 0
    async with serving(tmp_path) as server, chatkit.connect(server.tcp, user="bob") as bob:
        assert await bob.rooms["general"].past_messages() == [kept]


HANDSHAKE = (
    "GET /ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


async def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        where = urlsplit(server.ws)
        # A peer that never answers the closing handshake holds up the graceful end for some seconds.
        async with await trio.open_tcp_stream(str(where.hostname), where.port or 0) as peer:
            await peer.send_all(HANDSHAKE.format(host=where.netloc).encode())
            received = b""
            while b"hello" not in received:
                received += await peer.receive_some()
            server.process.process.send_signal(signal.SIGTERM)
            while b"\x03\xe9" not in received:
                received += await peer.receive_some()
            server.process.process.send_signal(signal.SIGTERM)
            with trio.fail_after(2):
                assert await server.process.wait() == Exit.TERMINATED


async def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, "--no-rate-limits") as server,
        chatkit.connect(server.ws, user="ann", reconnect=False) as ann,
    ):
        kept = [await ann.rooms["general"].send(f"number {number}") for number in range(100)]
        server.process.kill()
        await ann.wait_closed()
    async with serving(tmp_path) as server, chatkit.connect(server.ws, user="bob") as bob:
        assert await bob.rooms["general"].past_messages(limit=1000) == kept


async def test_where_it_cannot_listen(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        ended = await run("serve", "--store", "memory://", "--listen", server.ws)
    assert ended.returncode == Exit.NO_LINK
    assert "the port is already in use" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


async def test_a_store_it_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("dear diary, " * 1000)
    ended = await run("serve", "--store", "sqlite:///notes.db", "--listen", "ws://127.0.0.1:0", folder=tmp_path)
    assert ended.returncode == Exit.STORE
    assert "cannot open the store" in ended.stderr
    assert ended.stderr.count("\n") == 1


async def test_the_log_tells_what_an_operator_wants_to_know(tmp_path: Path) -> None:
    async with serving(tmp_path, "--log-file", "log.jsonl", listen=["ws://127.0.0.1:0", "tcp://127.0.0.1:0"]) as server:
        async with chatkit.connect(server.ws, user="ann"):
            assert (await run("send", server.tcp, "hi", "--user", "ANN")).returncode == Exit.REFUSED
            assert (await run("send", server.tcp, "hi", "--user", "a\x1b[31mb")).returncode == Exit.REFUSED
            async with chatkit.connect(server.tcp, user="bob") as bob:
                with pytest.raises(chatkit.RequestFailed):
                    await bob.rooms["general"].send(" ")
        server.process.process.send_signal(signal.SIGTERM)
        await server.process.wait()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert all(set(line) >= {"time", "level", "logger", "message"} for line in lines)
    said = [f"{line['level']}: {line['message']}" for line in lines]
    for expected in (
        f"info: listening on {server.ws}",
        "ann] logged in",
        "login refused for 'ANN'",
        "(name_taken)",
        "(bad_name)",
        "127.0.0.1:",
        "info: stopping",
    ):
        assert any(expected in line for line in said), (expected, said)


async def test_what_peers_send_cannot_steer_the_operators_terminal(tmp_path: Path) -> None:
    command = (*CHATKIT, "serve", "--store", "memory://", "--listen", "tcp://127.0.0.1:0")
    async with running("sh", "-c", 'exec "$@" 2>&1', "sh", *command, folder=tmp_path) as server:
        url = (await server.until("listening on")).partition("listening on ")[2].split()[0]
        await run("send", url, "hi", "--user", "x\x1b]0;owned\x07\x9b31m\u202e")
        line = await server.until("login refused")
    assert not any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 or char == "\u202e" for char in line)
