"""What was measured, as tables: medians over the rounds, and ratios of figures from the same round."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

from attrs import frozen

from benchmarks.cases import OURS, PEERS
from benchmarks.plots import Chart, Line, drawn
from benchmarks.process import CONTENDERS

Runs: TypeAlias = dict[str, Any]
CPU = "cpu_per_delivery_us"
ALL = (*OURS, *PEERS)
SLOTS = re.compile(r"(<!-- figures: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


@frozen(kw_only=True)
class Target:
    """A promise about a ratio, or about a figure of our own if there is no ``peer``."""

    name: str
    ours: str = "chatkit"
    key: str = CPU
    peer: str | None = None
    other: str | None = None
    """The peer's case, if it is another one."""
    most: float


TARGETS = (
    Target(name="200 members, 1 in flight", peer="websockets", most=1.2),
    Target(name="200 members, 1 in flight", peer="socketio", most=0.25),
    Target(name="200 members, 1 in flight", peer="websockets-trio", most=0.25),
    Target(name="200 members, 20 in flight", peer="uwebsockets", most=1.5),
    Target(name="200 members, 20 in flight", peer="websockets", most=0.25),
    Target(name="200 members, 20 in flight", peer="socketio", most=0.05),
    Target(name="200 members, 100 in flight", peer="uwebsockets", most=0.9),
    Target(name="1000 members, 20 in flight", peer="uwebsockets", most=2.0),
    Target(name="200 members, 20 in flight", ours="chatkit-memory", peer="uwebsockets", most=1.0),
    Target(name="200 members, 100 in flight", ours="chatkit-memory", peer="uwebsockets", most=0.8),
    Target(name="200 members, 100/s", key="p50_ms", peer="picows", most=2.0),
    Target(name="200 members, 100/s", key="p99_ms", peer="websockets", most=1.0),
    Target(name="1 members, 50 in flight", key="cpu_per_message_us", peer="socketio", most=0.6),
    Target(name="idle", key="kib_per_member", most=28.0),
    Target(name="resumes", key="seconds", most=10.0),
    Target(name="rooms: 5000", key="cpu_per_message_us", peer="chatkit", other="rooms: 1", most=1.5),
)
UNITS = {CPU: "µs of CPU per delivery", "cpu_per_message_us": "µs of CPU per message", "kib_per_member": "KiB each"}
UNITS |= {"p50_ms": "ms, p50", "p99_ms": "ms, p99", "seconds": "s"}


class Figures:
    """The figures of all rounds, to be asked for."""

    def __init__(self, runs: Runs) -> None:
        self._all: list[dict[str, Any]] = runs["figures"]

    def names(self, case: str) -> list[str]:
        """Return what was measured in a case, in order."""
        return list(dict.fromkeys(one["name"] for one in self._all if one["case"] == case))

    def rounds(self, name: str, server: str, key: str) -> dict[int, float]:
        """Return a figure by round."""
        return {
            one["round"]: one[key]
            for one in self._all
            if one["name"] == name and one["server"] == server and key in one
        }

    def median(self, name: str, server: str, key: str) -> float | None:
        """Return a figure's median over the rounds, None if it was not measured."""
        values = self.rounds(name, server, key)
        return median(values.values()) if values else None

    def ratio(self, target: Target) -> float | None:
        """Return the median of a ratio over the rounds that have both figures."""
        ours = self.rounds(target.name, target.ours, target.key)
        peers = self.rounds(target.other or target.name, target.peer or "", target.key)
        both = [ours[turn] / peers[turn] for turn in ours if peers.get(turn)]
        return median(both) if both else None

    def bottlenecks(self) -> Counter[str]:
        """Return in which cases the generator may have been the bottleneck, and in how many rounds of each."""
        return Counter(f"{one['name']} ({one['server']})" for one in self._all if one.get("bottleneck"))


# ── tables ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _number(value: float | None, form: str = ".3g") -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:{form}}"


def targets(runs: Runs) -> str:
    """Return the promised ratios, and what they are."""
    return _table(("case", "measured", "promised", "kept"), _target_rows(Figures(runs)))


def _target_rows(figures: Figures) -> Iterator[Sequence[str]]:
    for target in TARGETS:
        value = figures.ratio(target) if target.peer else figures.median(target.name, target.ours, target.key)
        if value is None:
            continue
        against = f" of {target.other or CONTENDERS[target.peer].title}" if target.peer else ""
        where = ", in memory" if target.ours == "chatkit-memory" else ""
        case = f"{target.name}{where}: {UNITS[target.key]}"
        yield case, f"{value:.2f}{against}", f"≤ {target.most:g}", "yes" if value <= target.most else "**no**"


def fan_out(runs: Runs) -> str:
    """Return server CPU per delivery, in microseconds, by server and load."""
    return _by_server(runs, CPU, ("room", "big-room", "many-talk"), {"/s": False})


def latency(runs: Runs) -> str:
    """Return the latencies at a fixed rate."""
    figures = Figures(runs)
    name = next((name for name in figures.names("room") if name.endswith("/s")), "")
    keys = ("p50_ms", "p99_ms", "p999_ms")
    rows = (
        (CONTENDERS[server].title, *(_number(figures.median(name, server, key)) for key in keys))
        for server in ALL
        if figures.median(name, server, "p50_ms") is not None
    )
    return _table(("server", "p50, ms", "p99, ms", "p99.9, ms"), rows)


