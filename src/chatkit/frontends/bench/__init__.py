"""``chatkit bench``: measuring a server as its users see it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import trio

from chatkit.errors import MissingExtra
from chatkit.frontends.bench.load import Plan, measure
from chatkit.frontends.bench.page import as_json, as_text
from chatkit.frontends.exits import Exit
from chatkit.frontends.launch import run_command
from chatkit.frontends.options import DEFAULT_URL, Ca, Json, Parameter, Url, trusting
from chatkit.frontends.output import write


def run(arguments: Sequence[str]) -> int:
    """Measure a server: latency, deliveries a second, and whether anything was lost."""
    return run_command("bench", bench, arguments, "[URL] [OPTIONS]")


def bench(
    url: Url = DEFAULT_URL,
    *,
    members: Annotated[int, Parameter(help="How many are connected at the same time.")] = 50,
    rooms: Annotated[int, Parameter(help="Over how many rooms they are spread.")] = 1,
    rate: Annotated[float, Parameter(help="Messages a second, of all members together.")] = 20.0,
    duration: Annotated[float, Parameter(help="Seconds of talking.")] = 10.0,
    size: Annotated[int, Parameter(help="Bytes of text in a message.")] = 100,
    ca: Ca = None,
    json: Json = False,
) -> int:
    """Measure a server: latency, deliveries a second, and whether anything was lost.

    Guests log in, talk in rooms made for this and listen; the rooms are deleted afterwards. A server's rate limits
    hold here too: run your own with chatkit serve --no-rate-limits to see beyond them.

    Ends with 0 if everything said reached everybody once and in order, with 1 if not or if the server refused some
    of it.
    """
    plan = Plan(
        url=url,
        members=members,
        rooms=rooms,
        rate=rate,
        duration=duration,
        size=size,
        ssl_context=trusting(ca),
    )
    return trio.run(_bench, plan, json)


async def _bench(plan: Plan, json: bool) -> int:
    with Progress(shown=sys.stderr.isatty() and not json) as progress:
        findings = await measure(plan, progress)
    await write(as_json(findings) + "\n" if json else as_text(findings))
    return Exit.OK if findings.sound else Exit.REFUSED


class Progress:
    """A bar on standard error: first the members who have come, then the messages that were said."""

    def __init__(self, *, shown: bool) -> None:
        try:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bar
        except ImportError as error:
            raise MissingExtra("the progress bar", "cli") from error
        columns = (TextColumn("{task.description:<18}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = Bar(*columns, console=Console(stderr=True), disable=not shown, transient=True)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show how far a stage has come."""
        if stage not in self._tasks:
            self._tasks[stage] = self._bar.add_task(stage, total=total)
        self._bar.update(self._tasks[stage], completed=done)
