"""Canaries: what is secret and what people say is in no log, no traceback and no command line, even at DEBUG."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import orjson
import pytest
import trio
from at_work import CHATKIT, running

import chatkit

PASSWORD, OPERATOR = "canary-password-9f2c", "canary-operator-77aa"
TEXT, TOPIC, BINARY = "canary-text-4be1", "canary-topic-03d5", b"canary-bytes-8c6e"


async def test_no_secret_and_no_message_is_logged(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(OPERATOR)
    serve = ("serve", "--store", "sqlite:///chat.db", "--listen", "ws://127.0.0.1:0", "--listen", "tcp://127.0.0.1:0")
    more = ("--log-level", "debug", "--log-file", "log.jsonl", "--operator-token-file", "token")
    seen: list[str] = []
    canaries = [PASSWORD, OPERATOR, TEXT, TOPIC, BINARY.decode()]
    command = ("sh", "-c", 'exec "$@" 2>&1', "sh", *CHATKIT, *serve, *more)
    async with running(*command, folder=tmp_path) as server:
        lines = [await server.until(f"listening on {scheme}") for scheme in ("ws", "tcp")]
        ws, tcp = (line.partition("listening on ")[2].split()[0] for line in lines)
        with pytest.raises(chatkit.RequestFailed):
            async with chatkit.connect(ws, user="ann", password=PASSWORD):
                pass
        async with chatkit.connect(ws, user="ann") as ann:
            canaries.append(ann.token)
            general = ann.rooms["general"]
            await general.send(TEXT)
            await general.send(BINARY)
            await ann.create("tea", topic=TOPIC)
            with pytest.raises(chatkit.RequestFailed):
                async with chatkit.connect(tcp, user="ann", password=PASSWORD, token="canary-wrong-token"):
                    pass
        await hostile(ws, tcp)
        canaries += ["canary-wrong-token", "canary-cookie", "canary-query", "canary-field", "canary-garbage"]
        server.process.send_signal(signal.SIGTERM)
        with pytest.raises(EOFError):
            while True:
                seen.append(await server.line())
        await server.wait()
    log = (tmp_path / "log.jsonl").read_text()
    events = {json.loads(line).get("event") for line in log.splitlines()}
    assert {"request", "login", "login_refused", "protocol_error", "disconnected"} <= events
    found = [canary for canary in canaries if canary in log or canary in "\n".join(seen)]
    assert not found


async def hostile(ws: str, tcp: str) -> None:
    """Put canaries where a careless server repeats them: broken messages, headers, queries."""
    login = orjson.dumps({"action": "login", "data": {"user": "eve", "password": PASSWORD}})
    for line in (
        login[:-1] + b',"canary-garbage"\n',
        b'{"action": "canary-garbage"}\n',
        b'{"action": "login", "data": {"user": 5, "password": "canary-garbage"}}\n',
        b'{"action": "login", "data": {"user": "eve", "token": ["canary-garbage"]}}\n',
        b'{"action": "login", "data": {"user": "eve", "resume": {"canary-field": 5}}}\n',
    ):
        async with await trio.open_tcp_stream("127.0.0.1", int(tcp.rpartition(":")[2])) as stream:
            await stream.send_all(line)
            with trio.move_on_after(5):
                received = b""
                while received.count(b"\n") < 2 and (data := await stream.receive_some()):
                    received += data
    for request in (
        b"GET /metrics?token=canary-query HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /connections HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b"Authorization: Bearer canary-wrong-token\r\n\r\n",
        b"GET /ws?token=canary-query HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Cookie: session=canary-cookie\r\nSec-WebSocket-Version: 8\r\n\r\n",
        b"GET /x?canary-query HTTP/1.1\r\nHost: x\r\nCookie canary-cookie\r\n\r\n",
    ):
        async with await trio.open_tcp_stream("127.0.0.1", int(ws.rpartition(":")[2].partition("/")[0])) as stream:
            await stream.send_all(request)
            with trio.move_on_after(5):
                while await stream.receive_some():
                    pass
