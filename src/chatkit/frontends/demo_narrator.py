"""Telling what happens in the demo: to people in colour, to programs as JSON lines."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping

from chatkit.errors import MissingExtra
from chatkit.frontends.output import write

try:
    from rich.console import Console
    from rich.text import Text
except ImportError as error:
    raise MissingExtra("the demo", "cli") from error

NEXT = (
    ("chatkit serve", "a server that stays"),
    ("chatkit chat --user ann", "talk, in a second terminal"),
    ("chatkit chat tcp://127.0.0.1:8766 --user bob", "and over TCP, in a third"),
    ("chatkit tail --user eve --json", "follow along, as programs do"),
)

TEXT_COLUMNS = 42
"""What is left for the text of a message in a terminal of 80 columns."""


class Narrator(ABC):
    """Tells what happens."""

    @abstractmethod
    async def scene(self, number: int, of: int, title: str) -> None:
        """A scene begins."""

    @abstractmethod
    async def notice(self, text: str) -> None:
        """Something happened."""

    @abstractmethod
    async def said(self, user: str, link: str, room: str, said: str | bytes, first: float, last: float) -> None:
        """Somebody said something; the others saw it after ``first`` to ``last`` seconds."""

    @abstractmethod
    async def summary(self, figures: Mapping[str, float]) -> None:
        """It is over."""


class TextNarrator(Narrator):
    """Tells people."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)

    async def _print(self, text: Text) -> None:
        with self._console.capture() as captured:
            self._console.print(text)
        await write(captured.get())

    async def scene(self, number: int, of: int, title: str) -> None:
        bar = (("━" * number, "#007bff"), ("─" * (of - number), "#808080"))
        await self._print(Text.assemble("\n", *bar, f" {number}/{of}  ", (title, "bold")))

    async def notice(self, text: str) -> None:
        await self._print(Text(f"  * {text}", "italic #00bfff"))

    async def said(self, user: str, link: str, room: str, said: str | bytes, first: float, last: float) -> None:
        shown = said if isinstance(said, str) else f"<{len(said)} bytes: {said[:8].hex(' ')} …>"
        await self._print(
            Text.assemble(
                "  ",
                (f"{room:<8}", "#808080"),
                (f"{user:>5}", "bold #007bff"),
                (f" {link:<4}", "#808080"),
                _padded(shown, TEXT_COLUMNS),
                ("  seen in ", "#808080"),
                (f"{last * 1000:.1f} ms", "bold #77b300"),
            )
        )

    async def summary(self, figures: Mapping[str, float]) -> None:
        good = "bold #77b300"
        await self._print(
            Text.assemble(
                ("\nDone", good),
                f" in {figures['seconds']:g} s: {figures['messages']:g} messages, {figures['deliveries']:g} sightings, "
                "half of them within ",
                (f"{figures['median_ms']:g} ms", good),
                f",\nthe slowest within {figures['slowest_ms']:g} ms, each message on disk before anybody saw it.\n",
                "\nNow try it yourself:\n",
            )
        )
        width = max(len(command) for command, _ in NEXT)
        for command, meaning in NEXT:
            await self._print(Text.assemble("  ", (f"{command:<{width}}", "bold"), f"   {meaning}"))


class JsonNarrator(Narrator):
    """Tells programs, one object per line."""

    async def _write(self, fields: Mapping[str, object]) -> None:
        await write(json.dumps(fields, ensure_ascii=False) + "\n")

    async def scene(self, number: int, of: int, title: str) -> None:
        await self._write({"scene": number, "of": of, "title": title})

    async def notice(self, text: str) -> None:
        await self._write({"notice": text})

    async def said(self, user: str, link: str, room: str, said: str | bytes, first: float, last: float) -> None:
        what = {"text": said} if isinstance(said, str) else {"bytes": len(said)}
        milliseconds = {"first_ms": round(first * 1000, 2), "last_ms": round(last * 1000, 2)}
        await self._write({"room": room, "user": user, "link": link, **what, **milliseconds})

    async def summary(self, figures: Mapping[str, float]) -> None:
        await self._write({"summary": dict(figures)})


def _padded(text: str, width: int) -> Text:
    padded = Text(text)
    padded.pad_right(max(0, width - padded.cell_len))
    return padded
