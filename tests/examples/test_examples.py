"""Every example is run as its reader runs it, and says what it should."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trio
from websockets.sync.client import connect

import chatkit

EXAMPLES = Path(__file__).parents[2] / "examples"
PATIENCE = 20.0


@contextmanager
def running(name: str, *arguments: str, folder: Path, **options: object) -> Iterator[subprocess.Popen[str]]:
    """Run an example beside the test; it is ended with the block."""
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    with subprocess.Popen(
        command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(PATIENCE)


def run(name: str, *arguments: str, folder: Path, said: str | None = None) -> str:
    """Run an example to its end and return what it printed."""
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    finished = subprocess.run(command, cwd=folder, input=said, capture_output=True, text=True, timeout=PATIENCE)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def line_of(process: subprocess.Popen[str]) -> str:
    """Return the next line a process prints."""
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


@pytest.fixture
def addresses(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The addresses of examples/server.py, running: WebSocket and TCP."""
    with running("server.py", "ws://127.0.0.1:0", "tcp://127.0.0.1:0", folder=tmp_path) as server:
        _, _, ws, tcp = line_of(server).split(" ")
        yield ws, tcp


def test_they_are_short_and_about_one_thing() -> None:
    for example in EXAMPLES.glob("*.py"):
        lines = example.read_text().splitlines()
        assert len(lines) < 60, example.name
        assert lines[0].startswith('"""'), example.name


