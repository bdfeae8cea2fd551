"""Draw docs/pictures/demo.svg: what `chatkit demo` prints, as it is printed. Run it when the demo changes."""

from __future__ import annotations

import io
from pathlib import Path

import trio
from rich.console import Console
from rich.terminal_theme import MONOKAI

from chatkit.frontends.demo import play
from chatkit.frontends.demo_narrator import TextNarrator

COLUMNS = 80
PICTURE = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal"><rect width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}</defs>
<rect width="{width}" height="{height}" rx="8" fill="#0c0c0c"/>
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g></g></svg>
"""


class RecordingNarrator(TextNarrator):
    """Keeps what is told, instead of writing it."""

    async def _print(self, text: object) -> None:
        self._console.print(text)


def main() -> None:
    """Play the demo and draw it."""
    console = Console(
        record=True, file=io.StringIO(), width=COLUMNS, highlight=False, force_terminal=True, color_system="truecolor"
    )
    trio.run(play, RecordingNarrator(console), 0.05)
    svg = console.export_svg(theme=MONOKAI, code_format=PICTURE, unique_id="demo")
    Path(__file__).with_name("demo.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
