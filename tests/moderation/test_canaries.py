"""Canaries: no password, token or invitation shows in what is logged, raised, kept, or told to operators."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from places import place

from chatkit.backend.accounts import RECORDS
from chatkit.backend.records import Invitation
from chatkit.engine import decisions
from chatkit.engine.limits import EngineLimits
from chatkit.engine.login import Entry
from chatkit.engine.secrets import digest_of
from chatkit.errors import StorageUnavailable
from chatkit.protocol import accounts as acc
from chatkit.protocol.messages import Login, Request
from chatkit.protocol.vocabulary import STANDARD
from chatkit.server import Extension, RequestContext, ServerConfig

FIRST, SECOND, WRONG, CODE = "canary-first-4411", "canary-second-4412", "canary-wrong-4413", "canary-code-4414"
OPERATOR = "canary-operator-4415"
SECRET_FIELDS = {"password", "new_password", "token", "secret", "invitation", "hash"}


IDS: dict[type[Any], set[str]] = {Entry: {"token"}}
"""What is called like a secret and is an id."""


def with_secrets() -> list[type[Any]]:
    """Every class of messages, decisions and records that has a secret field."""
    classes: list[type[Any]] = [*STANDARD.requests.values(), *(one.reply for one in STANDARD.requests.values())]
    classes += [*RECORDS, Entry, decisions.Verify, decisions.Hash]
    return [
        one
        for one in dict.fromkeys(classes)
        if attrs.has(one) and SECRET_FIELDS & {field.name for field in attrs.fields(one)}
    ]


@pytest.mark.parametrize("kind", with_secrets(), ids=lambda one: one.__name__)
def test_what_has_a_secret_does_not_show_it(kind: type[Any]) -> None:
    values = {
        field.name: f"canary {field.name}" if field.name in SECRET_FIELDS - IDS.get(kind, set()) else "x"
        for field in attrs.fields(kind)
        if field.init
    }
    assert "canary" not in repr(kind(**{name.lstrip("_"): value for name, value in values.items()}))


def test_there_are_such_classes() -> None:
    assert {Login, acc.Register, acc.ChangePassword, acc.ApiToken, decisions.Verify, Entry} <= set(with_secrets())


class Careless(Exception):
    """An error of a program that says all it knows."""


def careless() -> Extension:
    extension = Extension()

    @extension.before(Login, acc.Register, acc.ChangePassword)
    async def look(context: RequestContext, request: Request[Any]) -> Request[Any]:
        if getattr(request, "user", "") == "hooked":
            raise Careless(f"cannot serve {request!r}")
        return request

    return extension


async def vouch(login: Login, address: str | None) -> None:
    if login.user == "vouched":
        raise Careless(f"cannot vouch for {login!r} from {address}")


@pytest.mark.parametrize("broken", [False, True], ids=["well", "with a broken store"])
async def test_no_secret_shows_anywhere(broken: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secrets, shown = [FIRST, SECOND, WRONG, CODE, OPERATOR], []
    config = ServerConfig(rate_limits=False, operator_token=OPERATOR, garbage=1000)
    limits = EngineLimits(registration="invitation")
    url = f"sqlite:///{tmp_path / 'chat.db'}"
    async with place(url, config=config, limits=limits, extensions=[careless()], authenticator=vouch) as here:
        await here.put(Invitation(id="i1", digest=digest_of(CODE), by="#operator", uses=5))
        shown.append(repr(here.site.server.config))
        ann = await here.site.wire("ws")
        registering = {"user": "ann", "password": FIRST, "invitation": CODE}
        secrets.append((await ann.data("register", **registering))["token"])
        secrets.append((await ann.data("create_token", label="x"))["token"])
        await ann.data("change_password", password=FIRST, new_password=SECOND)
        if broken:
            here.store.before_commit = _fail
        for login in (
            {"user": "ann", "password": SECOND},
            {"user": "ann", "password": WRONG},
            {"user": "ann", "token": secrets[-2]},
            {"user": "ann", "token": f"chatkit_s_{WRONG}"},
            {"user": "hooked", "password": WRONG},
            {"user": "vouched", "password": WRONG, "token": WRONG},
            {"user": "gus", "token": WRONG * 2},
            {"user": "gus", "password": [WRONG]},
        ):
            wire = await here.site.wire("tcp")
            reply = await wire.ask("login", **login)
            shown.append(str(reply["data"]) if reply["action"] == "error" else "")
            secrets += [reply["data"]["token"]] if reply["action"] == "success" else []
        for action, data in (
            ("register", {"user": "bob", "password": WRONG, "invitation": WRONG}),
            ("register", {"user": "bob", "password": WRONG, "invitation": CODE}),
            ("register", {"user": "hooked", "password": WRONG, "invitation": CODE}),
        ):
            reply = await (await here.site.wire()).ask(action, **data)
            shown.append(str(reply["data"]) if reply["action"] == "error" else "")
            secrets += [reply["data"]["token"]] if reply["action"] == "success" else []
        here.store.before_commit = None
        for path in ("/metrics", "/connections", "/healthz"):
            answer = await get(here.site.url("ws"), path)
            # A server whose last commit failed says so.
            assert answer.split()[1] == (b"503" if broken and path == "/healthz" else b"200"), answer
            shown.append(answer.decode())
        core = here.site.server._core
        for thing in (core.engine.world.accounts, core.engine.world.tokens, core.engine.world.invitations):
            shown.append(repr(thing))
        shown += [repr(session) for session in core.sessions.values()]
        shown.append(repr(await here.store.directory.snapshot()))
        kept = everything_in(tmp_path)
    kept += everything_in(tmp_path)
    formatter = logging.Formatter("%(message)s")
    for record in caplog.records:
        shown.append(formatter.format(record) + str(record.__dict__))
        if record.exc_info is not None and record.exc_info[1] is not None:
            shown.append("".join(traceback.format_exception(record.exc_info[1])))
    said = "\n".join(shown)
    assert "Careless" in said
    assert len(set(secrets)) == len(secrets) > 6
    for secret in secrets:
        assert secret not in said
        assert secret.encode() not in kept


def everything_in(folder: Path) -> bytes:
    """Return all that is kept there: the database and its log."""
    return b"".join(path.read_bytes() for path in folder.iterdir())


async def _fail(changes: Any) -> None:
    raise StorageUnavailable("disk full")


async def get(url: str, path: str) -> bytes:
    """Ask for a page as the operator."""
    port = int(url.rpartition(":")[2].partition("/")[0])
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        lines = (f"GET {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close", f"Authorization: Bearer {OPERATOR}")
        await stream.send_all("\r\n".join((*lines, "", "")).encode())
        answer = b""
        with trio.fail_after(5):
            while data := await stream.receive_some():
                answer += data
    return answer
