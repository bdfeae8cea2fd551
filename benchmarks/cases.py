"""What is measured: one function per kind of case, each a generator of figures from one server's run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import attrs
from attrs import field, frozen

from benchmarks import machine
from benchmarks.crowd import Crowd
from benchmarks.dialects import Chatkit
from benchmarks.load import Load, Result
from benchmarks.process import CONTENDERS, Contender, Process, running
from benchmarks.rooms import Makers, Returning, Ticket

Figures: TypeAlias = dict[str, Any]
OURS = ("chatkit", "chatkit-memory")
PEERS = ("uwebsockets", "picows", "websockets", "websockets-trio", "socketio", "epoll")
MISSED = 10
"""Messages a member has missed when it comes back."""


@frozen(kw_only=True)
class Effort:
    """How much of everything: a run's length, and the sizes of the cases."""

    seconds: float
    rounds: int
    many: int
    """Members of the idle and the resuming crowd."""
    members: Sequence[int]
    rooms: Sequence[int]
    sizes: Sequence[int]


FULL = Effort(
    seconds=3.0,
    rounds=5,
    many=5_000,
    members=(10, 50, 100, 200, 500, 1_000, 2_000, 5_000),
    rooms=(1, 10, 100, 1_000, 5_000),
    sizes=(50, 200, 1_024, 4_096, 16_384, 32_768),
)
QUICK = Effort(
    seconds=1.0, rounds=3, many=1_000, members=(10, 100, 1_000), rooms=(1, 10, 100), sizes=(50, 1_024, 32_768)
)
CHECK = Effort(seconds=0.2, rounds=1, many=20, members=(5, 20), rooms=(1, 5), sizes=(50, 32_768))
"""Only whether everything runs."""


@frozen(kw_only=True)
class Case:
    """One thing that is measured, for each of some servers."""

    name: str
    title: str
    contenders: Sequence[str] = (*OURS, *PEERS)
    run: Callable[[Contender, Effort, Path], Iterator[tuple[str, Figures]]] = field(repr=False)


# ── one room ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _crowd(process: Process, members: int, dialect: Chatkit | None = None) -> Iterator[Crowd]:
    crowd = Crowd(process.port, dialect or process.contender.dialect)
    try:
        crowd.open(range(members))
        crowd.settle(_quiet(members))
        yield crowd
    finally:
        crowd.close()


def _quiet(members: int) -> float:
    """Return how long nothing may arrive until all has: chatkit tells a crowd of its growth less and less often."""
    return 0.3 + members / 2500


def _of(result: Result, **more: Any) -> Figures:
    figures = {
        "cpu_per_delivery_us": result.cpu_per_delivery,
        "cpu_per_message_us": result.cpu_per_message,
        "deliveries_per_s": result.deliveries / result.seconds,
        "server_share": result.server_share,
        "generator_share": result.generator_share,
        "others_share": result.others,
        "bottleneck": result.bottleneck,
    }
    if result.latencies:
        figures |= {name: result.percentile(share) for name, share in PERCENTILES.items()}
    return figures | more


PERCENTILES = {"p50_ms": 0.5, "p99_ms": 0.99, "p999_ms": 0.999}


def fan_out(members: int, in_flight: Sequence[int], *, rate: int = 0) -> Callable[..., Iterator[tuple[str, Figures]]]:
    """One member talks, with so many messages under way; everybody listens. Then at a fixed rate, if one is given."""

    def run(contender: Contender, effort: Effort, directory: Path) -> Iterator[tuple[str, Figures]]:
        with running(contender, directory) as process, _crowd(process, members) as crowd:
            load = Load(process, crowd)
            load.calibrate()
            for window in in_flight:
                yield f"{members} members, {window} in flight", _of(load.closed(window, effort.seconds))
            if rate:
                yield f"{members} members, {rate}/s", _of(load.paced(rate, effort.seconds * 2))

    return run


def many_talk(members: int, in_flight: int) -> Callable[..., Iterator[tuple[str, Figures]]]:
    """As `fan_out`, but every message under way is another member's."""

    def run(contender: Contender, effort: Effort, directory: Path) -> Iterator[tuple[str, Figures]]:
        with running(contender, directory) as process, _crowd(process, members) as crowd:
            load = Load(process, crowd, senders=in_flight)
            load.calibrate()
            name = f"{members} members, {in_flight} in flight, {in_flight} talk"
            yield name, _of(load.closed(in_flight, effort.seconds))

    return run


def growth_in_members(contender: Contender, effort: Effort, directory: Path) -> Iterator[tuple[str, Figures]]:
    """The same load in larger and larger rooms."""
    for members in effort.members:
        with running(contender, directory) as process, _crowd(process, members) as crowd:
            load = Load(process, crowd)
            load.calibrate()
            yield f"members: {members}", _of(load.closed(20, effort.seconds / 2), x=members)


def growth_in_size(contender: Contender, effort: Effort, directory: Path) -> Iterator[tuple[str, Figures]]:
    """The same load with larger and larger messages."""
    for size in effort.sizes:
        with running(contender, directory) as process, _crowd(process, 50) as crowd:
            load = Load(process, crowd, size=size)
            load.calibrate()
            yield f"size: {size}", _of(load.closed(20, effort.seconds / 2), x=size)


