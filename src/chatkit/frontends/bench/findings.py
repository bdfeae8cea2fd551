"""What a measurement found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import field, frozen

BUSY = 0.85
"""A measuring program that is busy for a larger share of its time than this may have been the bottleneck."""


@frozen(kw_only=True)
class Findings:
    """What was asked for, and what came of it. Times are in seconds, sizes in bytes."""

    # What was asked for
    url: str
    members: int
    rooms: int
    rate: float
    size: int

    # What came of it
    seconds: float
    """From the first message to the last delivery."""
    logins_per_second: float
    said: int
    acknowledged: int
    refused: Mapping[str, int]
    """Messages the server refused, by error code."""
    deliveries: int
    lost: int
    """Deliveries of acknowledged messages that never came."""
    duplicates: int
    disordered: int
    """Deliveries whose ``seq`` was not higher than one before."""
    own_share: float
    """The share of the time this program was busy."""
    latencies: Sequence[float] = field(repr=False)
    """From when a message was due to each delivery, sorted."""

    @property
    def unanswered(self) -> int:
        """Messages the server neither acknowledged nor refused."""
        return self.said - self.acknowledged - sum(self.refused.values())

    @property
    def sound(self) -> bool:
        """Whether everything said reached everybody, once and in order."""
        return not (self.lost or self.duplicates or self.disordered or self.unanswered or self.refused)

    @property
    def bottleneck(self) -> bool:
        """Whether the measuring program itself may have been what limited the figures."""
        return self.own_share > BUSY

    def percentile(self, share: float) -> float | None:
        """Return the latency that this share of the deliveries did not exceed; None without deliveries."""
        if not self.latencies:
            return None
        return self.latencies[min(len(self.latencies) - 1, int(len(self.latencies) * share))]
