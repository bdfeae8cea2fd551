"""``chatkit user``: accounts on the store itself, before a server runs on it and while one does."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import trio
from at_work import CHATKIT, PATIENCE, ServerProcess, run, running, serving

import chatkit
from chatkit.errors import RequestFailed
from chatkit.frontends import user
from chatkit.frontends.exits import Exit
from chatkit.frontends.launch import guarded
from chatkit.server.acts import add_account, create_token, set_server_role
from chatkit.server.operator import open_operator

PASSWORD = "correct horse battery"
SOON = 2.0
"""Seconds within which a server takes a change in that was made beside it, twice what is promised."""

# Whoever runs in the background of a shell has Ctrl-C ignored, and so has everything started from there.
HEED = "signal.signal(signal.SIGINT, signal.default_int_handler)"
SPAWN = f"import os, pty, signal, sys; {HEED}; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
IN_A_TERMINAL = (sys.executable, "-c", SPAWN)
"""Runs what follows in a terminal of its own."""


class Desk:
    """Runs ``chatkit user …`` within this process, on a store of its own."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        self.err = ""

    def __call__(self, *words: str, code: int = 0) -> str:
        """Return what it says on standard output; what it says on the other is `err`."""
        ended = guarded(lambda: user.run(words))
        out, self.err = self._capsys.readouterr()
        assert ended == code, (out, self.err)
        return out

    def json(self, *words: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self(*words, "--json").splitlines()]

    def refused(self, *words: str, code: int = Exit.REFUSED) -> str:
        """Return the one sentence that says why not."""
        assert self(*words, code=code) == ""
        assert self.err.count("\n") == 1
        assert self.err.startswith("chatkit: ")
        return self.err


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Desk]:
    monkeypatch.chdir(tmp_path)
    with open(os.devnull) as nobody:
        monkeypatch.setattr(sys, "stdin", nobody)
        yield Desk(tmp_path, capsys)


def secret_file(folder: Path, text: str | bytes = PASSWORD) -> str:
    path = folder / "password"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


# ── help ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_help_names_every_command(desk: Desk) -> None:
    helped = desk("--help")
    for name in user.COMMANDS:
        assert f"\n  {name} " in helped
    assert desk(code=Exit.USAGE) == helped


@pytest.mark.parametrize("name", user.COMMANDS)
def test_every_command_explains_itself_by_examples(desk: Desk, name: str) -> None:
    helped = desk(name, "--help")
    assert helped.startswith(f"Usage: chatkit user {name}")
    assert f"chatkit user {name}" in helped.partition("\n")[2]
    assert "--store" in helped


def test_a_command_there_is_not(desk: Desk) -> None:
    assert "no command 'lst'; did you mean 'list'?" in desk.refused("lst", code=Exit.USAGE)
    assert "there is list, show, add," in desk.refused("frobnicate", code=Exit.USAGE)


# ── accounts ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_admin_is_made_on_a_store_that_was_not_there(desk: Desk) -> None:
    assert desk("add", "Ann", "--role", "admin", "--no-password") == "account 'Ann' added: admin\n"
    assert desk.err == "chatkit: the store sqlite:///chat.db is new\n"
    assert desk("add", "bob", "--no-password") == "account 'bob' added: member\n"
    assert desk.err == ""
    ann, bob = desk.json("list")
    assert (ann["user"], ann["role"], ann["password"], ann["logins"], ann["rooms"]) == ("Ann", "admin", False, 0, {})
    assert (bob["user"], bob["role"]) == ("bob", "member")
    assert re.search(r"^Ann +admin +good +0 +0 +never +20\d\d-", desk("list"), re.MULTILINE)
    assert desk.json("show", "ANN") == [ann]
    assert "by token only" in desk("show", "ann")


