"""Running a command: its arguments, and its end as an exit code and one sentence."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from chatkit.errors import ChatError, MissingExtra, UsageError
from chatkit.frontends.exits import Exit, exit_for, sentence

if TYPE_CHECKING:
    from cyclopts import App

ALIKE = 0.75
"""From here on two words are one that was mistyped; less is chance."""
_ADDRESS = ("--listen", "--url")
_MEANT: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(("--port", "--host", "--bind", "--address", "--server"), _ADDRESS),
    **dict.fromkeys(("--name", "--nick", "--login"), ("--user",)),
    **dict.fromkeys(("--db", "--database"), ("--store",)),
}
"""What other programs call an option, and what ours are called."""
_VALUES = dict.fromkeys(_ADDRESS, " ws://HOST:PORT")


def guarded(body: Callable[[], int]) -> int:
    """Run a command's body; turn what ends it into an exit code, and an error of ours into one sentence."""
    try:
        try:
            return int(body())
        finally:
            sys.stdout.flush()
    except BaseException as error:
        causes = list(_leaves(error))
        if any(isinstance(cause, KeyboardInterrupt) for cause in causes):
            if sys.stderr.isatty():
                sys.stderr.write("\n")  # behind a question, or the ^C of the terminal
            return Exit.INTERRUPTED
        if any(isinstance(cause, BrokenPipeError) for cause in causes):
            _silence_stdout()
            return Exit.BROKEN_PIPE
        if not all(isinstance(cause, ChatError) for cause in causes):
            raise
        known = next(cause for cause in causes if isinstance(cause, ChatError))
        sys.stderr.write(f"chatkit: {sentence(known)}\n")
        return exit_for(known)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _silence_stdout() -> None:
    """Let the interpreter's last flush go nowhere, instead of complaining about the broken pipe once more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def run_command(name: str, command: Callable[..., int], arguments: Sequence[str], usage: str) -> int:
    """Parse a command's arguments by its signature and run it; ``--help`` is made from its docstring, its options
    and ``usage``, which says what follows the name.

    Raises `UsageError` for wrong arguments, `MissingExtra` without the extra ``cli``.
    """
    app = _app(name, command, usage)
    from cyclopts import CycloptsError, UnknownOptionError

    try:
        result = app(list(arguments), exit_on_error=False, print_error=False, result_action="return_value")
    except UnknownOptionError as error:
        known = {name for argument in error.argument_collection if argument.parse for name in argument.names}
        text = unknown_option(error.token.keyword or error.token.value, known)
        raise UsageError(f"{text} See chatkit {name} --help.") from error
    except CycloptsError as error:
        raise UsageError(f"{' '.join(str(error).split())} See chatkit {name} --help.") from error
    return int(result or 0)


def unknown_option(typed: str, known: Collection[str]) -> str:
    """Say that there is no such option, and which one was meant, as far as can be told."""
    typed = typed.partition("=")[0]
    by_meaning = [f"{one}{_VALUES.get(one, '')}" for one in _MEANT.get(typed, ()) if one in known]
    by_letters = difflib.get_close_matches(typed.lstrip("-"), [one.lstrip("-") for one in known], n=1, cutoff=ALIKE)
    meant = [*by_meaning, *(f"--{one}" for one in by_letters)]
    return f"Unknown option: {typed}." + (f" Did you mean {meant[0]}?" if meant else "")


def _app(name: str, command: Callable[..., int], usage: str) -> App:
    try:
        from cyclopts import App
    except ImportError as error:
        raise MissingExtra("the command line", "cli") from error
    app = App(
        name=f"chatkit {name}",
        version_flags=[],
        help_format="markdown",
        usage=f"Usage: chatkit {name} {usage}",
        suppress_keyboard_interrupt=False,
    )
    app["--help"].group = "Parameters"
    app.default(command)
    return app
