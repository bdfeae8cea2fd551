"""Standard input and output as bytes, without ever holding up the event loop."""

from __future__ import annotations

import os

import trio

from chatkit.errors import UsageError

LONGEST_LINE = 1_048_576
"""Bytes of one line of input; far beyond what a message may hold."""
CHUNK = 65_536

_turns: trio.lowlevel.RunVar[trio.Lock] = trio.lowlevel.RunVar("turns of standard output")


async def write(text: str | bytes) -> None:
    """Write to standard output and return once it is written; what several tasks write comes whole, and in the order
    of their calls.

    A reader that stops reading holds up the caller, not the link to the server. Raises `BrokenPipeError`.
    """
    data = text.encode("utf-8", "backslashreplace") if isinstance(text, str) else text
    try:
        turn = _turns.get()
    except LookupError:
        turn = trio.Lock()
        _turns.set(turn)
    async with turn:
        await trio.to_thread.run_sync(_write_all, data, abandon_on_cancel=True)


def _write_all(data: bytes) -> None:
    # os.write, not sys.stdout: a thread left behind must not hold a lock the interpreter wants at its end.
    while data:
        data = data[os.write(1, data) :]


class InputLines:
    """The lines of standard input, whatever it is: a pipe, a file, a terminal."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._ended = False
        self._number = 0

    async def read(self) -> str | None:
        """Return the next line without its end; None at the end of input. Cancelling loses at most what is typed
        meanwhile. Raises `UsageError` for what is no UTF-8 text or a line of more than 1 MiB."""
        while b"\n" not in self._buffer and not self._ended:
            if len(self._buffer) > LONGEST_LINE:
                raise UsageError(f"line {self._number + 1} of the input is longer than {LONGEST_LINE} bytes")
            chunk = await trio.to_thread.run_sync(os.read, 0, CHUNK, abandon_on_cancel=True)
            self._ended = not chunk
            self._buffer += chunk
        if not self._buffer:
            return None
        line, _, self._buffer = self._buffer.partition(b"\n")
        self._number += 1
        return _decoded(bytes(line).removesuffix(b"\r"), f"line {self._number} of the input")


async def read_all() -> str:
    """Return all of standard input as text. Raises `UsageError` if it is not UTF-8 or longer than 1 MiB."""
    data = bytearray()
    while chunk := await trio.to_thread.run_sync(os.read, 0, CHUNK, abandon_on_cancel=True):
        data += chunk
        if len(data) > LONGEST_LINE:
            raise UsageError(f"the input is longer than {LONGEST_LINE} bytes")
    return _decoded(bytes(data), "the input")


def _decoded(data: bytes, what: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{what} is not UTF-8 text") from error
