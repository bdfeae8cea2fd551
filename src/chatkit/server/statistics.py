"""What a server counts, and how it stands at a moment."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping

from attrs import Factory, define, frozen

COMMIT_CHANGES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
"""Upper bounds of the buckets in which commits are counted by how many changes they hold."""
COMMIT_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Upper bounds of the buckets in which commits are counted by their duration."""


@define(eq=False)
class Counters:
    """What only ever grows, since the server started."""

    connections: int = 0
    logins: int = 0
    messages: int = 0
    """Durable events published."""
    deliveries: int = 0
    """Durable events times the sessions they were handed to live."""
    delivered_bytes: int = 0
    """Their bytes, as they are on the wire but for TLS."""
    received_bytes: int = 0
    """Bytes of requests."""
    blobs: int = 0
    """Writes that carried them."""
    fell_behind: int = 0
    """Times a session could not keep up and was served from its position."""
    commits: int = 0
    commit_failures: int = 0
    changes: int = 0
    """Changes committed, several in a commit."""
    commit_seconds: float = 0.0
    commit_seconds_buckets: list[int] = Factory(lambda: [0] * (len(COMMIT_SECONDS) + 1))
    commit_changes_buckets: list[int] = Factory(lambda: [0] * (len(COMMIT_CHANGES) + 1))
    refused: Counter[str] = Factory(Counter)
    """Refusals by error code."""
    closed: Counter[int] = Factory(Counter)
    """Links the server ended, by close code."""
    turned_away: Counter[str] = Factory(Counter)
    """Arrivals that did not become a connection, by reason."""

    def committed(self, changes: int, seconds: float) -> None:
        """Count one commit."""
        self.commits += 1
        self.changes += changes
        self.commit_seconds += seconds
        self.commit_seconds_buckets[bisect_left(COMMIT_SECONDS, seconds)] += 1
        self.commit_changes_buckets[bisect_left(COMMIT_CHANGES, changes)] += 1


@frozen(kw_only=True)
class Statistics:
    """How a server stands at a moment. Everything from ``connections_total`` on counts since it started."""

    connections: int
    sessions: int
    """Connections that are logged in."""
    users: int
    rooms: int
    lagging: int
    """Sessions that are served from a position rather than live."""
    waiting_bytes: int
    """Bytes pushed to links and not yet with the kernel."""
    waiting_changes: int
    """Changes submitted and not yet committed."""
    loop_delay: float
    """How late the event loop was at its last measurement, in seconds."""
    ready: bool
    """Whether the last commit succeeded and the server is not stopping."""
    connections_total: int
    logins_total: int
    messages_total: int
    deliveries_total: int
    delivered_bytes_total: int
    received_bytes_total: int
    fell_behind_total: int
    commits_total: int
    commit_failures_total: int
    changes_total: int
    commit_seconds_total: float
    refused_total: Mapping[str, int]
    closed_total: Mapping[int, int]
    turned_away_total: Mapping[str, int]
