"""``chatkit config``, and how ``chatkit serve`` takes its settings."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
import trio
from at_work import CHATKIT, run, running, serving
from at_work import chatkit as chatkit_process

import chatkit
from chatkit.frontends.exits import Exit
from chatkit.frontends.serve.flags import NAMED
from chatkit.server.settings import SETTINGS


def test_every_everyday_setting_has_its_flag() -> None:
    assert set(NAMED) <= set(SETTINGS)
    assert len(set(NAMED.values())) == len(NAMED)


async def test_it_says_what_holds_and_why(tmp_path: Path) -> None:
    (tmp_path / "chatkit.toml").write_text("linger = 3\ngarbage = 7\n[rates.messages]\nburst = 5\n")
    shown = await run(
        "config",
        "--config",
        "chatkit.toml",
        "--set",
        "garbage=8",
        "--no-http",
        "--origin",
        "https://a.example",
        "--origin",
        "https://b.example",
        "--json",
        folder=tmp_path,
    )
    assert shown.returncode == 0, shown.stderr
    records = {record["name"]: record for record in map(json.loads, shown.stdout.splitlines())}
    assert set(records) == set(SETTINGS)
    held = {name: (record["value"], record["from"]) for name, record in records.items() if record["from"] != "default"}
    assert held == {
        "linger": (3.0, "chatkit.toml"),
        "garbage": (8, "--set"),
        "rates.messages.burst": (5.0, "chatkit.toml"),
        "http": (False, "--no-http"),
        "origins": (["https://a.example", "https://b.example"], "--origin"),
    }


async def test_what_it_prints_is_a_file_for_serve(tmp_path: Path) -> None:
    shown = await run("config", "--set", "engine.default_rooms=lobby", "--store", "memory://", folder=tmp_path)
    (tmp_path / "made.toml").write_text(shown.stdout)
    async with serving(tmp_path, "--config", "made.toml") as server, chatkit.connect(server.ws, user="ann") as ann:
        assert set(ann.rooms) == {"lobby"}
    assert not [path for path in os.listdir(tmp_path) if path.endswith(".db")]


async def test_the_environment(tmp_path: Path) -> None:
    (tmp_path / "chatkit.toml").write_text(
        'store = "memory://"\nlisten = ["tcp://127.0.0.1:0"]\nmax_message_bytes = 300\n'
    )
    environment = {"CHATKIT_CONFIG": "chatkit.toml", "CHATKIT_MAX_MESSAGE_BYTES": "400"}
    async with chatkit_process("serve", folder=tmp_path, **environment) as process:
        url = (await process.line()).removeprefix("listening on ")
        async with chatkit.connect(url, user="ann") as ann:
            assert ann.hello.limits["max_message_bytes"] == 400


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--config", "none.toml"], "the configuration 'none.toml' cannot be read: No such file or directory"),
        (["--config", "wrong.toml"], "wrong.toml: there is no setting 'lingre'; did you mean 'linger'?"),
        (["--set", "lingre=1"], "--set: there is no setting 'lingre'; did you mean 'linger'?"),
        (["--max-mesage-bytes", "5"], "--max-message-bytes"),
        (["--operator-token-file", "empty"], "the file of the operator's token 'empty' is empty"),
        (["--operator-token-file", "full", "--operator-token", "x"], "one of them is enough"),
        (["--trusted-proxy", "proxy.example"], "expected an address or a network"),
        (["--tls-key", "key.pem"], "tls_key is set and tls_cert is not"),
        (["--tls-cert", "cert.pem"], "no address to listen on begins with wss:// or tls://"),
        (["--listen", "wss://127.0.0.1:0"], "needs a certificate: --tls-cert and --tls-key"),
        (["--listen", "ws://127.0.0.1:0", "--origin", "https://a.b/path"], "expected scheme, host and port alone"),
    ],
)
async def test_what_is_wrong_is_said_in_one_line(arguments: list[str], sentence: str, tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_text("lingre = 5\n")
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "full").write_text("a secret\n")
    ended = await run("serve", "--store", "memory://", *arguments, folder=tmp_path)
    assert ended.returncode == Exit.USAGE
    assert sentence in ended.stderr
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert "a secret" not in ended.stderr


async def test_the_operators_token_is_in_no_output_and_no_command_line(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("canary-secret\n")
    shown = await run("config", "--operator-token-file", "token", folder=tmp_path)
    assert "canary-secret" not in shown.stdout + shown.stderr
    serve = ("serve", "--store", "memory://", "--listen", "ws://127.0.0.1:0", "--operator-token-file", "token")
    async with running("sh", "-c", 'exec "$@" 2>&1', "sh", *CHATKIT, *serve, folder=tmp_path) as server:
        line = await server.until("listening on ws")
        port = int(re.findall(r":(\d+)", line)[-1])
        assert b"canary-secret" not in command_line(server.process.pid)
        assert await _status(port, "") == 401
        assert await _status(port, "Authorization: Bearer wrong\r\n") == 401
        assert await _status(port, "Authorization: Bearer canary-secret\r\n") == 200


def command_line(pid: int) -> bytes:
    """Return what anybody on this machine can read of a process, where there is such a thing."""
    shown = Path(f"/proc/{pid}/cmdline")
    return shown.read_bytes() if shown.exists() else b""


async def _status(port: int, header: str) -> int:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(f"GET /connections HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n".encode())
        answer = b"".join([data async for data in stream])
    return int(answer.split()[1])


async def test_a_typing_error_in_a_variable_is_told(tmp_path: Path) -> None:
    async with chatkit_process("config", folder=tmp_path, stderr=-2, **os.environ, CHATKIT_LINGRE="5") as process:
        assert "did you mean 'CHATKIT_LINGER'?" in await process.line()
