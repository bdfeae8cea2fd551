"""The ``chatkit`` command: finds a frontend by name and runs it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint

from chatkit.frontends.exits import Exit
from chatkit.frontends.launch import guarded
from chatkit.registry import find, installed

GROUP = "chatkit.frontends"

INTRODUCTION = """\
chatkit: real-time chat. A server, and clients for it.

Usage: chatkit FRONTEND [OPTIONS]

Try it in three terminals:

  chatkit serve                       a server on ws://127.0.0.1:8765 and tcp://127.0.0.1:8766
  chatkit chat --user ann             a first person
  chatkit chat --user bob             a second one, who says something

Or see it by itself: chatkit demo
"""
CLOSING = """\
  chatkit FRONTEND --help             the options of one of them
  chatkit --version

Any installed package can add a frontend: the entry-point group is chatkit.frontends.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the ``chatkit`` command and return its exit code (see `chatkit.frontends.exits`)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    return guarded(lambda: _dispatch(words))


def _dispatch(words: list[str]) -> int:
    first = words[0] if words else "--help"
    if first in ("--help", "-h", "help"):
        sys.stdout.write(help_text())
        sys.stdout.flush()
        return Exit.OK if words else Exit.USAGE
    if first in ("--version", "-V"):
        from chatkit.version import __version__

        sys.stdout.write(f"chatkit {__version__}\n")
        return Exit.OK
    run = find(GROUP, first, "frontend")
    return int(run(words[1:]))


def help_text() -> str:
    """Return what ``chatkit --help`` prints."""
    rows = [f"  {name:<12}{_summary(entry)}\n" for name, entry in sorted(installed(GROUP).items())]
    return f"{INTRODUCTION}\nFrontends:\n\n{''.join(rows)}\n{CLOSING}"


def _summary(entry: EntryPoint) -> str:
    try:
        text: str = entry.load().__doc__ or ""
    except Exception as error:  # one that is broken must not hide the others
        return f"(cannot be loaded: {error})"
    lines = text.strip().splitlines()
    return lines[0].removesuffix(".") if lines else ""
