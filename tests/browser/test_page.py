"""The page at ``/`` in a real Chromium, as people use it."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from pages import Come, ServerProcess, Visit, said, say, serving, texts
from playwright.sync_api import expect


def test_two_browsers_converse(come: Come) -> None:
    ann, bob = come("ann"), come("bob")
    expect(ann.locator("#log .notice").last).to_have_text(re.compile("bob joined"))
    expect(ann.locator("#rooms")).to_have_text("general (2)")
    say(ann, "hello bob")
    said(bob, "hello bob")
    say(bob, "hello ann")
    for page in (ann, bob):
        said(page, "hello ann")
        expect(page.locator("#log li.message b")).to_have_text(["ann", "bob"])
        assert texts(page) == ["hello bob", "hello ann"]
        expect(page.locator("#log .pending")).to_have_count(0)
    bob.click("#quit")
    expect(ann.locator("#log .notice").last).to_have_text(re.compile("bob left"))
    expect(bob.locator("#connect")).to_be_visible()


def test_own_messages_are_shown_once_however_fast(come: Come) -> None:
    ann = come("ann")
    for number in range(30):
        say(ann, f"number {number}")
    said(ann, "number 29")
    expect(ann.locator("#log .pending")).to_have_count(0)
    assert texts(ann) == [f"number {number}" for number in range(30)]


def test_rooms_and_commands(come: Come) -> None:
    ann, bob = come("ann"), come("bob")
    ann.fill("#newroom", "tea")
    ann.press("#newroom", "Enter")
    expect(ann.locator("#title")).to_have_text("tea")
    say(ann, "the kettle is on")
    said(ann, "the kettle is on")
    tea = bob.get_by_role("button", name="tea (1)")
    tea.click()
    expect(bob.locator("#title")).to_have_text("tea")
    said(bob, "the kettle is on")
    say(bob, "/join general")
    expect(bob.locator("#title")).to_have_text("general")
    say(ann, "it boils")
    expect(bob.locator("#rooms .unread")).to_have_text("tea (2)")
    bob.get_by_role("button", name="tea (2)").click()
    said(bob, "it boils")
    expect(bob.locator("#rooms .unread")).to_have_count(0)
    say(bob, "/username robert")
    expect(bob.locator("#me")).to_have_text("You are robert")
    expect(ann.locator("#log .notice").last).to_have_text(re.compile("bob is now robert"))
    say(bob, "/leave")
    expect(bob.locator("#title")).to_have_text("general")
    expect(ann.locator("#rooms")).to_contain_text("tea (1)")
    for line, answer in (
        ("/users", "ann, robert"),
        ("/rooms", "general (2), tea (1)"),
        ("/join nowhere", "nowhere"),
        ("/nonsense", "there is no /nonsense"),
        ("/help", "/join room"),
    ):
        say(bob, line)
        expect(bob.locator("#log li").last).to_contain_text(answer)
    say(bob, "//not a command")
    said(bob, "/not a command")
    say(bob, "/quit")
    expect(bob.locator("#connect")).to_be_visible()


def test_a_reload_keeps_the_name_and_the_person(come: Come) -> None:
    ann, bob = come("ann"), come("bob")
    say(ann, "before")
    said(bob, "before")
    ann.reload()
    expect(ann.locator("#name")).to_have_value("ann")
    ann.click("#connect button")  # the name is not taken: it is the same person
    expect(ann.locator("#me")).to_have_text("You are ann")
    said(ann, "before")
    say(ann, "behind")
    said(bob, "behind")


def test_a_name_that_is_taken_is_said_and_another_tried(
    come: Come, visits: Callable[[], Visit], server: ServerProcess
) -> None:
    come("ann")
    page = visits().context.new_page()
    page.goto(server.url)
    page.fill("#name", "Ann")
    page.click("#connect button")
    expect(page.locator("#problem")).to_have_text(re.compile("taken"))
    page.fill("#name", "bea")
    page.click("#connect button")
    expect(page.locator("#me")).to_have_text("You are bea")


def test_a_wrong_address_is_said(visits: Callable[[], Visit], server: ServerProcess) -> None:
    page = visits().context.new_page()
    page.goto(server.url)
    page.fill("#name", "ann")
    for address, sentence in (
        ("ws://127.0.0.1:1/ws", "nobody answers at ws://127.0.0.1:1/ws"),
        (f"ws://127.0.0.1:{server.port}/nowhere", "nobody answers at"),
        ("nonsense", "An address begins with ws:// or wss://"),
        ("http://127.0.0.1/", "An address begins with ws:// or wss://"),
        ("ws://[", "cannot be connected to"),
    ):
        page.fill("#address", address)
        page.click("#connect button")
        expect(page.locator("#problem")).to_contain_text(sentence)
        expect(page.locator("#connect")).to_be_visible()
    page.fill("#address", f"ws://127.0.0.1:{server.port}/ws")
    page.click("#connect button")
    expect(page.locator("#me")).to_have_text("You are ann")


def test_it_comes_back_after_a_restart_and_misses_nothing(come: Come, server: ServerProcess) -> None:
    ann, bob = come("ann"), come("bob")
    say(ann, "one")
    said(bob, "one")
    for number, text in ((signal.SIGTERM, "two"), (signal.SIGKILL, "three")):
        assert server.stop(number) == (0 if number == signal.SIGTERM else -signal.SIGKILL)
        expect(ann.locator("#status")).to_contain_text("trying again")
        say(ann, text)  # waits for the server
        expect(ann.locator("#log .pending")).to_have_text([re.compile(text)])
        server.start()
        expect(ann.locator("#status")).to_have_text("")
        expect(bob.locator("#status")).to_have_text("")
        for page in (ann, bob):
            said(page, text)
        expect(ann.locator("#log .pending")).to_have_count(0)
    say(bob, "four")
    for page in (ann, bob):
        said(page, "four")
        assert texts(page) == ["one", "two", "three", "four"]


def test_another_log_is_noticed(come: Come, server: ServerProcess) -> None:
    ann = come("ann")
    say(ann, "in the old log")
    said(ann, "in the old log")
    server.stop()
    for path in server.folder.glob("chat.db*"):
        path.unlink()
    server.start()
    expect(ann.locator("#status")).to_have_text("")
    say(ann, "in the new log")
    said(ann, "in the new log")
    expect(ann.locator("#log li.message")).to_have_count(1)


def test_a_second_window_of_the_same_person_takes_over(come: Come, server: ServerProcess) -> None:
    first = come("ann")
    second = first.context.new_page()
    second.goto(server.url)
    second.click("#connect button")
    expect(second.locator("#me")).to_have_text("You are ann")
    expect(first.locator("#problem")).not_to_be_empty()
    expect(first.locator("#connect")).to_be_visible()


@contextmanager
def elsewhere(folder: Path) -> Iterator[str]:
    """Serve a folder's files from another port."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{http.server_address[1]}"
        http.shutdown()
        thread.join()


