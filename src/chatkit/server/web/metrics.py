"""The server's statistics in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from attrs import frozen

from chatkit.errors import MissingExtra

try:
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
    from prometheus_client.exposition import CONTENT_TYPE_LATEST
    from prometheus_client.registry import Collector
except ImportError as error:
    raise MissingExtra("/metrics", "server") from error

from chatkit.server.statistics import COMMIT_CHANGES, COMMIT_SECONDS

if TYPE_CHECKING:
    from chatkit.server.server import Server

CONTENT_TYPE = CONTENT_TYPE_LATEST


@frozen
class Histogram:
    """What is counted by its size: the bounds of the buckets, and where among the statistics its sum and count are."""

    words: str
    bounds: Sequence[float]
    sum: str
    count: str = "commits_total"


GAUGES: Mapping[str, str] = {
    "connections": "Connections open now",
    "sessions": "Connections that are logged in",
    "users": "Distinct people present",
    "rooms": "Rooms",
    "lagging": "Sessions served from a position rather than live",
    "waiting_bytes": "Bytes pushed to links and not yet with the kernel",
    "waiting_changes": "Changes submitted and not yet committed",
    "loop_delay": "How late the event loop was at its last measurement, in seconds",
    "ready": "1 if the last commit succeeded and the server is not stopping",
}
COUNTERS: Mapping[str, str] = {
    "connections": "Connections accepted",
    "logins": "Logins accepted",
    "messages": "Durable events published",
    "deliveries": "Durable events times the sessions they were handed to live",
    "delivered_bytes": "Bytes of these deliveries, as they are on the wire but for TLS",
    "received_bytes": "Bytes of requests",
    "fell_behind": "Times a session could not keep up and was served from its position",
    "commit_failures": "Commits that failed",
}
LABELLED: Mapping[str, tuple[str, str]] = {
    "refused": ("code", "Requests refused, by error code"),
    "closed": ("code", "Links the server ended, by close code"),
    "turned_away": ("reason", "Arrivals that did not become a connection, by reason"),
}


HISTOGRAMS: Mapping[str, Histogram] = {
    "commit_seconds": Histogram("Duration of commits in seconds", COMMIT_SECONDS, "commit_seconds_total"),
    "commit_changes": Histogram("Changes in one commit", COMMIT_CHANGES, "changes_total"),
}


def render_metrics(server: Server) -> bytes:
    """Return the metrics of a server as Prometheus reads them."""
    registry = CollectorRegistry()
    registry.register(_Collector(server))
    return generate_latest(registry)


class _Collector(Collector):
    def __init__(self, server: Server) -> None:
        self._server = server

    def collect(self) -> Iterable[Metric]:
        statistics = self._server.statistics()
        for name, words in GAUGES.items():
            yield GaugeMetricFamily(f"chatkit_{name}", words, value=float(getattr(statistics, name)))
        for name, words in COUNTERS.items():
            yield CounterMetricFamily(f"chatkit_{name}", words, value=float(getattr(statistics, f"{name}_total")))
        for name, (label, words) in LABELLED.items():
            family = CounterMetricFamily(f"chatkit_{name}", words, labels=[label])
            found: Mapping[Any, int] = getattr(statistics, f"{name}_total")
            for key, count in sorted(found.items()):
                family.add_metric([str(key)], float(count))
            yield family
        for name, histogram in HISTOGRAMS.items():
            counted = getattr(self._server.counters, f"{name}_buckets")
            yield _histogram(name, histogram, counted, getattr(statistics, histogram.sum))


def _histogram(name: str, histogram: Histogram, counted: Sequence[int], total: float) -> Metric:
    family = HistogramMetricFamily(f"chatkit_{name}", histogram.words)
    bounds = [*(str(float(bound)) for bound in histogram.bounds), "+Inf"]
    family.add_metric([], list(zip(bounds, map(float, accumulate(counted)), strict=True)), sum_value=total)
    return family