def test_every_act_is_in_the_audit_log(desk: Desk) -> None:
    desk("add", "ann", "--role", "admin", "--no-password")
    desk("role", "ann", "member")
    assert "no account is admin now: chatkit user role NAME admin" in desk.err
    desk("role", "ann", "member")  # it is so already
    desk("disable", "ann")
    desk("disable", "ann")
    desk("enable", "ann")
    desk("enable", "ann")
    desk("passwd", "ann", "--no-password")
    secret = desk("tokens", "ann", "--create", "home", "--role", "bot").strip()
    (token,) = desk.json("tokens", "ann")
    desk("tokens", "ann", "--revoke", token["id"][:6])
    code = desk("invite").strip()
    (invitation,) = desk.json("invitations")
    desk("invitations", "--withdraw", invitation["id"])
    desk("remove", "ann", "--yes")
    entries = desk.json("audit")
    assert [(entry["act"], entry["whom"]) for entry in reversed(entries)] == [
        ("add_account", "ann"),
        ("set_server_role", "ann"),
        ("disable_account", "ann"),
        ("enable_account", "ann"),
        ("reset_password", "ann"),
        ("create_token", "ann"),
        ("revoke_token", "ann"),
        ("create_invitation", ""),
        ("withdraw_invitation", ""),
        ("remove_account", "ann"),
    ]
    assert {entry["by"] for entry in entries} == {"(operator)"}
    assert entries[-2]["details"] == {"role": "member", "was": "admin"}
    assert [entry["seq"] for entry in desk.json("audit", "-n", "2")] == [10, 9]
    shown = desk("audit")
    assert secret not in shown
    assert code not in shown
    assert desk.json("list") == []


NO_NAMES = (
    ("ann", Exit.REFUSED, "the name 'ann' is taken"),
    ("ANN", Exit.REFUSED, "the name 'ANN' is taken"),
    ("\u0430nn", Exit.REFUSED, "looks like one that is taken"),
    ("a nn", Exit.USAGE, "may not contain a space"),
    ("@ann", Exit.USAGE, "may not begin with '@'"),
    ("", Exit.USAGE, "is empty"),
    ("x" * 33, Exit.USAGE, "longer than 32"),
)


def test_names_that_cannot_be_added(desk: Desk) -> None:
    desk("add", "ann", "--no-password")
    for name, code, sentence in NO_NAMES:
        assert sentence in desk.refused("add", name, "--no-password", code=code)
    assert len(desk.json("list")) == 1


ABOUT_SOMEBODY = (
    ["show"],
    ["passwd", "--generate"],
    ["role", "admin"],
    ["disable"],
    ["enable"],
    ["remove", "--yes"],
    ["tokens"],
    ["tokens", "--create", "x"],
    ["tokens", "--revoke", "x"],
)


def test_an_account_there_is_not_with_the_nearest_name(desk: Desk) -> None:
    desk("add", "Ann", "--no-password")
    for command, *rest in ABOUT_SOMEBODY:
        assert "no account 'an'; did you mean 'Ann'?" in desk.refused(command, "an", *rest)
        assert "no account 'zz zz' (" in desk.refused(command, "zz zz", *rest)
    desk("remove", "ann", "--yes")
    assert "no account 'an'; there is none at all" in desk.refused("disable", "an")


WRONGLY = (
    (["add", "bob", "--role", "owner", "--no-password"], "there is no role 'owner': admin, member or bot"),
    (["add", "bob", "--role", "guest", "--no-password"], "there is no role 'guest'"),
    (["role", "ann", "king"], "there is no role 'king'"),
    (["add", "bob", "--password", "secret"], "Unknown option"),
    (["add", "bob", "--generate", "--no-password"], "one of them is enough"),
    (["add", "bob"], "no terminal to ask for a password at: --password-file FILE, or --generate"),
    (["passwd", "ann"], "no terminal to ask"),
    (["remove", "ann"], "say --yes"),
    (["add", "bob", "--password-file", "missing"], "'missing' cannot be read: No such file"),
    (["tokens", "ann", "--role", "bot"], "belong to --create"),
    (["tokens", "ann", "--create", "x", "--revoke", "y"], "one after the other"),
    (["tokens", "ann", "--create", "x", "--days", "0"], "days: expected 1 to 36,500, not 0"),
    (["tokens", "ann", "--create", "x" * 129], "at most 128 bytes"),
    (["invite", "--uses", "0"], "uses: expected 1 to"),
    (["invite", "--days", "99999"], "days: expected"),
    (["audit", "-n", "0"], "0"),
    (["list", "--store", "memory://"], "within a server's own process"),
    (["list", "--store", "chat.db"], "is not a URL"),
)


