"""The line client in a real terminal: tmux."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import unicodedata
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from at_work import PATIENCE, ServerProcess, serving

import chatkit
from chatkit.frontends.exits import Exit
from chatkit.frontends.terminal import Stage

HOSTILE = {
    "colour": "\x1b[31mred",
    "screen cleared": "\x1b[2J\x1b[H",
    "cursor moved": "\x1b[10A\x1b[20D",
    "title": "\x1b]0;owned\x07",
    "title by C1": "\x9d0;owned\x9c",
    "terminal reset": "\x1bc",
    "other screen": "\x1b[?1049h",
    "C1 colour": "\x9b31m",
    "bell": "\x07" * 5,
    "backspace": "hidden\x08\x08\x08\x08\x08\x08",
    "carriage return": "bob: hi\rann: fooled",
    "line breaks": "one\n\n\nbob: forged",
    "scroll": "\x1bD\x1bM\x0b\x0c",
    "clipboard": "\x1b]52;c;b3duZWQ=\x07",
    "answerback": "\x05\x1b[c\x1b[6n",
    "bidi override": "\u202egnp.exe\u202c",
    "bidi isolate": "\u2066\u2067x\u2069",
    "line separator": "a\u2028b\u2029c",
    "invisible": "a\u200b\u2060\ufeff\u00adb",
    "tags": "\U000e0041\U000e0042",
    "delete": "a\x7f\x7fb",
    "null": "a\x00b",
}


class Terminal:
    """A command in a terminal of 100 columns."""

    def __init__(self, socket: str, command: str, rows: int = 40) -> None:
        self._tmux = ("tmux", "-L", socket, "-f", os.devnull)
        self.do("new-session", "-d", "-x", "100", "-y", str(rows), f"{command}; echo exit code $?; exec cat")

    def do(self, *arguments: str) -> str:
        return subprocess.run([*self._tmux, *arguments], check=True, capture_output=True, text=True).stdout

    def type(self, text: str, *keys: str) -> None:
        self.do("send-keys", "-l", text)
        self.do("send-keys", *(keys or ("Enter",)))

    def screen(self, *options: str) -> str:
        return self.do("capture-pane", "-p", *options)

    @property
    def title(self) -> str:
        return self.do("display-message", "-p", "#{pane_title}")

    async def shows(self, text: str) -> str:
        """Wait until the screen shows a text; return the screen."""
        with trio.move_on_after(PATIENCE):
            while text not in (screen := self.screen()):  # noqa: ASYNC110 - a terminal does not say when it changes
                await trio.sleep(0.02)
            return screen
        return pytest.fail(f"{text!r} did not appear on\n{self.screen()}")

    async def clear(self) -> None:
        """Take away all that is shown but the prompt."""
        self.type("", "C-l")
        with trio.fail_after(PATIENCE):
            while "\n" in self.screen().strip():  # noqa: ASYNC110 - as above
                await trio.sleep(0.02)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    async with serving(tmp_path, "--no-rate-limits") as process:
        yield process


@pytest.fixture
def open_terminal(require_tool: Callable[..., None], tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    require_tool("tmux")
    opened: list[str] = []

    def open_one(arguments: str, rows: int = 40) -> Terminal:
        opened.append(f"chatkit-{os.getpid()}-{tmp_path.name}-{len(opened)}")
        return Terminal(opened[-1], f"COLORTERM=truecolor {sys.executable} -m chatkit {arguments}", rows)

    with ending(opened):
        yield open_one


@contextmanager
def ending(sockets: list[str]) -> Iterator[None]:
    try:
        yield
    finally:
        for socket in sockets:
            subprocess.run(["tmux", "-L", socket, "kill-server"], check=False, capture_output=True)


async def test_two_people_talk(server: ServerProcess, open_terminal: Callable[..., Terminal]) -> None:
    ann = open_terminal(f"chat {server.ws} --user ann")
    await ann.shows("general (1) ann>")
    bob = open_terminal(f"chat {server.tcp} --user bob")
    await bob.shows("general (2) bob>")
    await ann.shows("* bob has joined general (2)")
    ann.type("half a line", "C-e")
    bob.type("hello ann")
    await ann.shows("bob: hello ann")
    screen = await ann.shows("general (2) ann> half a line")  # the prompt is drawn anew below it
    assert screen.rstrip().endswith("general (2) ann> half a line")
    ann.type(", finished")
    for terminal in (ann, bob):
        screen = await terminal.shows("ann: half a line, finished")
        assert screen.count("half a line, finished") == 1
    bob.type("/nope")
    await bob.shows("! there is no command /nope")
    bob.type("/cre", "Tab")
    await bob.shows("bob> /create")
    bob.type("tea")
    await bob.shows("tea (1) bob>")
    bob.type("/username robert")
    await ann.shows("* bob is robert now")
    colours = ann.screen("-e")
    assert "\x1b[3m\x1b[38;2;0;191;255m* bob has joined general (2)" in colours
    assert "38;2;0;123;255m" in colours
    assert "\x1b[38;2;255;77;77m! there is no" in bob.screen("-e")
    bob.type("/quit")
    await bob.shows("exit code 0")
    await ann.shows("* robert has left general (1)")
    ann.type("", "C-c")
    await ann.shows(f"exit code {Exit.INTERRUPTED:d}")


async def test_the_end_of_the_server_is_shown_and_its_return(
    server: ServerProcess, open_terminal: Callable[..., Terminal], tmp_path: Path
) -> None:
    ann = open_terminal(f"chat {server.ws} --user ann")
    eve = open_terminal(f"chat {server.ws} --user eve --no-reconnect")
    await ann.shows("ann>")
    await eve.shows("eve>")
    server.process.process.terminate()
    await ann.shows("! connection lost: the server is stopping (1001)")
    await eve.shows(f"exit code {Exit.LINK_LOST:d}")
    assert "chatkit: connection lost: the server is stopping (1001)" in eve.screen()
    await server.process.wait()
    ann.type("said to nobody")
    await ann.shows("* not sent yet: that waits until the connection is back")
    async with serving(tmp_path, listen=(server.ws, server.tcp)):
        await ann.shows("* connected again")
        await ann.shows("ann: said to nobody")
        ann.type("still here")
        await ann.shows("ann: still here")
        ann.type("", "C-d")  # while the server is there: it may have shown this and not yet said that it is kept
        await ann.shows("exit code")


async def test_what_needs_no_answer_does_not_wait_for_the_link(
    server: ServerProcess, open_terminal: Callable[..., Terminal], tmp_path: Path
) -> None:
    ann = open_terminal(f"chat {server.ws} --user ann")
    bob = open_terminal(f"chat {server.ws} --user bob")
    await ann.shows("general (2) ann>")
    await bob.shows("general (2) bob>")
    server.process.process.terminate()
    await server.process.wait()
    for terminal in (ann, bob):
        await terminal.shows("trying to come back")
        terminal.type("one")
        await terminal.shows("* not sent yet")
    ann.type("/whoami")
    await ann.shows("* you are ann, a guest")
    ann.type("/nope")
    await ann.shows("! there is no command /nope")
    ann.type("/join tea")
    await ann.shows("* not done yet")
    ann.type("two")
    bob.type("/join tea")
    await bob.shows("* not done yet")
    bob.type("/quit")
    assert "* not sent: one\n* not done: /join tea\nexit code 0" in await bob.shows("exit code")
    async with serving(tmp_path, listen=(server.ws, server.tcp)):
        screen = await ann.shows("ann: two")
        assert screen.index("ann: one") < screen.index("there is no room 'tea'") < screen.index("ann: two")
        await ann.clear()
    await ann.shows("trying to come back")
    ann.type("three")
    await ann.shows("* not sent yet")
    ann.type("", "C-c")
    assert f"* not sent: three\nexit code {Exit.INTERRUPTED:d}" in await ann.shows("exit code")


async def test_a_server_that_says_nothing_holds_up_nobody_who_leaves(
    server: ServerProcess, open_terminal: Callable[..., Terminal]
) -> None:
    ann = open_terminal(f"chat {server.ws} --user ann")
    await ann.shows("general (1) ann>")
    server.process.process.send_signal(signal.SIGSTOP)
    ann.type("hello?")
    await ann.shows("general (1) ann>")
    ann.type("/quit")
    began = trio.current_time()
    assert "* perhaps not sent: hello?\nexit code 0" in await ann.shows("exit code")
    assert trio.current_time() - began < 4  # saying goodbye would take five seconds


async def test_what_may_not_be_repeated_is_told_when_the_link_is_lost(
    server: ServerProcess, open_terminal: Callable[..., Terminal], tmp_path: Path
) -> None:
    ann = open_terminal(f"chat {server.ws} --user ann")
    await ann.shows("general (1) ann>")
    server.process.process.send_signal(signal.SIGSTOP)
    ann.type("/create tea")
    ann.type("/whoami")
    await ann.shows("* you are ann, a guest")  # so what was typed before is on its way
    ann.type("and this")
    server.process.kill()
    await ann.shows("! perhaps not done, the connection was lost meanwhile: /create tea")
    await server.process.wait()
    async with serving(tmp_path, listen=(server.ws, server.tcp)):
        await ann.shows("ann: and this")
        ann.type("/quit")
        await ann.shows("exit code 0")


async def test_what_was_removed_is_told_once(server: ServerProcess, open_terminal: Callable[..., Terminal]) -> None:
    ann = open_terminal(f"chat {server.ws} --user ann")
    await ann.shows("ann>")
    async with chatkit.connect(server.tcp, user="bob") as bob:
        slip = await bob.rooms["general"].send("a slip of the tongue")
        await ann.shows("bob: a slip of the tongue")
        await bob.rooms["general"].delete_message(slip)
        screen = await ann.shows("* bob has removed bob's message of ")
        said = next(line for line in screen.splitlines() if "a slip" in line)
        assert f"message of {said.split()[0]}\n" in screen
        assert "(removed)" not in screen
        eve = open_terminal(f"chat {server.ws} --user eve")
        await eve.shows("bob: (removed)")
        await bob.rooms["general"].send("now you know")
        assert "has removed" not in await eve.shows("bob: now you know")


async def test_hostile_text_leaves_screen_and_title_alone(
    server: ServerProcess, open_terminal: Callable[..., Terminal]
) -> None:
    terminal = open_terminal(f"chat {server.ws} --user ann", rows=70)
    await terminal.shows("general (1) ann>")
    title = terminal.title
    async with chatkit.connect(server.tcp, user="mallory") as mallory:
        await terminal.shows("mallory has joined")
        for name, text in HOSTILE.items():
            await mallory.rooms["general"].send(f"<{name}> {text} <end>")
        await mallory.rooms["general"].send("and that was all")
        screen = await terminal.shows("mallory: and that was all\ngeneral (2) ann>")
        lines = [line for line in screen.splitlines() if " mallory: " in line]
        assert [line.partition("<")[2].partition(">")[0] for line in lines] == [*HOSTILE, ""]
        assert all(line.rstrip().endswith("<end>") for line in lines[:-1])
        assert not [char for char in screen if char != "\n" and unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp")]
        assert terminal.title == title
        assert screen.rstrip().endswith("general (2) ann>")
    terminal.type("unharmed")
    await terminal.shows("ann: unharmed")


async def test_the_demo_in_a_terminal(open_terminal: Callable[..., Terminal]) -> None:
    terminal = open_terminal("demo", rows=60)
    screen = await terminal.shows("exit code 0")
    for expected in ("6/6", "seen in", "identical", "Now try it yourself"):
        assert expected in screen


async def test_a_server_in_a_terminal_says_once_where_it_listens(
    open_terminal: Callable[..., Terminal], tmp_path: Path
) -> None:
    terminal = open_terminal(f"serve --store memory:// --listen tcp://127.0.0.1:0 --log-file {tmp_path / 'log'}")
    screen = await terminal.shows("listening on tcp://127.0.0.1:")
    url = screen.partition("listening on ")[2].split()[0]
    assert f"listening on {url}" in (tmp_path / "log").read_text()
    terminal.type("", "C-c")
    screen = await terminal.shows("exit code 0")
    assert "stopping" in screen  # the log is here
    assert screen.count(url) == 1
    assert f"listening on {url}" in screen.splitlines()


async def _ended_token() -> trio.lowlevel.TrioToken:
    return trio.lowlevel.current_trio_token()


def test_what_is_drawn_last_may_end_after_the_talk() -> None:
    token = trio.run(_ended_token)

    async def draw() -> None:
        stage = Stage()
        stage.token = token
        stage.in_trio(print, "nobody is left to do that")

    asyncio.run(draw())