def rate(runs: Runs) -> str:
    """Return deliveries a second, by server and load."""
    return _by_server(runs, "deliveries_per_s", ("room", "big-room"), {"/s": False})


def _by_server(runs: Runs, key: str, cases: Sequence[str], leave_out: dict[str, bool]) -> str:
    figures = Figures(runs)
    names = [name for case in cases for name in figures.names(case) if not name.endswith(tuple(leave_out))]
    rows = (
        (CONTENDERS[server].title, *(_number(figures.median(name, server, key)) for name in names))
        for server in ALL
        if any(figures.rounds(name, server, key) for name in names)
    )
    return _table(("server", *names), rows)


def crowd(runs: Runs) -> str:
    """Return what a crowd costs that comes in and stays, and what one message costs in a room of one."""
    figures = Figures(runs)
    columns = (
        ("1 members, 50 in flight", "cpu_per_message_us", "CPU per message in a room of one, µs"),
        ("idle", "kib_per_member", "idle member, KiB"),
        ("logins", "logins_per_s", "logins/s"),
        ("logins", "cpu_per_login_us", "CPU per login, µs"),
        ("start", "seconds", "start-up, s"),
    )
    rows = (
        (CONTENDERS[server].title, *(_number(figures.median(name, server, key)) for name, key, _ in columns))
        for server in ALL
        if any(figures.rounds(name, server, key) for name, key, _ in columns)
    )
    return _table(("server", *(title for _, _, title in columns)), rows)


def growth(case: str, key: str = CPU) -> Callable[[Runs], str]:
    """Return a table of how a cost grows along one axis."""

    def table(runs: Runs) -> str:
        figures = Figures(runs)
        names = figures.names(case)
        rows = (
            (CONTENDERS[server].title, *(_number(figures.median(name, server, key)) for name in names))
            for server in ALL
            if any(figures.rounds(name, server, key) for name in names)
        )
        return _table((case, *(name.rpartition(" ")[2] for name in names)), rows)

    return table


def machine(runs: Runs) -> str:
    """Return what it was measured on."""
    return _table(("", ""), ((name, value) for name, value in runs["machine"].items()))


def honesty(runs: Runs) -> str:
    """Say in which runs the generator may have been the bottleneck, and what others took of the machine."""
    slow = Figures(runs).bottlenecks()
    others = [one["others_share"] for one in runs["figures"] if "others_share" in one]
    text = f"Other processes took {median(others):.0%} of the machine in the median run.\n" if others else ""
    if not slow:
        return text + "The generator was the bottleneck in no run.\n"
    cases = "; ".join(f"{case}, {rounds} times" for case, rounds in slow.items())
    return text + f"The generator may have been the bottleneck in {slow.total()} runs: {cases}.\n"


TABLES: dict[str, Callable[[Runs], str]] = {
    "machine": machine,
    "targets": targets,
    "fan-out": fan_out,
    "deliveries": rate,
    "latency": latency,
    "crowd": crowd,
    "members": growth("members"),
    "sizes": growth("sizes"),
    "rooms": growth("rooms", "cpu_per_message_us"),
    "honesty": honesty,
}
CHARTS = {
    "members": ("Server CPU per delivery by members of the room, 20 in flight", "members", CPU),
    "sizes": ("Server CPU per delivery by message size, 50 members, 20 in flight", "bytes", CPU),
    "rooms": ("Server CPU per message by rooms of two, 500 messages a second", "rooms", "cpu_per_message_us"),
}


# ── where they go ────────────────────────────────────────────────────────────────────────────────────────────────────


def summary(runs: Runs) -> str:
    """Return the tables that say something, for a terminal."""
    return "\n".join(f"{name}\n\n{text}" for name, make in TABLES.items() if _says_something(text := make(runs)))


def _says_something(text: str) -> bool:
    """Whether it is prose, or a table with a row."""
    return not text.startswith("|") or text.count("\n|") > 1


def fill_page(page: Path, runs: Runs) -> None:
    """Fill the tables into a page, between ``<!-- figures: NAME -->`` and ``<!-- end -->``, and draw the charts
    beside it. What was not measured this time stays as it is."""

    def fill(slot: re.Match[str]) -> str:
        text = TABLES[slot[2]](runs)
        if slot[2] in CHARTS:
            text += f"\n![{CHARTS[slot[2]][0]}]({page.stem}-{slot[2]}.svg)\n"
        return f"{slot[1]}{text}{slot[3]}" if _says_something(text) else slot[0]

    page.write_text(SLOTS.sub(fill, page.read_text(encoding="utf-8")), encoding="utf-8")
    for case, (title, axis, key) in CHARTS.items():
        lines = list(_lines(Figures(runs), case, key))
        if lines:
            chart = Chart(title=title, x=axis, y=UNITS[key], lines=lines)
            (page.parent / f"{page.stem}-{case}.svg").write_text(drawn(chart), encoding="utf-8")


def _lines(figures: Figures, case: str, key: str) -> Iterator[Line]:
    for server in ALL:
        points = [
            (float(name.rpartition(" ")[2]), value)
            for name in figures.names(case)
            if (value := figures.median(name, server, key)) is not None
        ]
        if len(points) > 1:
            yield Line(title=CONTENDERS[server].title, ours=CONTENDERS[server].ours, points=points)