TRY = """async (url) => new Promise((done) => {
  const ws = new WebSocket(url, "chatkit.v1.json");
  ws.onmessage = (event) => { done(JSON.parse(event.data).action); ws.close(); };
  ws.onclose = () => done("refused");
})"""


def test_another_page_is_refused_unless_the_operator_allows_it(
    visits: Callable[[], Visit], server: ServerProcess, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "index.html").write_text(
        "<!doctype html><title>another page</title><link rel=icon href=data:>"
    )
    with (
        elsewhere(tmp_path / "other") as origin,
        serving(tmp_path, "--origin", origin, "--store", "memory://") as open_one,
    ):
        page = visits().context.new_page()
        page.goto(origin)
        assert page.evaluate(TRY, f"ws://127.0.0.1:{server.port}/ws") == "refused"
        assert page.evaluate(TRY, f"ws://localhost:{server.port}/ws") == "refused"
        assert page.evaluate(TRY, f"ws://127.0.0.1:{open_one.port}/ws") == "hello"
        page.goto(server.url)
        assert page.evaluate(TRY, f"ws://127.0.0.1:{server.port}/ws") == "hello"


def test_a_token_is_only_shown_to_the_server_it_came_from(come: Come, tmp_path: Path) -> None:
    ann = come("ann")
    (tmp_path / "second").mkdir()
    with serving(tmp_path / "second", "--origin", ann.evaluate("location.origin"), "--store", "memory://") as second:
        frames: list[str] = []
        ann.on("websocket", lambda socket: socket.on("framesent", lambda frame: frames.append(str(frame))))
        ann.click("#quit")
        ann.fill("#address", f"ws://127.0.0.1:{second.port}/ws")
        ann.click("#connect button")
        expect(ann.locator("#chat")).to_be_visible()
        assert '"login"' in frames[0]
        assert "token" not in frames[0]