def test_calling_it_wrongly_is_one_sentence(desk: Desk) -> None:
    desk("add", "ann", "--no-password")
    for words, sentence in WRONGLY:
        assert sentence in desk.refused(*words, code=Exit.USAGE)
    assert len(desk.json("audit")) == 1


# ── passwords ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_password_from_a_file(desk: Desk) -> None:
    for name, text in (("ann", PASSWORD), ("bob", PASSWORD + "\n"), ("cy", PASSWORD + "\r\n")):
        desk("add", name, "--password-file", secret_file(desk.folder, text))
    assert [person["password"] for person in desk.json("list")] == [True] * 3


def test_what_is_no_password(desk: Desk) -> None:
    for text, sentence in (
        ("short", "is 5 bytes long: expected 8 to 1024"),
        ("", "is empty"),
        ("x" * 2000, "2000"),
        ("two\nlines of it", "a character that passwords cannot have"),
        (b"\xff\xfe no text", "no UTF-8 text"),
    ):
        file = secret_file(desk.folder, text)
        assert sentence in desk.refused("add", "ann", "--password-file", file, code=Exit.USAGE)


def test_a_password_that_is_made_up_is_printed_once_and_kept_nowhere(desk: Desk) -> None:
    password = desk("add", "ann", "--generate")
    assert re.fullmatch(r"([a-z2-9]{5}-){3}[a-z2-9]{5}\n", password)
    assert "shown this once" in desk.err
    (record,) = desk.json("passwd", "ann", "--generate")
    assert record["user"] == "ann"
    assert record["password"] != password.strip()
    everything = b"".join(path.read_bytes() for path in desk.folder.iterdir())
    assert b"$argon2id$v=19$m=19456,t=2,p=1$" in everything
    for secret in (password.strip(), record["password"]):
        assert secret.encode() not in everything


def test_another_password_takes_the_tokens_too_unless_they_are_kept(desk: Desk) -> None:
    desk("add", "ann", "--no-password")
    said = "'ann' has another password and is logged out everywhere"
    assert f"{said}, shown this once:" in err_of(desk, "--generate")
    for label in ("home", "work"):
        desk("tokens", "ann", "--create", label)
    assert f"{said}; 2 programs' tokens stay good, shown" in err_of(desk, "--generate", "--keep-tokens")
    assert len(desk.json("tokens", "ann")) == 2
    assert f"{said}; 2 programs' tokens are worth nothing any more, shown" in err_of(desk, "--generate")
    assert desk.json("tokens", "ann") == []
    desk("tokens", "ann", "--create", "home")
    assert "everywhere; a program's token is worth nothing any more\n" in desk("passwd", "ann", "--no-password")
    assert "--keep-tokens" in desk("passwd", "--help")


def err_of(desk: Desk, *options: str) -> str:
    desk("passwd", "ann", *options)
    return str(desk.err)


async def test_a_password_is_asked_for_twice_and_not_shown(tmp_path: Path) -> None:
    command = (*CHATKIT, "user", "add", "ann")
    async with running(*IN_A_TERMINAL, *command, folder=tmp_path) as asking:
        said = b""

        async def answer(question: bytes, text: str) -> None:
            nonlocal said
            assert asking.process.stdout is not None
            with trio.fail_after(PATIENCE):
                while question not in said.rpartition(b"\n")[2]:
                    said += await asking.process.stdout.receive_some()
            said += b"\n"
            await asking.type(text)

        await answer(b"New password: ", "short")
        await answer(b"New password: ", PASSWORD)
        await answer(b"The same again: ", "something else")
        await answer(b"New password: ", PASSWORD)
        await answer(b"The same again: ", PASSWORD)
        await asking.until("account 'ann' added")
        assert await asking.wait() == 0
    assert b"the password is 5 bytes long: expected 8 to 1024" in said
    assert b"They are not the same." in said
    assert PASSWORD.encode() not in said
    assert b"something else" not in said


