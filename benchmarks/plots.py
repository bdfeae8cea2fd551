"""Line charts with two logarithmic axes, as SVG: small enough to be read in a diff."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

from attrs import frozen

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 64, 190, 40, 48
COLOURS = ("#0b6e4f", "#3fae7d", "#b5651d", "#4a6fa5", "#8d5a97", "#777777")
STEPS = (1, 2, 5)


@frozen(kw_only=True)
class Line:
    """One server's figures."""

    title: str
    ours: bool
    points: Sequence[tuple[float, float]]


@frozen(kw_only=True)
class Chart:
    """A title, what the axes mean, and the lines."""

    title: str
    x: str
    y: str
    lines: Sequence[Line]


class _Scale:
    """Places a value on an axis."""

    def __init__(self, values: Sequence[float], begin: float, end: float) -> None:
        self.low, self.high = min(values), max(values)
        self._begin, self._length = begin, end - begin
        self._from = math.log(self.low)
        self._span = math.log(self.high) - self._from or 1.0

    def __call__(self, value: float) -> float:
        return round(self._begin + (math.log(value) - self._from) / self._span * self._length, 1)


def drawn(chart: Chart) -> str:
    """Return the chart as an SVG document that follows the reader's light or dark colours."""
    x = _Scale([at for line in chart.lines for at, _ in line.points], LEFT, WIDTH - RIGHT)
    values = [value for line in chart.lines for _, value in line.points]
    y = _Scale([min(values) * 0.9, max(values) * 1.1], HEIGHT - BOTTOM, TOP)
    return "\n".join((_HEAD, *_axes(chart, x, y), *_curves(chart, x, y), "</svg>", ""))


_HEAD = (
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">\n'
    "<style>text{fill:#222}.grid{stroke:#8884}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}}</style>"
)


def _axes(chart: Chart, x: _Scale, y: _Scale) -> Iterator[str]:
    yield f'<text x="{LEFT}" y="20" font-size="14">{escape(chart.title)}</text>'
    yield f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(chart.x)}</text>'
    middle = (TOP + HEIGHT - BOTTOM) / 2
    yield f'<text transform="rotate(-90 14 {middle})" x="14" y="{middle}" text-anchor="middle">{escape(chart.y)}</text>'
    for value in _ticks(y):
        at = y(value)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at}" y2="{at}"/>'
        yield f'<text x="{LEFT - 6}" y="{at + 4}" text-anchor="end">{value:g}</text>'
    for value in sorted({at for line in chart.lines for at, _ in line.points}):
        yield f'<text x="{x(value)}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{value:g}</text>'


def _ticks(scale: _Scale) -> Iterator[float]:
    for power in range(math.floor(math.log10(scale.low)), math.ceil(math.log10(scale.high)) + 1):
        for step in STEPS:
            if scale.low <= step * 10.0**power <= scale.high:
                yield step * 10.0**power


def _curves(chart: Chart, x: _Scale, y: _Scale) -> Iterator[str]:
    for number, line in enumerate(chart.lines):
        colour, width = COLOURS[number % len(COLOURS)], 3 if line.ours else 1.5
        points = " ".join(f"{x(at)},{y(value)}" for at, value in line.points)
        yield f'<polyline fill="none" stroke="{colour}" stroke-width="{width}" points="{points}"/>'
        top = TOP + 12 + 20 * number
        left = WIDTH - RIGHT + 14
        yield f'<line x1="{left}" x2="{left + 18}" y1="{top}" y2="{top}" stroke="{colour}" stroke-width="{width}"/>'
        yield f'<text x="{left + 24}" y="{top + 4}">{escape(line.title)}</text>'
