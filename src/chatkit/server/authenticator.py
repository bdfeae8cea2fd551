"""Who says who somebody is, besides this server: another system's tokens, a directory, a single sign-on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from chatkit.engine.login import Identity
from chatkit.errors import ChatError, RequestFailed
from chatkit.protocol.codes import ErrorCode
from chatkit.protocol.messages import Login
from chatkit.server.logbook import Logbook

Authenticator: TypeAlias = Callable[[Login, str | None], Awaitable[Identity | None]]
"""Looks at a login and the IP address it comes from. Returns whom it vouches for; None lets the usual ways decide;
raises `RequestFailed` to refuse it."""
log = Logbook("chatkit.server.login")


async def authenticate(authenticator: Authenticator | None, login: Login, address: str | None) -> Identity | None:
    """Ask a program's authenticator. Raises `RequestFailed`: its own, or ``internal_error`` if it fails otherwise."""
    if authenticator is None:
        return None
    try:
        return await authenticator(login, address)
    except ChatError:
        raise
    except Exception as error:
        log.exception("the authenticator failed", event="authenticator_failed")
        raise RequestFailed(ErrorCode.INTERNAL_ERROR, "the server failed in this request") from error