async def test_whoever_thinks_better_of_it_leaves_no_store(tmp_path: Path) -> None:
    async with running(*IN_A_TERMINAL, *CHATKIT, "user", "add", "ann", folder=tmp_path) as asking:
        assert asking.process.stdout is not None
        with trio.fail_after(PATIENCE):
            while b"New password: " not in asking.buffer:
                asking.buffer += await asking.process.stdout.receive_some()
        await asking.process.stdin.send_all(b"\x03")  # type: ignore[union-attr]
        assert await asking.wait() == Exit.INTERRUPTED
    assert os.listdir(tmp_path) == []


def test_what_is_refused_leaves_no_store(desk: Desk) -> None:
    assert "there is no terminal to ask" in desk.refused("add", "ann", code=Exit.USAGE)
    desk.refused("add", "a\tb", "--no-password", code=Exit.USAGE)
    desk.refused("invite", "--uses", "0", code=Exit.USAGE)
    assert list(desk.folder.iterdir()) == []


# ── tokens and invitations ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_token_is_alone_on_its_line(desk: Desk) -> None:
    desk("add", "robot", "--role", "bot", "--no-password")
    secret = desk("tokens", "robot", "--create", "home", "--days", "90")
    assert re.fullmatch(r"chatkit_t_[0-9a-f]{64}\n", secret)
    assert re.fullmatch(
        r"token [0-9a-f]{8} for 'robot' \(bot, until 20\d\d-\d\d-\d\d \d\d:\d\d\), shown this once:\n", desk.err
    )
    (made,) = desk.json("tokens", "robot", "--create", "away")
    assert made["token"].startswith("chatkit_t_")
    assert (made["label"], made["role"], made["expires"]) == ("away", "bot", None)
    assert {one["label"] for one in desk.json("tokens", "robot")} == {"home", "away"}
    assert re.search(r"^[0-9a-f]{8} +token +home +bot ", desk("tokens", "robot"), re.MULTILINE)
    everything = b"".join(path.read_bytes() for path in desk.folder.iterdir())
    assert secret.strip().encode() not in everything
    assert made["token"].encode() not in everything


def test_a_token_allows_no_more_than_its_account(desk: Desk) -> None:
    desk("add", "robot", "--role", "bot", "--no-password")
    said = desk.refused("tokens", "robot", "--create", "x", "--role", "admin")
    assert "a token allows no more than its account: chatkit user role robot admin" in said


def test_what_is_named_by_its_id(desk: Desk) -> None:
    desk("add", "robot", "--no-password")
    for label in "abcdefghijklmnopq":
        desk("tokens", "robot", "--create", label)
    ids = [one["id"] for one in desk.json("tokens", "robot")]
    twice = next(id[0] for id in ids if sum(other[0] == id[0] for other in ids) > 1)
    assert f"ids begin with '{twice}'" in desk.refused("tokens", "robot", "--revoke", twice)
    assert "robot has no login or token 'nonsense'" in desk.refused("tokens", "robot", "--revoke", "nonsense")
    assert "robot has no login or token ''" in desk.refused("tokens", "robot", "--revoke", "")
    desk("tokens", "robot", "--revoke", ids[0])
    assert ids[0] not in [one["id"] for one in desk.json("tokens", "robot")]


def test_invitations(desk: Desk) -> None:
    code = desk("invite", "--uses", "30", "--days", "2", "--role", "admin")
    assert re.fullmatch(r"chatkit_i_[0-9a-f]{64}\n", code)
    assert "for 30 people as admin, until" in desk.err
    (record,) = desk.json("invite")
    assert record["invitation"].startswith("chatkit_i_")
    assert [(one["role"], one["uses"]) for one in desk.json("invitations")] in (
        [("member", 1), ("admin", 30)],
        [("admin", 30), ("member", 1)],
    )
    assert re.search(r"^[0-9a-f]{8} +admin +30 ", desk("invitations"), re.MULTILINE)
    assert "there is no invitation 'nonsense'" in desk.refused("invitations", "--withdraw", "nonsense")


# ── the store ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_store_that_is_not_there_is_not_made_by_looking(desk: Desk) -> None:
    for words in (["list"], ["disable", "ann"], ["tokens", "ann"], ["audit"], ["invitations"]):
        assert "there is no store sqlite:///chat.db: chatkit serve makes one" in desk.refused(*words, code=Exit.STORE)
    assert list(desk.folder.iterdir()) == []


