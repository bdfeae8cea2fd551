"""Who comes in, and by what: options that say so, and asking for a password without showing it."""

from __future__ import annotations

import getpass
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from attrs import evolve, field, frozen

from chatkit.errors import RequestFailed, UsageError
from chatkit.frontends.commands.words import unfit
from chatkit.frontends.exits import sentence
from chatkit.frontends.options import Parameter, user_or_login

PasswordFile: TypeAlias = Annotated[
    Path | None,
    Parameter(
        name="--password-file",
        show_default=False,
        help="A file that holds your password; without it you are asked, if the name has one.",
    ),
]
TokenFile: TypeAlias = Annotated[
    Path | None,
    Parameter(name="--token-file", show_default=False, help="A file that holds a token made for a program."),
]
Register: TypeAlias = Annotated[
    bool, Parameter(name="--register", negative="", help="Open an account under your name; a password is asked for.")
]
Invitation: TypeAlias = Annotated[
    str | None,
    Parameter(name="--invitation", show_default=False, help="A code to --register with, where the server wants one."),
]
LONGEST_FILE = 65_536
ASKED = 3
"""Times somebody may mistype."""


@frozen(kw_only=True)
class Credentials:
    """Who comes in, and by what."""

    user: str
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    remembered: bool = False
    """Whether the token is one that this machine has remembered."""
    register: bool = False
    invitation: str | None = field(default=None, repr=False)

    @property
    def options(self) -> dict[str, Any]:
        """The options of `chatkit.connect` that say so."""
        return {
            "user": self.user,
            "password": self.password,
            "token": self.token,
            "register": self.register,
            "invitation": self.invitation,
        }


def credentials_of(
    user: str | None,
    password_file: Path | None = None,
    token_file: Path | None = None,
    register: bool = False,
    invitation: str | None = None,
) -> Credentials:
    """Return what the options say, asking for a new account's password. Raises `UsageError`."""
    if password_file is not None and token_file is not None:
        raise UsageError("--password-file or --token-file: one of them is enough")
    register = register or invitation is not None
    if register and token_file is not None:
        raise UsageError("a new account has no token yet: --register goes with --password-file, or by itself")
    password = None if password_file is None else _secret_in(password_file, "password")
    name = user_or_login(user)
    if register and password is None:
        password = _asked_twice(name)
    return Credentials(
        user=name,
        password=password,
        token=None if token_file is None else _secret_in(token_file, "token"),
        register=register,
        invitation=invitation,
    )


def entering(credentials: Credentials, start: Callable[[Credentials], int]) -> int:
    """Start something that logs in; if the name needs a password and somebody is there, ask for it.

    A login that was remembered may be of another server at the same address, where the name is free.
    """
    if credentials.remembered and _somebody_is_there():
        try:
            return start(credentials)
        except RequestFailed as error:
            if error.code != "bad_credentials":
                raise
        sys.stderr.write(f"chatkit: the login remembered for {credentials.user!r} is not good here any more\n")
        credentials = evolve(credentials, token=None, remembered=False)
    for _ in range(ASKED):
        try:
            return start(credentials)
        except RequestFailed as error:
            given = credentials.register or (credentials.password is not None and credentials.token is not None)
            if error.code != "bad_credentials" or given or not _somebody_is_there():
                raise
            sys.stderr.write(f"chatkit: {sentence(error)}\n")
        credentials = evolve(credentials, password=_asked(f"password of {credentials.user}: "), token=None)
    return start(credentials)


def device() -> str:
    """Return what the list of one's logins is to call this machine."""
    return f"chatkit on {socket.gethostname()}"[:64]


def _somebody_is_there() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _asked(label: str) -> str:
    try:
        password = getpass.getpass(label)
    except EOFError as error:
        raise UsageError("no password was given") from error
    if not password:
        raise UsageError("no password was given")
    return password


def _asked_twice(user: str) -> str:
    if not _somebody_is_there():
        raise UsageError("there is no terminal to ask for a password at: --password-file FILE")
    for _ in range(ASKED):
        password = _asked(f"new password for {user} (8 bytes or more): ")
        if (why := unfit(password)) is not None:
            sys.stderr.write(f"{why}\n")
            continue
        if _asked("the same again: ") == password:
            return password
        sys.stderr.write("They are not the same.\n")
    raise UsageError("no password was given twice")


def _secret_in(path: Path, what: str) -> str:
    try:
        with path.open("rb") as file:
            secret = file.read(LONGEST_FILE).decode().removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise UsageError(f"the {what} {str(path)!r} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"the {what} in {str(path)!r} is no UTF-8 text") from error
    if not secret:
        raise UsageError(f"the file {str(path)!r} is empty")
    return secret