# ── many ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def idle(contender: Contender, effort: Effort, directory: Path) -> Iterator[tuple[str, Figures]]:
    """Members who only listen: how fast they come in, what each holds of memory."""
    with running(contender, directory) as process:
        yield "start", {"seconds": process.started_in}
        empty, cpu = process.resident(), process.cpu()
        crowd = Crowd(process.port, contender.dialect)
        try:
            seconds = crowd.open(range(effort.many))
            crowd.settle(_quiet(effort.many))
            held = (process.resident() - empty) / effort.many / 1024
            spent = (process.cpu() - cpu) / effort.many * 1e6
            yield "idle", {"kib_per_member": held, "members": effort.many}
            yield "logins", {"logins_per_s": effort.many / seconds, "cpu_per_login_us": spent}
        finally:
            crowd.close()


def resumes(contender: Contender, effort: Effort, directory: Path) -> Iterator[tuple[str, Figures]]:
    """A crowd that comes back to a server that was killed and started again, having missed some messages."""
    with running(contender, directory, kill=True) as process, _crowd(process, effort.many) as crowd:
        load = Load(process, crowd)
        load.calibrate()
        load.closed(20, 0.1, warm_up=0.1)
        tickets, head = _tickets(crowd), 1 + load.said
    back = {member: attrs.evolve(ticket, seq=max(0, head - MISSED)) for member, ticket in tickets.items()}
    with running(contender, directory) as process:
        crowd = Crowd(process.port, Returning(back, head))
        try:
            cpu = process.cpu()
            seconds = crowd.open(range(effort.many))
            spent = (process.cpu() - cpu) / effort.many * 1e6
            yield "resumes", {"seconds": seconds, "cpu_per_resume_us": spent, "members": effort.many}
        finally:
            crowd.close()


def _tickets(crowd: Crowd) -> dict[int, Ticket]:
    tickets = {}
    for link in crowd.members:
        data = link.answer["data"]
        room = next(room for room in data["rooms"] if room["room"] == "general")
        tickets[link.member] = Ticket(data["token"], room["epoch"], room["head"])
    return tickets


def many_rooms(contender: Contender, effort: Effort, directory: Path) -> Iterator[tuple[str, Figures]]:
    """Rooms of two, one of whom talks; the same messages a second in all, however many rooms they are spread over.

    Everybody sees the list of all rooms, so that those who come in are told to everybody for minutes afterwards (at
    5,000 rooms 50 million lines, in a tenth of the server's time). The lists are put off: it is messages that are
    measured.
    """
    contender = attrs.evolve(contender, arguments=("--list-interval", str(LISTS_PUT_OFF)))
    for rooms in effort.rooms:
        dialect = Chatkit(rooms=rooms)
        with tempfile.TemporaryDirectory(dir=directory) as inner, running(contender, Path(inner)) as process:
            makers = Crowd(process.port, Makers(250, rooms))
            makers.open(range(-(-rooms // 250)))
            makers.close()
            with _crowd(process, 2 * rooms, dialect) as crowd:
                load = Load(process, crowd, rooms=rooms)
                load.calibrate()
                result = load.paced(ROOMS_RATE, effort.seconds * 2, record=False)
                yield f"rooms: {rooms}", _of(result, x=rooms)


ROOMS_RATE = 500
LISTS_PUT_OFF = 3_600.0
"""Seconds."""
CASES = {
    case.name: case
    for case in (
        Case(name="room", title="a room of 200: 1, 20, 100 in flight; 100/s", run=fan_out(200, (1, 20, 100), rate=100)),
        Case(name="big-room", title="a room of 1,000: 20 in flight", run=fan_out(1_000, (20,))),
        Case(name="many-talk", title="a room of 200: 20 in flight, 20 talk", run=many_talk(200, 20)),
        Case(name="ingest", title="one member, 50 in flight", run=fan_out(1, (50,))),
        Case(name="idle", title="a crowd comes in and stays", run=idle),
        Case(name="resumes", title="a crowd comes back after a restart", contenders=("chatkit",), run=resumes),
        Case(
            name="members",
            title="growth in members",
            contenders=(*OURS, "uwebsockets", "picows", "websockets"),
            run=growth_in_members,
        ),
        Case(
            name="sizes",
            title="growth in message size",
            contenders=(*OURS, "uwebsockets", "picows", "websockets"),
            run=growth_in_size,
        ),
        Case(name="rooms", title="growth in rooms of two", contenders=OURS, run=many_rooms),
    )
}


def contenders_of(case: Case, only: Sequence[str]) -> list[Contender]:
    """Return the servers a case is measured for."""
    return [CONTENDERS[name] for name in case.contenders if not only or name in only]


def measured(case: Case, contender: Contender, effort: Effort) -> Iterator[tuple[str, Figures]]:
    """Measure a case for one server once, on a new store on a real disk."""
    with tempfile.TemporaryDirectory(prefix="chatkit-bench-", dir="/var/tmp") as directory:
        yield from case.run(contender, effort, Path(directory))


def pin_generator() -> None:
    """Keep the generator on its core, with as many descriptors as may be."""
    machine.raise_descriptor_limit()
    machine.pin(machine.cores()[0])
