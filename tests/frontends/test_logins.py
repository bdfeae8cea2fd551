"""Coming in with an account: passwords asked for hidden, files that hold them, logins that are remembered."""

from __future__ import annotations

import json
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from at_work import ServerProcess, chatkit, run, serving
from test_terminal import Terminal, open_terminal  # noqa: F401 - the fixture

import chatkit as library
from chatkit.frontends.credentials import credentials_of
from chatkit.frontends.exits import Exit
from chatkit.frontends.login_store import RememberedLogin

URL = "ws://chat.example.org"


def test_a_login_is_remembered_in_a_file_of_ones_own(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "logins"
    login = RememberedLogin(URL, "Ann", folder)
    assert login.token() is None
    assert not folder.exists(), "who has no account leaves no trace"
    login.remember("one")
    login.remember("two")
    (path,) = folder.glob("*.json")
    assert json.loads(path.read_text()) == {"url": URL, "user": "ann", "token": "two"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    second = RememberedLogin(URL, "ann", folder)
    assert second.token() is None, "another chat has it"
    second.remember("mine")
    login.close()
    assert second.token() == "two"
    assert RememberedLogin(URL, "bob", folder).token() is None
    assert RememberedLogin("ws://other.example.org", "ann", folder).token() is None
    second.remember("")
    assert not path.exists()
    second.close()


@pytest.mark.parametrize("said", [b"", b"{", b"[]", b'{"token": 7}', b'{"token": ""}', b"\xff"])
def test_a_damaged_login_is_none(tmp_path: Path, said: bytes) -> None:
    login = RememberedLogin(URL, "ann", tmp_path)
    login.remember("one")
    next(tmp_path.glob("*.json")).write_bytes(said)
    assert login.token() is None
    login.close()


def test_what_cannot_be_kept_is_not_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    login = RememberedLogin(URL, "a b", tmp_path / "file")
    login.remember("one")
    assert login.token() is None


# ── the command line ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ServerProcess]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    async with serving(tmp_path) as process:
        yield process


async def test_files_that_hold_a_password_or_a_token(server: ServerProcess, tmp_path: Path) -> None:
    password, token = tmp_path / "password", tmp_path / "token"
    password.write_text("correct horse\n")
    registering = ("--user", "ann", "--register", "--password-file", str(password))
    assert (await run("send", server.ws, "mine now", *registering)).returncode == 0
    again = await run("send", server.ws, "mine now", *registering)
    assert (again.returncode, "name_taken" in again.stderr) == (Exit.REFUSED, True)
    nobody = await run("send", server.ws, "me too", "--user", "ann")
    assert (nobody.returncode, "bad_credentials" in nobody.stderr) == (Exit.REFUSED, True)
    async with library.connect(server.ws, user="ann", password="correct horse") as ann:
        token.write_text((await ann.create_token("ci", role="bot")).token + "\n")
    assert (await run("send", server.ws, "by a program", "--token-file", str(token))).returncode == 0
    tailed = await run("tail", server.ws, "--user", "x", "--token-file", str(token), "--count", "2")
    assert [line.partition(" ")[2] for line in tailed.stdout.splitlines()] == ["ann: mine now", "ann: by a program"]


async def test_a_chat_in_a_pipe_is_remembered_unless_it_is_not_to_be(server: ServerProcess, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("correct horse\n")
    registering = ("--register", "--password-file", str(password))
    assert (await run("chat", server.ws, "-u", "ann", *registering, said="one\n")).returncode == 0
    assert (await run("chat", server.ws, "-u", "ann", said="two\n")).returncode == 0
    refused = await run("chat", server.ws, "-u", "ann", "--no-store", said="three\n")
    assert (refused.returncode, "bad_credentials" in refused.stderr) == (Exit.REFUSED, True)
    assert (await run("chat", server.ws, "-u", "ann", said="/logout\n")).returncode == 0
    assert (await run("chat", server.ws, "-u", "ann", said="four\n")).returncode == Exit.REFUSED


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"password_file": "nowhere"}, "cannot be read"),
        ({"password_file": "empty"}, "is empty"),
        ({"password_file": "binary"}, "is no UTF-8 text"),
        ({"password_file": "empty", "token_file": "empty"}, "one of them is enough"),
        ({"register": True, "token_file": "empty"}, "a new account has no token yet"),
        ({"register": True}, "there is no terminal to ask for a password at"),
        ({"invitation": "code"}, "there is no terminal to ask for a password at"),
    ],
)
def test_what_makes_no_sense_is_said(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    (tmp_path / "empty").write_text("")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    given = {name: tmp_path / value if "file" in name else value for name, value in options.items()}
    with pytest.raises(library.UsageError) as caught:
        credentials_of("ann", **given)
    assert said in str(caught.value)


async def test_who_is_kept_out_is_told_why(server: ServerProcess) -> None:
    async with (
        library.connect(server.ws, user="ann", password="correct horse", register=True) as ann,
        chatkit("tail", server.ws, "--user", "bob", "--room", "tea", stderr=-2) as bob,
    ):
        assert "no_such_room" in await bob.line()
        tea = await ann.create("tea")
        async with chatkit("tail", server.ws, "--user", "bob", "--room", "tea", stderr=-2) as bob:
            await tea.send("hello")
            assert "ann: hello" in await bob.line()
            await tea.update(name="den")
            await tea.send("still here")
            assert (await bob.line()).endswith("ann: still here")
            await tea.ban("bob", reason="lurking")
            assert await bob.line() == "! you were banned from den: lurking"
            assert await bob.wait() == Exit.REFUSED


async def test_passwords_are_asked_for_and_never_shown(
    server: ServerProcess,
    open_terminal: Callable[..., Terminal],  # noqa: F811
) -> None:
    ann = open_terminal(f"chat {server.ws} --user ann")
    await ann.shows("general (1) ann>")
    ann.type("/register")
    await ann.shows("new password (8 bytes or more):")
    ann.type("horse")
    await ann.shows("! nothing was changed: the password is 5 bytes long: expected 8 to 1024")
    ann.type("/register")
    await ann.shows("new password (8 bytes or more):")
    ann.type("correct horse")
    await ann.shows("the same again:")
    ann.type("correct horse")
    await ann.shows("* ann is your account now")
    await ann.shows("general (1) ann>")
    ann.type("", "Up")
    await ann.shows("ann> /register")
    ann.type("", "C-u")
    ann.type("/quit")
    await ann.shows("exit code 0")
    again = open_terminal(f"chat {server.ws} --user ann")
    await again.shows("general (1) ann>")
    other = open_terminal(f"chat {server.tcp} --user ann")
    await other.shows("password of ann:")
    other.type("wrong")
    await other.shows("wrong name or password")
    other.type("correct horse")
    await other.shows("general (1) ann>")
    other.type("/sessions")
    await other.shows("this one")
    other.type("/revoke others")
    await again.shows("logged out")
    other.type("/logout")
    assert "* you are logged out here\nexit code 0" in await other.shows("exit code")
    assert other.screen().count("logged out here") == 1
    assert "not done" not in other.screen()
    for terminal in (ann, again, other):
        assert "horse" not in terminal.screen("-S", "-")


async def test_a_password_typed_ahead_is_never_said(
    server: ServerProcess,
    open_terminal: Callable[..., Terminal],  # noqa: F811
    tmp_path: Path,
) -> None:
    password = tmp_path / "password"
    password.write_text("correct horse\n")
    ann = open_terminal(f"chat {server.ws} --user ann --register --password-file {password}")
    await ann.shows("general (1) ann>")
    server.process.process.terminate()
    await ann.shows("trying to come back")
    await server.process.wait()
    ann.type("one")
    await ann.shows("not sent yet")
    ann.type("/password")
    await ann.shows("not done yet")
    ann.type("some other horse")
    ann.type("two")
    async with serving(tmp_path, listen=(server.ws, server.tcp)):
        await ann.shows("! nothing was changed: the password is 3 bytes long")
        screen = await ann.shows("ann: one")
        assert "ann: some" not in screen
        ann.type("/password")
        await ann.shows("present password:")
        ann.type("", "C-d")
        await ann.shows("exit code 0")


async def test_a_login_remembered_from_another_server_bars_nobody(
    server: ServerProcess,
    open_terminal: Callable[..., Terminal],  # noqa: F811
) -> None:
    login = RememberedLogin(server.ws, "ann")
    login.remember("chatkit_t_of-a-store-that-is-no-more")
    login.close()
    ann = open_terminal(f"chat {server.ws} --user ann")
    await ann.shows("general (1) ann>")
    assert "chatkit: the login remembered for 'ann' is not good here any more" in ann.screen()


async def test_a_guest_leaves_the_login_of_another_server_alone(
    open_terminal: Callable[..., Terminal],  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    password, elsewhere = tmp_path / "password", tmp_path / "elsewhere"
    password.write_text("correct horse\n")
    elsewhere.mkdir()
    async with serving(tmp_path) as server:
        registering = ("--register", "--password-file", str(password))
        assert (await run("chat", server.ws, "-u", "ann", *registering, said="one\n")).returncode == 0
    async with serving(elsewhere, listen=(server.ws, server.tcp)):
        ann = open_terminal(f"chat {server.ws} --user ann")
        await ann.shows("general (1) ann>")
        ann.type("/whoami")
        await ann.shows("* you are ann, a guest")
        ann.type("/quit")
        await ann.shows("exit code 0")
    async with serving(tmp_path, listen=(server.ws, server.tcp)):
        assert (await run("chat", server.ws, "-u", "ann", said="two\n")).returncode == 0


async def test_ctrl_c_at_a_password_leaves_a_line_of_its_own(
    server: ServerProcess,
    open_terminal: Callable[..., Terminal],  # noqa: F811
) -> None:
    async with library.connect(server.ws, user="ann", password="correct horse", register=True):
        pass
    ann = open_terminal(f"chat {server.ws} --user ann")
    await ann.shows("password of ann:")
    ann.type("", "C-c")
    assert f"\nexit code {Exit.INTERRUPTED:d}" in await ann.shows("exit code")
