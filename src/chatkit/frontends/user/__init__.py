"""``chatkit user``: accounts, on the store itself, also while a server runs on it."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Mapping, Sequence

from attrs import frozen

from chatkit.errors import UsageError
from chatkit.frontends.exits import Exit
from chatkit.frontends.launch import run_command
from chatkit.frontends.user import accounts, tokens


@frozen
class Command:
    """One thing to do: the function that does it, and what follows its name."""

    function: Callable[..., int]
    usage: str

    @property
    def summary(self) -> str:
        """What it does, in one line."""
        return (self.function.__doc__ or "").strip().splitlines()[0].removesuffix(".")


COMMANDS: Mapping[str, Command] = {
    "list": Command(accounts.list_accounts, ""),
    "show": Command(accounts.show, "NAME"),
    "add": Command(accounts.add, "NAME"),
    "passwd": Command(accounts.passwd, "NAME"),
    "role": Command(accounts.role, "NAME ROLE"),
    "disable": Command(accounts.disable, "NAME"),
    "enable": Command(accounts.enable, "NAME"),
    "remove": Command(accounts.remove, "NAME"),
    "tokens": Command(tokens.tokens, "NAME"),
    "invite": Command(tokens.invite, ""),
    "invitations": Command(tokens.invitations, ""),
    "audit": Command(tokens.audit, ""),
}


def run(arguments: Sequence[str]) -> int:
    """Manage accounts, on the store itself, also while a server runs."""
    words = list(arguments)
    first = words[0] if words else "--help"
    if first in ("--help", "-h", "help"):
        sys.stdout.write(help_text())
        return Exit.OK if words else Exit.USAGE
    command = COMMANDS.get(first)
    if command is None:
        near = difflib.get_close_matches(first, COMMANDS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(COMMANDS)}"
        raise UsageError(f"no command {first!r}; {hint} See chatkit user --help.")
    rest = words[1:]
    while "-" in rest[1:]:  # the parser takes a lone - for an option
        at = rest.index("-", 1)
        rest[at - 1 : at + 1] = [f"{rest[at - 1]}=-"]
    return run_command(f"user {first}", command.function, rest, f"{command.usage} [OPTIONS]".lstrip())


def help_text() -> str:
    """Return what ``chatkit user --help`` prints."""
    rows = [f"  {f'{name} {command.usage}':<17}{command.summary}\n" for name, command in COMMANDS.items()]
    return HELP.replace("ROWS", "".join(rows))


HELP = """\
Usage: chatkit user COMMAND [OPTIONS]

Accounts, on the store itself: no server has to run, and one that runs takes a change in within a second.

ROWS
Try it:

  chatkit user add ann --role admin               the first admin; asks for a password
  chatkit user add robot --role bot --no-password
  chatkit user tokens robot --create home --days 90
                                                  a token for a bot, shown this once
  chatkit user invite --uses 10                   a code with which ten people can register
  chatkit user disable troll                      out at once, and nowhere in again

All of them take --store, as chatkit serve does, --json, and --help.
"""
