"""Options that several commands share, with their help."""

from __future__ import annotations

import getpass
import ssl
from pathlib import Path
from typing import Annotated, TypeAlias

from chatkit.client.connecting import DEFAULT_URL
from chatkit.errors import MissingExtra, UsageError
from chatkit.frontends.commands import DEFAULT_ROOM

try:
    from cyclopts import Parameter, validators
except ImportError as error:
    raise MissingExtra("the command line", "cli") from error

Url: TypeAlias = Annotated[str, Parameter(help="The server: ws://, wss://, tcp:// or tls:// with host and port.")]
User: TypeAlias = Annotated[
    str | None, Parameter(name=["--user", "-u"], show_default=False, help="Your name there; without it, your login's.")
]
Room: TypeAlias = Annotated[str, Parameter(name=["--room", "-r"], help="The room.")]
History: TypeAlias = Annotated[
    int,
    Parameter(
        name=["--history", "-n"],
        validator=validators.Number(gte=0, lte=1000),
        help="How many earlier messages to show, up to 1,000.",
    ),
]
Json: TypeAlias = Annotated[
    bool, Parameter(name="--json", negative="", help="Print one JSON object per line instead of text for people.")
]

Ca: TypeAlias = Annotated[
    Path | None,
    Parameter(
        name="--ca",
        show_default=False,
        help="A PEM file with the authority that signed the server's certificate; without it, the system's.",
    ),
]

__all__ = [
    "DEFAULT_ROOM",
    "DEFAULT_URL",
    "Ca",
    "History",
    "Json",
    "Parameter",
    "Room",
    "Url",
    "User",
    "trusting",
    "user_or_login",
    "validators",
]


def trusting(ca: Path | None) -> ssl.SSLContext | None:
    """Return the TLS context that trusts an authority alone; None for the system's. Raises `UsageError`."""
    if ca is None:
        return None
    try:
        return ssl.create_default_context(cafile=ca)
    except ssl.SSLError as error:
        raise UsageError(f"--ca {str(ca)!r} holds no certificate in PEM format") from error
    except OSError as error:
        raise UsageError(f"--ca {str(ca)!r} cannot be read: {error.strerror}") from error


def user_or_login(user: str | None) -> str:
    """Return the name to log in with."""
    return user or getpass.getuser()
