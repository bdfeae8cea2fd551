"""Tables of a server's settings and metrics, drawn from the objects that the code goes by."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any, ClassVar

from protocol_tables import Table, table
from sphinx.application import Sphinx

from chatkit.frontends.serve.flags import NAMED
from chatkit.server import settings
from chatkit.server.settings import SETTINGS, Setting, shown
from chatkit.server.web import metrics

TITLES = {
    "": "At the top of the file",
    "engine": "`[engine]`: bounds of the rules",
    "http_limits": "`[http_limits]`: HTTP requests",
    "logins": "`[logins]`: how often a password may be tried",
    "rates": "`[rates]`: how fast one session may go",
    "transport": "`[transport]`: every link",
}


class Settings(Table):
    """Every setting of a server, by the table of a file that it stands in."""

    sources: ClassVar[tuple[Any, ...]] = (settings,)

    def lines(self) -> Iterator[str]:
        for name, group in groupby(SETTINGS.values(), key=lambda setting: setting.table):
            yield f"**{TITLES[name]}**"
            yield ""
            yield from table(("setting", "type", "default", "what it is for"), map(_row, group))


def _row(setting: Setting) -> tuple[str, ...]:
    flag = NAMED.get(setting.name)
    names = f"`{setting.name}`" + (f"<br>`{flag}`" if flag else "")
    default = "" if setting.default is None else f"`{shown(setting.default)}`"
    return names, setting.words, default, setting.explanation.replace("``", "`")


class Metrics(Table):
    """Every metric, as Prometheus sees it."""

    sources: ClassVar[tuple[Any, ...]] = (metrics,)

    def lines(self) -> Iterator[str]:
        yield from table(("metric", "kind", "what it says"), _metrics())


def _metrics() -> Iterator[tuple[str, ...]]:
    for name, words in metrics.GAUGES.items():
        yield f"`chatkit_{name}`", "gauge", words
    for name, words in metrics.COUNTERS.items():
        yield f"`chatkit_{name}_total`", "counter", words
    for name, (label, words) in metrics.LABELLED.items():
        yield f"`chatkit_{name}_total{{{label}}}`", "counter", words
    for name, histogram in metrics.HISTOGRAMS.items():
        yield f"`chatkit_{name}`", "histogram", histogram.words


class Variables(Table):
    """How the name of a setting becomes the name of a variable, by example."""

    def lines(self) -> Iterator[str]:
        examples = ("store", "listen", "rates.messages.burst", "transport.write_timeout")
        rows = ((f"`{name}`", f"`{SETTINGS[name].variable}`", f"`--set {name}=…`") for name in examples)
        yield from table(("setting", "variable", "flag"), rows)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    for name, directive in {
        "server-settings": Settings,
        "server-metrics": Metrics,
        "server-variables": Variables,
    }.items():
        app.add_directive(name, directive)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
