"""A server in a process of its own, and a real browser."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from attrs import define
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

PATIENCE = 15_000
"""Milliseconds after which a page that should show something does not."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
expect.set_options(timeout=PATIENCE)

Come = Callable[..., Page]


@define(eq=False)
class ServerProcess:
    """``chatkit serve``, which can be stopped and started again on the same port."""

    folder: Path
    options: tuple[str, ...]
    port: int = 0
    process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        listen = ("--listen", f"ws://127.0.0.1:{self.port}", "--log-file", "log.jsonl")
        command = (sys.executable, "-m", "chatkit", "serve", *listen, *self.options)
        self.process = subprocess.Popen(
            command, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("listening on "), line
        self.port = int(line.strip().removesuffix("/").rpartition(":")[2])

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.send_signal(number)
        code = self.process.wait(timeout=20)
        self.process.stdout.close()
        self.process = None
        return code


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[ServerProcess]:
    server = ServerProcess(folder, options)
    server.start()
    try:
        yield server
    finally:
        if server.process is not None:
            server.stop(signal.SIGKILL)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server that keeps everything in a file."""
    with serving(tmp_path) as running:
        yield running


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A real Chromium."""
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    assert path is not None, "see require_tool"
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield launched
        launched.close()


@define(eq=False)
class Visit:
    """One person's browser, and what went wrong in it."""

    context: BrowserContext
    troubles: list[str]


@pytest.fixture
def visits(require_tool: Callable[..., None], request: pytest.FixtureRequest) -> Iterator[Callable[[], Visit]]:
    """Open browsers that share nothing; at the end none of them has met a script error or a policy's refusal."""
    require_tool("chromium")
    chromium: Browser = request.getfixturevalue("browser")
    opened: list[Visit] = []

    def visit() -> Visit:
        context = chromium.new_context()
        troubles: list[str] = []
        context.on("weberror", lambda error: troubles.append(str(error.error)))
        context.on("console", lambda said: _note(troubles, said.type, said.text))
        context.on("dialog", lambda dialog: (troubles.append(f"a dialog: {dialog.message}"), dialog.dismiss()))
        context.add_init_script(WATCH)
        opened.append(Visit(context, troubles))
        return opened[-1]

    yield visit
    for one in opened:
        one.context.close()
    assert not [trouble for one in opened for trouble in one.troubles]


WATCH = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`refused by policy: ${event.violatedDirective} ${event.blockedURI}`));
"""
LOST_LINKS = ("WebSocket connection to", "net::ERR_")
"""What a browser says by itself about a connection that fails."""


def _note(troubles: list[str], kind: str, text: str) -> None:
    if kind == "error" and not any(words in text for words in LOST_LINKS):
        troubles.append(text)


@pytest.fixture
def come(visits: Callable[[], Visit], server: ServerProcess) -> Come:
    """Let somebody come to the server's page in a browser of their own and connect."""

    def come(name: str, url: str | None = None) -> Page:
        page = visits().context.new_page()
        page.goto(url or server.url)
        page.fill("#name", name)
        page.click("#connect button")
        expect(page.locator("#chat")).to_be_visible()
        expect(page.locator("#me")).to_have_text(f"You are {name}")
        return page

    return come


def say(page: Page, text: str) -> None:
    page.fill("#text", text)
    page.press("#text", "Enter")


def texts(page: Page) -> list[str]:
    """What was said in the room, as it is shown."""
    return page.locator("#log li.message bdi").all_inner_texts()


def said(page: Page, text: str) -> None:
    """Wait until a message is shown, once."""
    expect(page.locator("#log li.message bdi").get_by_text(text, exact=True)).to_have_count(1)


def until(page: Page, condition: str, value: object = None) -> None:
    """Wait until a condition holds in the page, a function of ``value``. (`Page.wait_for_function` evaluates strings,
    which the page's policy refuses.)"""
    page.evaluate(
        """async ([value, patience]) => {
          const late = Date.now() + patience;
          while (!(CONDITION)(value)) {
            if (Date.now() > late) throw new Error("what was waited for does not come");
            await new Promise((done) => setTimeout(done, 10));
          }
        }""".replace("CONDITION", condition),
        [value, PATIENCE],
    )
