"""What people were promised and what they saw, held against the log as it is in the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from attrs import define, field, frozen

from chatkit.client import Client
from chatkit.protocol.messages import ReceiveMessage


@define(eq=False)
class Witness:
    """What one client was told and saw, in one room."""

    name: str
    sent: set[str] = field(factory=set)
    """Ops of everything it tried to say."""
    acked: dict[str, tuple[str, int]] = field(factory=dict)
    """Op to the epoch and seq that the server acknowledged."""
    repeated: int = 0
    """How often it said something again because a link or a server was lost, and that had been kept the first time."""
    read: list[tuple[int, str]] = field(factory=list)
    """Seq and op of what its room's reader gave."""
    followed: list[tuple[int, str]] = field(factory=list)
    """The same of what it heard by following everything."""
    surprises: list[str] = field(factory=list)
    """What should not have happened to it at all."""


@frozen
class Log:
    """A room's log as it is in the end."""

    epoch: str
    rows: Sequence[tuple[int, str]]
    """Seq and op."""


async def fetched_log(client: Client, room: str = "general") -> Log:
    """Read a whole log, by its history."""
    rows: list[tuple[int, str]] = []
    while True:
        page = await client.rooms[room].history(after=rows[-1][0] if rows else 0, limit=1000)
        for entry in page.events:
            if isinstance(entry.event, ReceiveMessage):
                rows.append((entry.event.seq, entry.event.op or ""))
        if not page.more_after:
            return Log(page.epoch, rows)


@frozen(kw_only=True)
class Verdict:
    """The result of a comparison: how much was compared, and every violation as a sentence."""

    kept: int
    acked: int
    lost: int
    """Acknowledged, and not in the log where it was said to be."""
    repeated: int
    """Kept, but the acknowledgement never arrived: acknowledged when repeated."""
    doubled: int
    """Ops that are in the log more than once."""
    violations: Sequence[str]

    def __str__(self) -> str:
        told = f"{self.acked} acknowledged ({self.repeated} when repeated)"
        return f"{self.kept} kept, {told}, {self.lost} lost, {self.doubled} doubled"


def compare(log: Log, witnesses: Iterable[Witness]) -> Verdict:
    """Hold what the witnesses saw against the log. All of them must have seen its end."""
    witnesses = list(witnesses)
    found: list[str] = []
    at = dict(log.rows)
    if [seq for seq, _ in log.rows] != list(range(1, len(log.rows) + 1)):
        found.append("the log has holes, or is out of order")
    doubled = [op for op, times in Counter(op for _, op in log.rows).items() if times > 1]
    found += [f"{op} is in the log more than once" for op in doubled]
    lost = 0
    for witness in witnesses:
        for op, (epoch, seq) in witness.acked.items():
            if (epoch, at.get(seq)) != (log.epoch, op):
                lost += 1
                found.append(f"{witness.name}: {op} was acknowledged at {seq} of {epoch}, where {at.get(seq)} is")
        found += [f"{witness.name}: {surprise}" for surprise in witness.surprises]
        for how, seen in (("read", witness.read), ("followed", witness.followed)):
            found += [f"{witness.name} {how}: {what}" for what in _differences(seen, log)]
    known = set().union(*(witness.sent for witness in witnesses)) if witnesses else set()
    found += [f"{op} is in the log, and nobody said it" for _, op in log.rows if op not in known]
    acked = sum(len(witness.acked) for witness in witnesses)
    repeated = sum(witness.repeated for witness in witnesses)
    return Verdict(
        kept=len(log.rows), acked=acked, repeated=repeated, lost=lost, doubled=len(doubled), violations=found
    )


def _differences(seen: Sequence[tuple[int, str]], log: Log) -> Iterable[str]:
    """Say where what was seen is not the log from its first entry on, to the end."""
    if not seen:
        yield "nothing"
        return
    expected = log.rows[seen[0][0] - 1 :]
    if seen == expected:
        return
    for index, pair in enumerate(seen):
        if index >= len(expected) or pair != expected[index]:
            wanted = expected[index] if index < len(expected) else "the end"
            yield f"after {index} entries came {pair}, not {wanted}"
            return
    yield f"stopped at {seen[-1]}; the log goes on to {log.rows[-1]}"
