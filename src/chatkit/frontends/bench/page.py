"""Findings as a page for people, with a histogram, or as one JSON object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import orjson

from chatkit.frontends.bench.findings import Findings
from chatkit.frontends.visible import visible

PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
BAR = 40
"""Characters of the longest bar."""
BLOCKS = " ▏▎▍▌▋▊▉█"
STEPS = (1, 2, 5)
"""Where the classes of the histogram end, in every power of ten."""


def as_json(findings: Findings) -> str:
    """Return the findings as one JSON object; latencies in milliseconds."""
    latency = {name: _milliseconds(findings.percentile(share)) for name, share in PERCENTILES.items()}
    return orjson.dumps(
        {
            "url": findings.url,
            "members": findings.members,
            "rooms": findings.rooms,
            "rate": findings.rate,
            "size": findings.size,
            "seconds": round(findings.seconds, 3),
            "logins_per_second": round(findings.logins_per_second, 1),
            "said": findings.said,
            "acknowledged": findings.acknowledged,
            "unanswered": findings.unanswered,
            "refused": dict(findings.refused),
            "deliveries": findings.deliveries,
            "deliveries_per_second": round(findings.deliveries / findings.seconds, 1),
            "lost": findings.lost,
            "duplicates": findings.duplicates,
            "disordered": findings.disordered,
            "latency_ms": latency,
            "own_share": round(findings.own_share, 3),
            "bottleneck": findings.bottleneck,
            "sound": findings.sound,
        }
    ).decode()


def as_text(findings: Findings) -> str:
    """Return the findings as lines for people."""
    return "".join(f"{line}\n" for line in _lines(findings))


def _lines(findings: Findings) -> Iterator[str]:
    where = f"{findings.members} members in {findings.rooms} {'room' if findings.rooms == 1 else 'rooms'}"
    yield f"{visible(findings.url)}: {where}, {findings.rate:g} messages a second of {findings.size} bytes"
    yield ""
    yield f"  logins       {findings.logins_per_second:,.0f} a second"
    yield f"  messages     {findings.said:,} said, {findings.acknowledged:,} acknowledged"
    yield f"  deliveries   {findings.deliveries:,}, {findings.deliveries / findings.seconds:,.0f} a second"
    for name, share in PERCENTILES.items():
        value = _milliseconds(findings.percentile(share))
        if value is not None:
            yield f"  {'latency' if name == 'p50' else '':<11}  {name:<6}{value:>10,.2f} ms"
    yield ""
    yield from histogram(findings.latencies)
    yield ""
    yield from _verdict(findings)


def _verdict(findings: Findings) -> Iterator[str]:
    for count, what in (
        (findings.lost, "deliveries were lost"),
        (findings.duplicates, "deliveries came twice"),
        (findings.disordered, "deliveries came out of order"),
        (findings.unanswered, "messages were never answered"),
    ):
        if count:
            yield f"{count:,} {what}"
    for code, count in findings.refused.items():
        yield f"{count:,} messages were refused ({visible(code)})"
    if findings.sound:
        yield "Everything said reached everybody, once and in order."
    if findings.bottleneck:
        yield f"This program was busy {findings.own_share:.0%} of the time: it may be what limited the figures."


def histogram(latencies: Sequence[float]) -> Iterator[str]:
    """Give the lines of a histogram of sorted latencies in seconds, in classes of 1, 2, 5, 10, … units."""
    counts = list(_counted(latencies))
    most = max((count for _, _, count in counts), default=0)
    for low, high, count in counts:
        yield f"  {_span(low, high):>18}  {_bar(count / most):<{BAR}}  {count / len(latencies):>6.1%}"


def _counted(latencies: Sequence[float]) -> Iterator[tuple[float, float, int]]:
    """Give the classes from the first to the last that holds anything: from, to, how many. In milliseconds."""
    if not latencies:
        return
    low, at = 0.0, 0
    for high in _edges():
        begin = at
        while at < len(latencies) and latencies[at] * 1e3 < high:
            at += 1
        if at:
            yield low, high, at - begin
        if at == len(latencies):
            return
        low = high


def _edges() -> Iterator[float]:
    power = -2
    while True:
        yield from (step * 10.0**power for step in STEPS)
        power += 1


def _span(low: float, high: float) -> str:
    return f"{low:g} - {high:g} ms"


def _bar(share: float) -> str:
    eighths = max(1, round(share * BAR * 8)) if share else 0
    return "█" * (eighths // 8) + (BLOCKS[eighths % 8] if eighths % 8 else "")


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1e3, 3)
