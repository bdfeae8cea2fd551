"""The server's statistics in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from chatkit.errors import MissingExtra

try:
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
    from prometheus_client.exposition import CONTENT_TYPE_LATEST
    from prometheus_client.registry import Collector
except ImportError as error:
    raise MissingExtra("/metrics", "server") from error

from chatkit.server.statistics import COMMIT_SECONDS

if TYPE_CHECKING:
    from chatkit.server.server import Server

CONTENT_TYPE = CONTENT_TYPE_LATEST
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
    "fell_behind": "Times a session could not keep up and was served from its position",
    "commit_failures": "Commits that failed",
    "changes": "Changes committed",
}
LABELLED: Mapping[str, tuple[str, str]] = {
    "refused": ("code", "Requests refused, by error code"),
    "closed": ("code", "Links the server ended, by close code"),
    "turned_away": ("reason", "Arrivals that did not become a connection, by reason"),
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
        yield self._commits(statistics.commit_seconds_total)

    def _commits(self, seconds: float) -> Metric:
        family = HistogramMetricFamily("chatkit_commit_seconds", "Duration of commits in seconds")
        bounds = [*map(str, COMMIT_SECONDS), "+Inf"]
        totals = accumulate(self._server.counters.commit_buckets)
        family.add_metric([], list(zip(bounds, map(float, totals), strict=True)), sum_value=seconds)
        return family
