"""Where the operator works: the store that is meant, new passwords, and what is answered."""

from __future__ import annotations

import getpass
import json as json_module
import secrets
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import trio

from chatkit.errors import MissingExtra, ProtocolError, UsageError
from chatkit.frontends.commands.words import unfit
from chatkit.frontends.exits import Exit
from chatkit.frontends.options import Parameter
from chatkit.frontends.serve.flags import gather
from chatkit.frontends.visible import visible
from chatkit.protocol.times import to_datetime
from chatkit.server.operator import Operator, is_there, open_operator
from chatkit.server.passwords import check_new
from chatkit.server.settings import SETTINGS

Name: TypeAlias = Annotated[str, Parameter(help="The account's name.", show_default=False)]
Store: TypeAlias = Annotated[
    str | None,
    Parameter(
        name="--store",
        show_default=False,
        help=f"Where everything is kept, as for chatkit serve; without it {SETTINGS['store'].default}, or what "
        "CHATKIT_STORE or the file of settings says.",
    ),
]
Config: TypeAlias = Annotated[
    Path | None, Parameter(name="--config", show_default=False, help="The server's file of settings, if it has one.")
]
PasswordFile: TypeAlias = Annotated[
    Path | None,
    Parameter(
        name="--password-file", show_default=False, help="A file that holds the new password; - is standard input."
    ),
]
Generate: TypeAlias = Annotated[
    bool, Parameter(name="--generate", negative="", help="Make a password up and print it, this once.")
]
NoPassword: TypeAlias = Annotated[
    bool, Parameter(name="--no-password", negative="", help="Let nobody log in by password: for bots, by token only.")
]

LONGEST_FILE = 65_536
ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
"""What made-up passwords are of: nothing that is mistaken for something else; five bits each."""
GROUPS, GROUP = 4, 5
ASKED = 3
"""Times somebody may mistype."""


def at_store(
    store: str | None, config: Path | None, work: Callable[[Operator], Awaitable[None]], *, make: bool = False
) -> int:
    """Do some work on the store that the options, the environment and a file of settings mean."""
    settings = gather({"store": store, "config": config})
    url, limits = settings["store"], settings.config().engine
    new = not is_there(url)

    async def run() -> None:
        async with open_operator(url, make=make, limits=limits) as operator:
            await work(operator)

    trio.run(run)
    if new:
        warn(f"the store {url} is new")
    return Exit.OK


# ── new passwords ────────────────────────────────────────────────────────────────────────────────────────────────────


def new_password(file: Path | None, generate: bool, none: bool) -> str | None:
    """Return a new password, from a file, made up, or asked for at the terminal; None if there is to be none.

    Raises `UsageError` if the options contradict each other or there is nobody to ask, and for what cannot be one.
    """
    if sum((file is not None, generate, none)) > 1:
        raise UsageError("--password-file, --generate and --no-password: one of them is enough")
    if none:
        return None
    if generate:
        return "-".join("".join(secrets.choice(ALPHABET) for _ in range(GROUP)) for _ in range(GROUPS))
    password = _from_file(file) if file is not None else _asked()
    try:
        check_new(password)
    except ProtocolError as error:
        raise UsageError(error.message) from error
    return password


def _from_file(path: Path) -> str:
    try:
        with open(0 if path == Path("-") else path, "rb", closefd=path != Path("-")) as file:
            data = file.read(LONGEST_FILE)
        return data.decode().removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise UsageError(f"the password {str(path)!r} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"the password in {str(path)!r} is no UTF-8 text") from error


def _asked() -> str:
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask for a password at: --password-file FILE, or --generate")
    for _ in range(ASKED):
        try:
            password = getpass.getpass("New password: ")
            if (why := unfit(password)) is not None:
                sys.stderr.write(f"{why}\n")
                continue
            if getpass.getpass("The same again: ") == password:
                return password
        except EOFError as error:
            raise UsageError("no password was given") from error
        sys.stderr.write("They are not the same.\n")
    raise UsageError("no password was given twice")


def confirmed(question: str) -> bool:
    """Ask somebody at the terminal for a yes. Raises `UsageError` if there is nobody to ask."""
    if not sys.stdin.isatty():
        raise UsageError("this cannot be undone: say --yes")
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


# ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def tell(sentence: str, record: Mapping[str, Any], *, json: bool, secret: str | None = None) -> None:
    """Say what was done. A secret stands alone on its line, for a program to take."""
    if json:
        print_json([record])
    elif secret is None:
        sys.stdout.write(f"{visible(sentence)}\n")
    else:
        sys.stderr.write(f"{visible(sentence)}\n")
        sys.stderr.flush()
        sys.stdout.write(f"{secret}\n")


def warn(sentence: str) -> None:
    """Say what the operator should know besides."""
    sys.stderr.write(f"chatkit: {visible(sentence)}\n")


def print_json(records: Iterable[Mapping[str, Any]]) -> None:
    """Print one JSON object per line."""
    sys.stdout.write("".join(f"{json_module.dumps(record, ensure_ascii=False)}\n" for record in records))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table: as wide as the terminal, or uncut into a pipe."""
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError as error:
        raise MissingExtra("the table", "cli") from error
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    console = Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=10_000)
    with console.capture() as captured:
        console.print(table)
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def moment(milliseconds: int | None, never: str = "never") -> str:
    """Return a time for people, in UTC."""
    return never if milliseconds is None else f"{to_datetime(milliseconds):%Y-%m-%d %H:%M}"
