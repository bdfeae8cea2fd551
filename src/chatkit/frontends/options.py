"""Options that several commands share, with their help."""

from __future__ import annotations

import getpass
from typing import Annotated, TypeAlias

from chatkit.client.client import DEFAULT_URL
from chatkit.errors import MissingExtra
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

__all__ = ["DEFAULT_ROOM", "DEFAULT_URL", "History", "Json", "Parameter", "Room", "Url", "User", "user_or_login"]


def user_or_login(user: str | None) -> str:
    """Return the name to log in with."""
    return user or getpass.getuser()
