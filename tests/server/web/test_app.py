"""What a server tells over HTTP: its page, its health, its connections, its metrics; and what it tells a program."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import attrs
import pytest
import trio
from http_client import site
from prometheus_client.parser import text_string_to_metric_families
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import chatkit
from chatkit.backend import open_backend
from chatkit.server import ServerConfig
from chatkit.server.statistics import Statistics
from chatkit.server.web.metrics import COUNTERS, GAUGES, HISTOGRAMS, LABELLED


def metrics_of(text: str) -> dict[tuple[str, ...], float]:
    """Return every sample of a page of metrics by its name and the values of its labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_the_page_loads_nothing_but_its_own_files() -> None:
    async with site() as here:
        page = await here.get("/")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self';")
        assert "connect-src 'self' ws: wss:" in policy
        assert "unsafe" not in policy
        for file, kind in (("page.js", "javascript"), ("page.css", "css"), ("icon.svg", "svg")):
            assert f"/static/{file}" in page.text or file == "icon.svg"
            answer = await here.get(f"/static/{file}")
            assert answer.status == 200
            assert kind in answer.headers["content-type"]
        for one in (page, answer, await here.get("/nowhere"), await here.get("/metrics")):
            assert one.headers["x-content-type-options"] == "nosniff"
            assert one.headers["referrer-policy"] == "no-referrer"


async def test_health() -> None:
    async with site() as here:
        answer = await here.get("/healthz")
        assert (answer.status, answer.text) == (200, '{"live":true,"ready":true}')
        here.server._core.committer.healthy = False  # what a failed commit leaves behind
        answer = await here.get("/healthz")
        assert (answer.status, answer.text) == (503, '{"live":true,"ready":false}')


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ({}, 401),
        ({"authorization": "Bearer wrong"}, 401),
        ({"authorization": "Bearer"}, 401),
        ({"authorization": "Basic a-token"}, 401),
        ({"authorization": "a-token"}, 401),
        ({"authorization": "Bearer a-token"}, 200),
        ({"authorization": "bearer a-token"}, 200),
    ],
)
async def test_operators_only(header: dict[str, str], status: int) -> None:
    async with site(config=ServerConfig(operator_token="a-token")) as here:
        for path in ("/connections", "/metrics"):
            answer = await here.get(path, **header)
            assert answer.status == status
            assert (status == 401) == (answer.headers.get("www-authenticate") == "Bearer")
            assert "a-token" not in answer.text
        assert (await here.get("/healthz")).status == 200


async def test_without_a_token_nobody_sees_the_connections() -> None:
    async with site() as here:
        assert (await here.get("/connections")).status == 404
        assert (await here.get("/connections", authorization="Bearer")).status == 404
        assert (await here.get("/metrics")).status == 200


async def test_connections() -> None:
    async with (
        site(config=ServerConfig(operator_token="a-token")) as here,
        chatkit.connect(here.server.addresses[0], user="ann"),
    ):
        answer = await here.get("/connections", authorization="Bearer a-token")
        (shown,) = json.loads(answer.text)
        (known,) = here.server.connections()
        assert shown == attrs.asdict(known)
        assert shown["user"] == "ann"
        assert shown["address"].startswith("127.0.0.1:")
        assert (shown["waiting_bytes"], shown["lagging"]) == (0, False)


async def test_the_metrics_are_the_statistics() -> None:
    async with site() as here:
        url = here.server.addresses[0]
        async with chatkit.connect(url, user="ann") as ann, chatkit.connect(url, user="bob") as bob:
            for number in range(5):
                await ann.rooms["general"].send(f"number {number}")
            with pytest.raises(chatkit.RequestFailed):
                await bob.rooms["general"].send(" ")
            with pytest.raises(chatkit.RequestFailed):
                async with chatkit.connect(url, user="ANN"):
                    pass
            answer = await here.get("/metrics")
            statistics = here.server.statistics()
    assert answer.headers["content-type"].startswith("text/plain; version=")
    found = metrics_of(answer.text)
    assert found["chatkit_connections",] >= 2  # ANN's may still be closing
    assert found["chatkit_sessions",] == found["chatkit_users",] == 2
    assert found["chatkit_rooms",] == 1
    assert found["chatkit_messages_total",] == statistics.messages_total == 5
    assert found["chatkit_deliveries_total",] == 10
    assert found["chatkit_logins_total",] == 2
    assert found["chatkit_connections_total",] == 3
    assert found["chatkit_refused_total", "empty_message"] == 1
    assert found["chatkit_refused_total", "name_taken"] == 1
    assert found["chatkit_received_bytes_total",] > 5 * 40
    assert found["chatkit_delivered_bytes_total",] > 10 * 40
    assert found["chatkit_ready",] == 1
    assert found["chatkit_commit_seconds_count",] == statistics.commits_total >= 1
    assert found["chatkit_commit_changes_sum",] == statistics.changes_total >= 5
    assert found["chatkit_commit_changes_count",] == statistics.commits_total
    assert 0 <= statistics.loop_delay < 5


def test_everything_that_is_counted_is_shown() -> None:
    shown = {*GAUGES, *(f"{name}_total" for name in (*COUNTERS, *LABELLED))}
    shown |= {one.sum for one in HISTOGRAMS.values()} | {one.count for one in HISTOGRAMS.values()}
    assert {field.name for field in attrs.fields(Statistics)} == shown


async def test_who_is_turned_away_is_counted() -> None:
    async with site() as here:
        upgrade = "GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        received = await here.said(f"{upgrade}Origin: https://evil.example\r\n\r\n")
        assert received.startswith(b"HTTP/1.1 403")
        assert metrics_of((await here.get("/metrics")).text)["chatkit_turned_away_total", "origin"] == 1


# ── the program around it ────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_programs_own_routes_come_first() -> None:
    async def mine(_: object) -> PlainTextResponse:
        return PlainTextResponse("mine")

    async with site(routes=[Route("/", mine), Route("/mine", mine)]) as here:
        assert (await here.get("/")).text == (await here.get("/mine")).text == "mine"
        assert (await here.get("/healthz")).status == 200


async def test_without_http_a_request_is_told_what_is_spoken_here() -> None:
    async with site(config=ServerConfig(http=False)) as here:
        answer = await here.get("/")
        assert answer.status == 426
        async with chatkit.connect(here.server.addresses[0], user="ann"):
            pass


WITHOUT_THE_EXTRA = """
import sys
sys.modules["starlette.applications"] = sys.modules["prometheus_client"] = None
import trio, chatkit

async def main():
    async with chatkit.open_server("memory://", listen=["ws://127.0.0.1:0"]) as server:
        async with chatkit.connect(server.addresses[0], user="ann") as ann:
            await ann.rooms["general"].send("hello")
        async with await trio.open_tcp_stream("127.0.0.1", int(server.addresses[0].rpartition(":")[2])) as stream:
            await stream.send_all(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
            print((await stream.receive_some())[:12].decode())
    try:
        async with chatkit.open_server("memory://", listen=[], routes=[object()]):
            pass
    except chatkit.MissingExtra as error:
        print(error.extra)

trio.run(main)
"""


def test_without_the_extra_every_websocket_is_served(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(WITHOUT_THE_EXTRA)
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["HTTP/1.1 426", "server"], done.stderr


async def test_what_a_stopping_server_says_of_itself() -> None:
    backend = await open_backend("memory://")
    async with chatkit.open_server(backend, listen=[]) as server:
        assert server.statistics().ready
        server.stop()
        await trio.lowlevel.checkpoint()
        assert not server.statistics().ready
    await backend.aclose()
