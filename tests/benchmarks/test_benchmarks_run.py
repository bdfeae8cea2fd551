"""The benchmarks run, and what they write down is what they measured. How fast anything is, no test says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.dialects import Chatkit, text_of
from benchmarks.plots import Chart, Line, drawn
from benchmarks.report import TABLES, TARGETS, fill_page, targets
from benchmarks.wire import FrameWalk, client_frame, server_frame_size

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the load generator is made of epoll and /proc")
@pytest.mark.parametrize("case", ["room", "many-talk", "sizes", "resumes", "rooms"])
def test_a_case_runs(case: str, tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks", "--check", "--case", case, "--json", str(figures)]
    servers = ["--server", "chatkit"] + (["--server", "epoll"] if case == "room" else [])
    done = subprocess.run([*command, *servers], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    runs = json.loads(figures.read_text())
    assert not runs["failures"]
    assert runs["figures"]


# ── the wire ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def unmasked(payload: bytes, opcode: int = 0x81) -> bytes:
    framed = client_frame(payload, opcode)
    head = len(framed) - len(payload) - 4
    return bytes((framed[0], framed[1] & 0x7F)) + framed[2:head] + payload


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1_000_000])
def test_frames_are_found_however_they_are_cut(step: int) -> None:
    payloads = [b"", b"a", b"x" * 125, b"y" * 126, b"z" * 65_535, b"q" * 65_536]
    stream = b"".join(unmasked(payload) for payload in payloads) + unmasked(b"ping", 0x89)
    taken: list[bytes] = []
    controls: list[tuple[int, bytes]] = []
    walk = FrameWalk(
        lambda data, start, end: taken.append(data[start:end]), lambda code, data: controls.append((code, data))
    )
    for at in range(0, min(len(stream), 2_000 * step), step):
        walk.feed(stream[at : at + step])
    if step > 100:
        assert taken == payloads
        assert controls == [(0x89, b"ping")]
    else:
        assert taken == payloads[: len(taken)]
        assert len(taken) >= 4


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_a_frame_is_as_long_as_expected(size: int) -> None:
    assert server_frame_size(size) == len(unmasked(b"x" * size))


def test_a_message_keeps_its_number_and_size() -> None:
    text = text_of(42, 100)
    assert len(text) == 100
    payload = b'{"action":"receive_message","data":{"seq":7,"text":"%b"},"timestamp":""}' % text
    assert Chatkit().is_message(b"??" + payload, 2)
    assert Chatkit().number_of(payload) == 42
    assert Chatkit().grows_with(payload) == 7


# ── the page ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def figure(server: str, turn: int, name: str = "200 members, 20 in flight", **values: float) -> dict[str, object]:
    return {"case": "room", "name": name, "server": server, "round": turn} | values


def test_ratios_are_of_the_same_round() -> None:
    figures = [figure("chatkit", turn, cpu_per_delivery_us=1.0 * turn) for turn in (1, 2, 30)]
    figures += [figure("uwebsockets", turn, cpu_per_delivery_us=0.5 * turn) for turn in (1, 2, 30)]
    table = targets({"figures": figures, "machine": {}, "failures": []})
    assert "2.00 of uWebSockets (socketify) | ≤ 1.5 | **no**" in table


def test_a_page_is_filled_where_it_says_so_and_otherwise_left(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "before\n<!-- figures: fan-out -->\nold\n<!-- end -->\n<!-- figures: latency -->\nkept\n<!-- end -->\n"
    )
    figures = [figure("chatkit", 1, cpu_per_delivery_us=1.25)]
    figures += [
        {"case": "members", "name": f"members: {count}", "server": "chatkit", "round": 1, "cpu_per_delivery_us": 1.0}
        for count in (10, 100)
    ]
    fill_page(page, {"figures": figures, "machine": {}, "failures": []})
    text = page.read_text()
    assert "| chatkit, SQLite, fsync | 1.25 |" in text
    assert "old" not in text
    assert "kept" in text
    assert (tmp_path / "page-members.svg").read_text().startswith("<svg")


def test_every_target_is_of_a_figure_there_is() -> None:
    assert {target.ours for target in TARGETS} == {"chatkit", "chatkit-memory"}
    assert set(TABLES) >= {"targets", "honesty", "machine"}


def test_a_chart_escapes_what_it_is_given() -> None:
    line = Line(title="<b>", ours=True, points=[(1, 1.0), (10, 2.0)])
    assert "<b>" not in drawn(Chart(title="a & b", x="x", y="y", lines=[line]))