def test_the_store_is_the_one_that_the_server_uses(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    (desk.folder / "server.toml").write_text('store = "sqlite:///toml.db"\n')
    desk("add", "ann", "--no-password", "--store", "sqlite:///flag.db")
    desk("add", "bob", "--no-password", "--config", "server.toml")
    monkeypatch.setenv("CHATKIT_STORE", "sqlite:///env.db")
    desk("add", "cy", "--no-password")
    assert {path.name for path in desk.folder.glob("*.db")} == {"flag.db", "toml.db", "env.db"}


def test_a_store_it_cannot_use(desk: Desk) -> None:
    desk("add", "ann", "--no-password")
    with closing(sqlite3.connect(desk.folder / "chat.db")) as connection:
        connection.execute("PRAGMA user_version = 99")
    assert "a newer chatkit wrote it (version 99" in desk.refused("list", code=Exit.STORE)
    (desk.folder / "notes.db").write_text("dear diary, " * 1000)
    said = desk.refused("add", "ann", "--no-password", "--store", "sqlite:///notes.db", code=Exit.STORE)
    assert "cannot open the store" in said


def test_a_store_that_is_locked(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatkit.backend.sqlite_schema.BUSY_TIMEOUT", 0.1)
    desk("add", "ann", "--no-password")
    with closing(sqlite3.connect(desk.folder / "chat.db", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        assert "locked" in desk.refused("disable", "ann", code=Exit.STORE)
    desk("disable", "ann")


async def test_two_operators_at_once(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/chat.db"
    refused: list[str] = []
    async with open_operator(store, make=True) as one, open_operator(store, make=True) as other:
        await other.open()
        await one.do(add_account("ann", "member", None))
        with pytest.raises(RequestFailed, match="no account 'ann'"):
            other.person("ann")
        with pytest.raises(RequestFailed, match="the name 'ANN' is taken"):
            await other.do(add_account("ANN", "member", None))  # it learns of her by the conflict

        async def add(operator: Any, name: str) -> None:
            try:
                await operator.do(add_account(name, "member", None))
            except RequestFailed as error:
                refused.append(error.code)

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(add, one, f"user{number}")
                nursery.start_soon(add, other, f"USER{number}")
        await one.reload()
        assert [person.account.key for person in one.people()] == ["ann", *(f"user{number}" for number in range(5))]
        assert refused == ["name_taken"] * 5


async def test_an_act_that_meets_another_is_worked_out_anew(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/chat.db"
    async with open_operator(store, make=True) as one, open_operator(store, make=True) as other:
        await one.do(add_account("ann", "admin", None))
        await other.reload()
        await one.do(set_server_role("ann", "bot"))
        with pytest.raises(RequestFailed, match="a token allows no more than its account"):
            await other.do(create_token("ann", "secret", "home", role="admin"))


# ── beside a server ──────────────────────────────────────────────────────────────────────────────────────────────────

Command: TypeAlias = Callable[..., Awaitable[str]]
OTHER = "another password"
TRIES = [word for name in ("address", "account", "known") for word in ("--set", f"logins.{name}.burst=1000")]


@asynccontextmanager
async def beside(desk: Desk, *settings: str) -> AsyncIterator[tuple[ServerProcess, Command]]:
    """A server at work on the desk's store, and the command, which gives what it printed."""

    async def command(*words: str) -> str:
        return (await trio.to_thread.run_sync(lambda: desk(*words))).strip()

    async with serving(desk.folder, "--no-rate-limits", *TRIES, *settings) as server:
        yield server, command


async def comes_in(url: str, **login: Any) -> None:
    """Log in, as soon as the server knows of it."""
    with trio.fail_after(SOON):
        while True:
            try:
                async with chatkit.connect(url, reconnect=False, **login):
                    return
            except RequestFailed:
                await trio.sleep(0.05)


async def gone(client: chatkit.Client, reason: str) -> None:
    """Wait until somebody is out, for good."""
    with trio.fail_after(SOON):
        ended = await client.wait_closed()
    assert isinstance(ended, chatkit.Disconnected)
    assert (ended.code, ended.reconnect) == (4403, False)
    assert reason in ended.reason


async def refused(url: str, code: str, **login: Any) -> None:
    """Fail to log in."""
    with pytest.raises(RequestFailed) as failed:
        async with chatkit.connect(url, reconnect=False, **login):
            pass
    assert failed.value.code == code


async def test_accounts_come_and_go_while_a_server_runs(desk: Desk) -> None:
    async with beside(desk) as (server, command):
        await command("add", "ann", "--role", "admin", "--password-file", secret_file(desk.folder))
        await comes_in(server.ws, user="ann", password=PASSWORD)
        await refused(server.ws, "bad_credentials", user="ann")
        await refused(server.ws, "bad_credentials", user="ann", password="wrong password")
        async with (
            chatkit.connect(server.ws, user="Ann", password=PASSWORD, device="phone") as phone,
            chatkit.connect(server.tcp, user="ann", password=PASSWORD, device="laptop") as laptop,
        ):
            assert (phone.user, phone.role) == ("ann", "admin")
            assert '"phone"' in await command("tokens", "ann", "--json")
            await command("passwd", "ann", "--password-file", secret_file(desk.folder, OTHER))
            await gone(phone, "logged out")
            await gone(laptop, "logged out")
            await refused(server.ws, "bad_credentials", user="ann", token=phone.token)
        await refused(server.ws, "bad_credentials", user="ann", password=PASSWORD)
        async with chatkit.connect(server.ws, user="ann", password=OTHER) as ann:
            await command("role", "ann", "member")
            await gone(ann, "logged out")
        async with chatkit.connect(server.ws, user="ann", password=OTHER) as ann:
            assert ann.role == "member"
            await command("role", "ann", "admin")
            await command("disable", "ann")
            await gone(ann, "disabled")
        await refused(server.ws, "forbidden", user="ann", password=OTHER)
        await command("enable", "ann")
        await comes_in(server.ws, user="ann", password=OTHER)
        async with chatkit.connect(server.ws, user="ann", password=OTHER) as ann:
            await command("remove", "ann", "--yes")
            await gone(ann, "the account is gone")
        async with chatkit.connect(server.ws, user="ann") as guest:
            assert guest.role == "guest"


async def test_tokens_and_invitations_while_a_server_runs(desk: Desk) -> None:
    closed = ("--registration", "invitation", "--guests", "no")
    async with beside(desk, *closed) as (server, command):
        await command("add", "robot", "--role", "bot", "--no-password")
        token = await command("tokens", "robot", "--create", "home")
        await comes_in(server.ws, user="robot", token=token)
        code = await command("invite")
        await refused(server.ws, "bad_credentials", user="bob")
        await refused(server.ws, "forbidden", user="bob", password=PASSWORD, register=True)
        await comes_in(server.ws, user="bob", password=PASSWORD, register=True, invitation=code)
        await refused(server.ws, "forbidden", user="cy", password=PASSWORD, register=True, invitation=code)
        async with (
            chatkit.connect(server.ws, user="robot", token=token) as robot,
            chatkit.connect(server.ws, user="bob", password=PASSWORD) as bob,
        ):
            assert (robot.role, bob.role) == ("bot", "member")
            id = json.loads(await command("tokens", "robot", "--json"))["id"]
            await command("tokens", "robot", "--revoke", id)
            await gone(robot, "logged out")
            await bob.rooms["general"].send("still here")
        await refused(server.ws, "bad_credentials", user="robot", token=token)


async def test_a_process_of_its_own_makes_the_first_admin(tmp_path: Path) -> None:
    ended = await run("user", "add", "ann", "--role", "admin", "--password-file", "-", said=PASSWORD, folder=tmp_path)
    assert (ended.returncode, ended.stdout) == (0, "account 'ann' added: admin\n")
    assert ended.stderr == "chatkit: the store sqlite:///chat.db is new\n"
    async with serving(tmp_path) as server, chatkit.connect(server.ws, user="ann", password=PASSWORD) as ann:
        assert ann.role == "admin"
        assert set(ann.rooms) == {"general"}
