"""``python -m benchmarks``: measure, and write down what was measured."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.cases import CASES, CHECK, FULL, QUICK, Case, Effort, contenders_of, measured, pin_generator
from benchmarks.process import CONTENDERS
from benchmarks.report import fill_page, summary


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the arguments ask for; return 0, or 1 if a case failed."""
    options = _parser().parse_args(arguments)
    if options.report:
        runs = json.loads(Path(options.report[0]).read_text())
    else:
        runs = run(options)
        if options.json:
            Path(options.json).write_text(json.dumps(runs, indent=1)) if options.json != "-" else print(
                json.dumps(runs)
            )
    if options.into:
        fill_page(Path(options.into), runs)
    if options.json != "-":
        print(summary(runs))
    return 1 if runs["failures"] else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="What chatkit costs, beside its peers.")
    effort = parser.add_mutually_exclusive_group()
    effort.add_argument("--full", dest="effort", action="store_const", const=FULL, help="as published; an hour")
    effort.add_argument("--quick", dest="effort", action="store_const", const=QUICK, help="a few minutes (default)")
    effort.add_argument("--check", dest="effort", action="store_const", const=CHECK, help="only whether it runs")
    parser.add_argument("--case", action="append", choices=CASES, default=[], help="only this case; may be repeated")
    parser.add_argument("--server", action="append", choices=CONTENDERS, default=[], help="only this server; likewise")
    parser.add_argument("--rounds", type=int, help="how often everything is measured")
    parser.add_argument(
        "--patient",
        nargs="?",
        type=float,
        const=60.0,
        metavar="SECONDS",
        help="wait, before each run, until the machine is quiet, at most so long (60)",
    )
    parser.add_argument("--json", metavar="FILE", help="write the figures of all runs there; - is standard output")
    parser.add_argument("--report", nargs=1, metavar="FILE", help="measure nothing: take the figures from there")
    parser.add_argument("--into", metavar="PAGE", help="fill the figures into this page, and plots beside it")
    parser.set_defaults(effort=QUICK)
    return parser


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure: round by round, and in each round server by server, so that what disturbs one disturbs all."""
    pin_generator()
    effort: Effort = options.effort
    cases = [CASES[name] for name in options.case or CASES]
    runs: dict[str, Any] = {"machine": machine.described(), "figures": [], "failures": [], "skipped": {}}
    rounds = options.rounds or effort.rounds
    plan = [
        (turn, case, contender)
        for case in cases
        for turn in range(rounds)
        for contender in contenders_of(case, options.server)
    ]
    began = time.monotonic()
    for number, (turn, case, contender) in enumerate(plan, 1):
        lacking = contender.missing()
        if lacking:
            if contender.name not in runs["skipped"]:
                _say(f"{contender.title}: skipped, {lacking} is not installed (pip install -e '.[bench]')")
            runs["skipped"][contender.name] = lacking
            continue
        if options.patient:
            machine.wait_for_quiet(patience=options.patient)
        elapsed = time.monotonic() - began
        _say(f"[{number}/{len(plan)} {elapsed:.0f} s] {case.title} · round {turn + 1} · {contender.title}")
        _measure(case, contender.name, effort, turn, runs)
        if options.json not in (None, "-"):  # after each run: an hour's figures must not hang on its last minute
            Path(options.json).write_text(json.dumps(runs, indent=1))
    return runs


def _measure(case: Case, contender: str, effort: Effort, turn: int, runs: dict[str, Any]) -> None:
    try:
        for name, figures in measured(case, CONTENDERS[contender], effort):
            runs["figures"].append({"case": case.name, "name": name, "server": contender, "round": turn} | figures)
            _say("    " + name + ": " + ", ".join(f"{key} {_short(value)}" for key, value in figures.items()))
    except Exception as error:  # one server that fails must not cost the figures of the others
        _say(f"    FAILED: {error}")
        runs["failures"].append({"case": case.name, "server": contender, "round": turn, "error": str(error)})


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
