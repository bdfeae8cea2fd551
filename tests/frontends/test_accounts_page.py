"""The page about accounts can be followed: from nothing to an admin, two moderators, a private room and a ban."""

from __future__ import annotations

import re
from pathlib import Path

import trio
from at_work import run, serving

import chatkit
from chatkit.frontends.user import COMMANDS

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "accounts.md").read_text()
PASSWORD = "correct horse battery"


def typed(section: str) -> str:
    """Return what the page has somebody type into their chat, in a step."""
    return PAGE.partition(section)[2].partition("```text\n")[2].partition("```")[0]


def command(beginning: str) -> list[str]:
    """Return the words of a command of the page."""
    (line,) = set(re.findall(rf"^chatkit ({beginning}.*)$", PAGE, re.MULTILINE))
    return str(line).split()


async def test_the_steps(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(PASSWORD)
    secret = ("--password-file", "password")
    assert (await run(*command("user add ann"), *secret, folder=tmp_path)).returncode == 0
    name, *settings = command("serve")
    assert name == "serve"
    async with serving(tmp_path, *settings, listen=["ws://127.0.0.1:0", "tcp://127.0.0.1:0"]) as server:
        invited = await run(*command("user invite"), folder=tmp_path)
        for person in ("bob", "cy"):
            words = [word.replace("chatkit_i_…", invited.stdout.strip()) for word in command(f"chat --user {person}")]
            with trio.fail_after(20):  # a server hears within a second of what another process did
                while (await run(words[0], server.tcp, *words[1:], "--no-store", *secret, folder=tmp_path)).returncode:
                    await trio.lowlevel.checkpoint()
        async with chatkit.connect(server.ws, user="troll", reconnect=False) as troll:
            chat = ("chat", server.tcp, "--no-store", *secret)
            ann = await run(*chat, "--user", "ann", said=typed("**4."), folder=tmp_path)
            assert (ann.returncode, ann.stderr) == (0, "")
            assert set(troll.rooms) == {"general"}
            bob = await run(*chat, "--user", "bob", said=typed("**5.") + "/join den\n", folder=tmp_path)
            assert bob.returncode == 0, bob.stderr
            assert "in den" in bob.stdout
            assert not troll.rooms
        cy = await run(*chat, "--user", "cy", said="/bans\n/join den\n", folder=tmp_path)
        assert "troll is banned" in cy.stdout
        assert "there is no room 'den'" in cy.stdout + cy.stderr
    audited = (await run("user", "audit", "--json", folder=tmp_path)).stdout
    assert [audited.count(f'"{act}"') for act in ("set_role", "invite", "mute", "ban")] == [2, 1, 1, 1]


def test_every_command_of_the_page_exists() -> None:
    for name in re.findall(r"chatkit user ([a-z]+)", PAGE):
        assert name in COMMANDS
    for name in set(COMMANDS) - {"enable"}:
        assert f"| `chatkit user {name}" in PAGE
