"""Canaries: passwords, tokens and invitations are in no log at DEBUG, no traceback, no command line and no database."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from at_work import CHATKIT, run, running

import chatkit
from chatkit.protocol import accounts as acc

OLD, NEW, WRONG = "canary-password-old-71", "canary-password-new-72", "canary-password-wrong-73"


async def test_no_secret_of_an_account_is_kept_or_logged(tmp_path: Path) -> None:
    seen: list[str] = []
    secrets = [OLD, NEW, WRONG]

    async def operate(*words: str, said: str = "") -> str:
        ended = await run("user", *words, said=said, folder=tmp_path)
        assert ended.returncode == 0, ended.stderr
        seen.append(ended.stderr)
        secret = ended.stdout.strip()
        secrets.append(secret)
        return secret

    made_up = await operate("add", "ann", "--role", "admin", "--generate")
    code = await operate("invite")
    token = await operate("tokens", "ann", "--create", "home")
    command = (*CHATKIT, "serve", "--listen", "tcp://127.0.0.1:0", "--log-level", "debug", "--log-file", "log.jsonl")
    async with running(*command, folder=tmp_path, stderr=subprocess.STDOUT) as server:
        url = (await server.until("listening on")).partition("listening on ")[2].split()[0]

        def log_in(**login: Any) -> Any:
            return chatkit.connect(url, reconnect=False, **login)

        async with log_in(user="ann", password=made_up) as ann, log_in(user="ann", token=token) as robot:
            made = await ann.request(acc.CreateToken(label="x"))
            secrets += [ann.token, made.token]
            for text in map(repr, (made, ann, robot, acc.Register(user="x", password=OLD, invitation=code))):
                seen.append(text)
        async with log_in(user="bob", password=OLD, register=True, invitation=code) as bob:
            secrets.append(bob.token)
            await bob.change_password(OLD, NEW)
            with pytest.raises(chatkit.RequestFailed) as failed:
                await bob.change_password(WRONG, NEW)
            seen.append(str(failed.value))
        for login in ({"password": WRONG}, {"token": f"{token[:-4]}0000"}, {"token": f"chatkit_s_{WRONG}"}):
            with pytest.raises(chatkit.RequestFailed) as failed:
                async with log_in(user="bob", **login):
                    pass
            seen.append(str(failed.value))
        seen.append(command_line(server.process.pid))
        server.process.terminate()
        with pytest.raises(EOFError):
            while True:
                seen.append(await server.line())
    kept = everything_in(tmp_path)
    assert b"login_refused" in kept
    assert b"$argon2id$" in kept
    assert len(set(secrets)) == 9
    for secret in secrets:
        assert secret.encode() not in kept
        assert secret not in "\n".join(seen)


def command_line(pid: int) -> str:
    """Return what anybody on this machine can read of a process, where there is such a thing."""
    shown = Path(f"/proc/{pid}/cmdline")
    return str(shown.read_bytes()) if shown.exists() else ""


def everything_in(folder: Path) -> bytes:
    """Return all that is kept there: the database, its log, the server's log."""
    return b"\n".join(path.read_bytes() for path in folder.iterdir())
