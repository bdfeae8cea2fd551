"""What ``chatkit serve`` says at its start about what is open to other machines."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from at_work import chatkit, run

from chatkit.engine.limits import EngineLimits
from chatkit.frontends.serve.openness import public, report
from chatkit.server import ServerConfig

WS, WSS, TLS, HERE = "ws://0.0.0.0:80", "wss://192.0.2.1:443", "tls://[::]:444", "ws://127.0.0.1:8765"
CLOSED = EngineLimits(guests="no", registration="invitation")


@pytest.mark.parametrize(
    ("address", "is_public"),
    [
        ("ws://127.0.0.1:1", False),
        ("ws://127.9.9.9:1", False),
        ("tcp://[::1]:1", False),
        ("tcp://localhost:1", False),
        ("memory://x", False),
        ("ws://0.0.0.0:1", True),
        ("ws://[::]:1", True),
        ("tls://192.168.1.5:1", True),
        ("wss://chat.example.org:1", True),
    ],
)
def test_what_other_machines_reach(address: str, is_public: bool) -> None:
    assert public([address]) == ([address] if is_public else [])


def test_on_loopback_nothing_is_said() -> None:
    assert report(ServerConfig(), [HERE, "memory://x"], 0) == ""


def said(addresses: list[str], admins: int | None = 0, **config: Any) -> list[str]:
    first, *rows = report(ServerConfig(**config), [HERE, *addresses], admins).splitlines()
    assert first.startswith("chatkit: ")
    return [row.split("  ")[1] for row in rows]


def test_what_is_open_by_default() -> None:
    assert said([WS, "tcp://0.0.0.0:81"]) == [
        "guests come in and talk",
        "anybody opens an account",
        "no TLS on ws://0.0.0.0:80 and tcp://0.0.0.0:81",
        "no account is admin",
        "/metrics is shown to everybody",
    ]


@pytest.mark.parametrize(
    ("change", "closed"),
    [
        ({"engine": EngineLimits(guests="no")}, "guests come in and talk"),
        ({"engine": EngineLimits(guests="read-only")}, "guests come in and talk"),
        ({"engine": EngineLimits(registration="closed")}, "anybody opens an account"),
        ({"engine": EngineLimits(registration="invitation")}, "anybody opens an account"),
        ({"trusted_proxies": ("10.0.0.1",)}, f"no TLS on {WS}"),
        ({"addresses": [WSS]}, f"no TLS on {WS}"),
        ({"addresses": [TLS]}, f"no TLS on {WS}"),
        ({"admins": 1}, "no account is admin"),
        ({"admins": None}, "no account is admin"),
        ({"operator_token": "x"}, "/metrics is shown to everybody"),
        ({"http": False}, "/metrics is shown to everybody"),
        ({"addresses": ["tcp://0.0.0.0:81"]}, "/metrics is shown to everybody"),
    ],
)
def test_each_setting_closes_what_it_says(change: dict[str, Any], closed: str) -> None:
    assert closed in said([WS])
    assert closed not in said(**{"addresses": [WS], **change})


def test_guests_who_only_read_and_rates_that_are_off_are_said() -> None:
    assert "guests come in and read" in said([WS], engine=EngineLimits(guests="read-only"))
    assert "anybody floods it: no rate limits" in said([WS], rate_limits=False)


@pytest.mark.parametrize(("registration", "who"), [("invitation", "by invitation"), ("closed", "by the operator")])
def test_a_closed_server_is_one_line(registration: Any, who: str) -> None:
    config = ServerConfig(engine=EngineLimits(guests="no", registration=registration), operator_token="x")
    assert report(config, [WSS, HERE], 1) == f"chatkit: closed to strangers: only accounts, {who}, over TLS\n"
    assert report(config, [WSS], 1, colour=True).startswith("\x1b[32mchatkit: closed to strangers")


async def test_the_server_says_it_where_the_operator_reads_it(tmp_path: Path) -> None:
    await run("user", "add", "ann", "--role", "admin", "--no-password", folder=tmp_path)
    settings = ("--guests", "no", "--registration", "invitation", "--log-level", "error", "--no-http")
    where = ("--listen", "tcp://0.0.0.0:0")
    async with chatkit("serve", *where, *settings, folder=tmp_path, stderr=subprocess.STDOUT) as server:
        assert (await server.line()).startswith("chatkit: other machines reach this server.")
        row = await server.line()
        assert row.startswith("  no TLS on tcp://0.0.0.0:")
        assert row.endswith("--listen wss://… or tls://…, --tls-cert; or a proxy in front")
        assert (await server.line()).startswith("listening on tcp://0.0.0.0:")
    at_home = ("--listen", "tcp://127.0.0.1:0", "--log-level", "error")
    async with chatkit("serve", *at_home, folder=tmp_path, stderr=subprocess.STDOUT) as server:
        assert (await server.line()).startswith("listening on tcp://127.0.0.1:")