@pytest.mark.parametrize(
    "name", ["cli.py", "echo_bot.py", "moderating.py", "raw_socket.py", "reconnecting.py", "smallest_client.py"]
)
def test_without_a_server_they_say_so_in_one_line(name: str, tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # taken, and nobody listens
        port = silent.getsockname()[1]
        where = {"raw_socket.py": ["127.0.0.1", str(port)], "cli.py": ["ann", f"tcp://127.0.0.1:{port}"]}
        command = [sys.executable, str(EXAMPLES / name), *where.get(name, [f"tcp://127.0.0.1:{port}"])]
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert "nobody listens there" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_the_server_keeps_what_is_said_across_a_restart(tmp_path: Path) -> None:
    for expected in ("ann: first\n", "ann: first\nann: second\n"):
        with running("server.py", "tcp://127.0.0.1:0", folder=tmp_path) as server:
            url = line_of(server).rpartition(" ")[2]
            said = expected.splitlines()[-1].removeprefix("ann: ")
            run("cli.py", "ann", url, folder=tmp_path, said=f"{said}\n")
            history = run("raw_socket.py", *where(url), folder=tmp_path).partition("kept as number")[2]
            assert expected in history.replace("sam: Typed by hand\n", "")


def test_the_smallest_client_shows_what_others_say(addresses: tuple[str, str], tmp_path: Path) -> None:
    ws, tcp = addresses
    with running("smallest_client.py", ws, folder=tmp_path) as client:
        assert line_of(client) == "ann: Hello, everybody!"
        run("cli.py", "bob", tcp, folder=tmp_path, said="hi ann\n")
        assert line_of(client) == "bob: hi ann"


def test_the_cli_talks_both_ways_at_once(addresses: tuple[str, str], tmp_path: Path) -> None:
    ws, tcp = addresses
    with (
        running("cli.py", "ann", ws, folder=tmp_path, stdin=subprocess.PIPE) as ann,
        running("cli.py", "bob", tcp, folder=tmp_path, stdin=subprocess.PIPE) as bob,
    ):
        for speaker, name, text in ((ann, "ann", "one"), (bob, "bob", "two"), (ann, "ann", "three")):
            speaker.stdin.write(f"{text}\n")
            speaker.stdin.flush()
            for listener in (ann, bob):
                assert line_of(listener).endswith(f"{name}: {text}")
        for one in (ann, bob):
            one.stdin.write(" \n/quit\n")
            one.stdin.close()
            assert line_of(one).startswith("! ")
            assert one.wait(PATIENCE) == 0


async def test_the_echo_bot_answers_others_and_never_itself(addresses: tuple[str, str], tmp_path: Path) -> None:
    async with chatkit.connect(addresses[0], user="ann") as ann:
        room, events = ann.rooms["general"], ann.events()
        with running("echo_bot.py", addresses[1], folder=tmp_path):
            while getattr((await anext(events)).event, "user", None) != "echo":
                pass
            messages = room.messages()
            heard = []
            for said in ("echo: echo: a loop?", "hello", "echo: the end"):
                await room.send(said)
            while "the end" not in heard:
                heard.append((await anext(messages)).text)
    assert [text for text in heard if text not in ("hello", "echo: echo: a loop?", "echo: the end")] == [
        "echo: a loop?",
        "the end",
    ]


def test_two_rooms(tmp_path: Path) -> None:
    assert run("two_rooms.py", folder=tmp_path) == (
        "bob is in general\n"
        "[general] ann: Come to the tea room!\n"
        "[tea] ann: Only those in here read this.\n"
        "bob is in general tea\n"
    )


def test_embedded(tmp_path: Path) -> None:
    _, *said = run("embedded.py", "ws://127.0.0.1:0", folder=tmp_path).splitlines()
    assert said == [f"thermometer says {degrees} degrees" for degrees in (20, 21, 22)]


def test_a_socket_is_enough(addresses: tuple[str, str], tmp_path: Path) -> None:
    printed = run("raw_socket.py", *where(addresses[1]), folder=tmp_path)
    assert printed.startswith("event: hello\n")
    assert "logged in as sam in general\n" in printed
    assert printed.endswith("sam: Typed by hand\n")


def test_a_game_of_ones_own(tmp_path: Path) -> None:
    verdicts, first, second, said = run("game.py", folder=tmp_path).splitlines()
    assert verdicts == "lower right!"
    assert first == "Guessed(room='general', seq=1, user='ann', number=50)"
    assert "number=42" in second
    assert "text='It was ··!'" in said


def where(url: str) -> tuple[str, str]:
    """Return a URL's host and port."""
    parts = urlsplit(url)
    return str(parts.hostname), str(parts.port)


def test_the_diary_misses_nothing(tmp_path: Path) -> None:
    """The server is restarted under it, then the diary itself is killed; what was said meanwhile is written down."""
    with running("server.py", "tcp://127.0.0.1:0", folder=tmp_path) as server:
        url = line_of(server).rpartition(" ")[2]
        with running("reconnecting.py", url, folder=tmp_path) as diary:
            assert sorted([line_of(diary), line_of(diary)]) == ["* connected", "1 diary: The diary is open."]
            server.terminate()
            server.wait(PATIENCE)
            assert line_of(diary).startswith("* the link is lost; try 1")
            with running("server.py", url, folder=tmp_path) as again:
                assert line_of(again)
                run("cli.py", "ann", url, folder=tmp_path, said="Is anybody writing?\n")
                while (line := line_of(diary)).startswith("* "):
                    pass
                assert line == "2 ann: Is anybody writing?"
                diary.kill()
                diary.wait(PATIENCE)
                run("cli.py", "ann", url, folder=tmp_path, said="And now?\n")
                with running("reconnecting.py", url, folder=tmp_path) as next_diary:
                    lines = [line_of(next_diary)]
                    while "diary:" not in lines[-1]:
                        lines.append(line_of(next_diary))
                said = [line for line in lines if not line.startswith("* ")]
                # What it was killed over may be given again, and what follows never misses.
                assert said[-2:] == ["3 ann: And now?", "4 diary: The diary is open."]
                assert said[:-2] in ([], ["2 ann: Is anybody writing?"])


async def test_another_system_says_who_somebody_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_KEY", "a key of thirty-two bytes or more")
    ann = run("jwt_login.py", "token", "ann", folder=tmp_path).strip()
    with running("jwt_login.py", "tcp://127.0.0.1:0", folder=tmp_path) as server:
        url = line_of(server).rpartition(" ")[2]
        async with chatkit.connect(url, user="whoever", token=ann) as client:
            assert (client.user, client.role) == ("ann", "member")
            again = client.token
        async with chatkit.connect(url, user="ann", token=again) as client:
            await client.rooms["general"].send("I came back without it.")
        header, claims, _ = ann.split(".")
        for forged in (ann[:-4] + "AAAA", f"{header}.{claims}.", f"eyJhbGciOiJub25lIn0.{claims}."):
            with pytest.raises(chatkit.RequestFailed, match="this token is not good"):
                async with chatkit.connect(url, user="ann", token=forged):
                    pass
        with pytest.raises(chatkit.RequestFailed, match="bad_credentials"):
            async with chatkit.connect(url, user="bob"):
                pass


def test_the_echo_server_says_back_text_and_bytes(tmp_path: Path) -> None:
    with (
        running("echo_websocket.py", "ws://127.0.0.1:0", folder=tmp_path) as server,
        connect(line_of(server).rpartition(" ")[2], compression=None) as link,
    ):
        for message in ("héllo", b"\xff\x00", "x" * 100_000):
            link.send(message)
            assert link.recv(PATIENCE) == message


async def test_order_is_kept(addresses: tuple[str, str], tmp_path: Path) -> None:
    ws, _ = addresses
    async with chatkit.connect(ws, user="ann", password="correct horse", register=True):
        pass
    async with chatkit.connect(ws, user="bob"), chatkit.connect(ws, user="troll"):
        said = await trio.to_thread.run_sync(partial(run, "moderating.py", ws, folder=tmp_path))
    first, *others = said.splitlines()
    assert first.startswith("troll is out until ")
    assert others == [
        "0 messages removed",
        "ann: ban troll",
        "ann: mute troll",
        "ann: update_room ",
        "ann: set_role bob",
    ]
