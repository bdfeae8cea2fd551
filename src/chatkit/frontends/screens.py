"""Where a chat is shown and typed: the seam between the line client and a terminal, a pipe or a program."""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod

from chatkit.frontends.commands import Conversation
from chatkit.frontends.lines import Line, Shown, error_line, line_of, notice_line
from chatkit.frontends.output import InputLines, write
from chatkit.protocol import messages as m
from chatkit.protocol.codec import Codec


class Screen(ABC):
    """Somewhere to type and to show."""

    interactive = False
    """Whether a person sits there, who sees a refusal and tries again."""

    @abstractmethod
    async def read(self) -> str | None:
        """Return the next line typed; None when there will be no more. Cancelling loses nothing that was typed."""

    @abstractmethod
    async def event(self, event: m.Event, timestamp: int) -> None:
        """Show something that happened at a time of the server's, in milliseconds since 1970."""

    @abstractmethod
    async def notice(self, text: str) -> None:
        """Tell the user something."""

    @abstractmethod
    async def error(self, code: str, text: str) -> None:
        """Tell the user what went wrong; ``code`` is for programs."""


class LineScreen(Screen):
    """A screen made of lines; subclasses say where they go."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._shown = Shown()

    @abstractmethod
    async def show(self, line: Line) -> None:
        """Show one line."""

    async def event(self, event: m.Event, timestamp: int) -> None:
        line = line_of(event, timestamp, self._conversation, self._shown)
        if line is not None:
            await self.show(line)

    async def notice(self, text: str) -> None:
        await self.show(notice_line(text))

    async def error(self, code: str, text: str) -> None:
        await self.show(error_line(text))


class PipeScreen(LineScreen):
    """Lines from standard input, lines to standard output, errors to standard error."""

    def __init__(self, conversation: Conversation) -> None:
        super().__init__(conversation)
        self._input = InputLines()

    async def read(self) -> str | None:
        return await self._input.read()

    async def show(self, line: Line) -> None:
        await write(line.plain + "\n")

    async def error(self, code: str, text: str) -> None:
        sys.stderr.write(error_line(text).plain + "\n")


class JsonScreen(Screen):
    """Lines from standard input; everything that happens as one envelope per line on standard output."""

    def __init__(self) -> None:
        self._input = InputLines()
        self._codec = Codec()

    async def read(self) -> str | None:
        return await self._input.read()

    async def event(self, event: m.Event, timestamp: int) -> None:
        await write(self._codec.encode_event(event, timestamp) + b"\n")

    async def notice(self, text: str) -> None:
        await self.event(m.System(text=text), _now())

    async def error(self, code: str, text: str) -> None:
        await write(self._codec.encode_failure(code, text, None, _now()) + b"\n")


def _now() -> int:
    return time.time_ns() // 1_000_000
