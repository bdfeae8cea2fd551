"""Members who talk at a fixed rate, and listen: what they hear, when, and what is missing.

Laws: a message is due at its time whatever became of the ones before, and its latency counts from then; what counts
as said is what the server acknowledged.
"""

from __future__ import annotations

import math
import secrets
import ssl
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import orjson
import trio
from attrs import Factory, define, frozen

from chatkit.errors import ConnectFailed, ProtocolError, RequestFailed, UsageError
from chatkit.frontends.bench.findings import Findings
from chatkit.private import private_nursery
from chatkit.protocol import messages as m
from chatkit.protocol.codec import Codec
from chatkit.transport import TransportOptions, open_connection

if TYPE_CHECKING:
    from chatkit.transport.interface import Connection

Progress = Callable[[str, int, int], None]
CAME, SAID = "members come in", "messages are said"

ARRIVING = 16
"""Members who log in at the same time."""
SETTLE_SECONDS = 10.0
"""How long the last deliveries may take before they count as lost."""
LEAST_SIZE = 16
"""Bytes a message needs for its number."""


@frozen(kw_only=True)
class Plan:
    """What is to be measured. Raises `UsageError` if it makes no sense."""

    url: str
    members: int
    rooms: int
    rate: float
    """Messages per second, of all members together."""
    duration: float
    """Seconds."""
    size: int
    """Bytes of a message's text."""
    ssl_context: ssl.SSLContext | None = None
    """For ``wss://`` and ``tls://``; None: the system's authorities verify the server."""

    def __attrs_post_init__(self) -> None:
        for wrong, sentence in (
            (self.members < 1, "there must be at least one member"),
            (not 1 <= self.rooms <= self.members, "there must be at least one room, and a member for each"),
            (not 0 < self.rate < math.inf, "the rate must be more than 0"),
            (not 0 < self.duration < math.inf, "the duration must be more than 0"),
            (self.size < LEAST_SIZE, f"a message must have at least {LEAST_SIZE} bytes"),
        ):
            if wrong:
                raise UsageError(sentence)

    @property
    def messages(self) -> int:
        """How many messages are said in all."""
        return max(1, round(self.rate * self.duration))


@define(eq=False)
class Member:
    """One connected guest: asks while it comes in, then talks and listens."""

    connection: Connection
    codec: Codec
    room: str
    owns: bool
    """Whether it has made the room, and deletes it in the end."""
    received: int = 0
    duplicates: int = 0
    disordered: int = 0
    _seq: int = 0
    _seen: set[int] = Factory(set)

    async def ask(self, request: m.Request[Any]) -> None:
        """Send a request and wait for its success. Raises `RequestFailed`, `Disconnected`."""
        await self.connection.send(self.codec.encode_request(request, "bench"))
        while True:
            said = _loaded(await self.connection.receive())
            if said["action"] in ("success", "error") and said.get("ref") == "bench":
                break
        if said["action"] == "error":
            raise _failure(said["data"])

    async def say(self, number: int, text: str) -> None:
        """Say a message; its number is its ref."""
        await self.connection.send(self.codec.encode_request(m.SendMessage(room=self.room, text=text), number))

    def heard(self, seq: int, number: int) -> bool:
        """Count a delivery; say whether it is the first of this message."""
        if number in self._seen:
            self.duplicates += 1
            return False
        self._seen.add(number)
        self.received += 1
        self.disordered += seq <= self._seq
        self._seq = max(self._seq, seq)
        return True


class Tally:
    """What all members have heard together."""

    def __init__(self, plan: Plan) -> None:
        self.due: list[float] = []
        self.latencies = array("d")
        self.acknowledged: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.answered = 0
        self.delivered = 0
        self._plan = plan
        self._listeners = Counter(number % plan.rooms for number in range(plan.members))
        self.expected = 0
        self.changed = trio.Event()

    def take(self, member: Member, raw: bytes) -> None:
        """Take in what one member received. Raises `ProtocolError`."""
        said = _loaded(raw)
        action, data = said["action"], said["data"]
        if action == "receive_message":
            number = int(data["text"][:LEAST_SIZE])
            if member.heard(data["seq"], number):
                self.latencies.append(trio.current_time() - self.due[number])
                self.delivered += 1
        elif action == "success":
            self.answered += 1
            self.acknowledged[member.room] += 1
            self.expected += self._listeners[int(said["ref"]) % self._plan.members % self._plan.rooms]
        elif action == "error":
            self.answered += 1
            self.refused[data["code"]] += 1
        else:
            return
        self.changed.set()

    @property
    def complete(self) -> bool:
        """Whether everything said is answered, and everything acknowledged has reached everybody."""
        return self.answered >= len(self.due) and self.delivered >= self.expected


async def measure(plan: Plan, progress: Progress = lambda stage, done, total: None) -> Findings:
    """Carry out a plan and return what was found. ``progress`` is called with a stage, what is done, and the total.

    Raises `ConnectFailed`, `RequestFailed` (nobody could log in, or make a room), `Disconnected` if a link breaks.
    Cancelling hangs up at once and leaves the rooms.
    """
    async with private_nursery(lambda nursery: nursery.cancel_scope.cancel()) as nursery:
        began = trio.current_time()
        members = await _gather(plan, nursery, progress)
        arrived_in = trio.current_time() - began
        tally = Tally(plan)
        async with private_nursery(lambda listening: listening.cancel_scope.cancel()) as listening:
            for member in members:
                listening.start_soon(_listen, member, tally)
            with _spent() as spent:
                await _talk(plan, members, tally, progress)
                await _settle(tally)
        findings = _findings(plan, members, tally, arrived_in, spent)
        await _depart(members)
    return findings


# ── coming and going ─────────────────────────────────────────────────────────────────────────────────────────────────


async def _gather(plan: Plan, nursery: trio.Nursery, progress: Progress) -> list[Member]:
    """Bring everybody in: first whoever makes a room, then the others."""
    run = secrets.token_hex(4)
    found: dict[int, Member] = {}
    places = trio.CapacityLimiter(ARRIVING)

    async def come(number: int) -> None:
        async with places:
            found[number] = await _come(plan, nursery, run, number)
        progress(CAME, len(found), plan.members)

    for numbers in (range(plan.rooms), range(plan.rooms, plan.members)):
        async with private_nursery(lambda _: None) as arriving:
            for number in numbers:
                arriving.start_soon(come, number)
    return [found[number] for number in range(plan.members)]


async def _come(plan: Plan, nursery: trio.Nursery, run: str, number: int) -> Member:
    connection = await open_connection(nursery, plan.url, TransportOptions(ssl_context=plan.ssl_context))
    owns = number < plan.rooms
    room = f"bench-{run}-{number % plan.rooms}"
    member = Member(connection, Codec(connection.format.encoding), room, owns)
    try:
        hello = _loaded(await connection.receive())
    except ProtocolError as error:
        raise ConnectFailed(f"{plan.url} is no chatkit server: {error}") from error
    if hello["action"] != "hello":
        raise ConnectFailed(f"{plan.url} is no chatkit server: it did not say hello")
    # Resuming nothing is being in no room: the people in general need not hear of us.
    await member.ask(m.Login(user=f"bench-{run}-{number:05}", resume={}))
    await member.ask(m.CreateRoom(room=room) if owns else m.JoinRoom(room=room))
    return member


async def _depart(members: list[Member]) -> None:
    with trio.move_on_after(SETTLE_SECONDS):
        for member in members:
            if member.owns:
                await member.ask(m.DeleteRoom(room=member.room))
        async with private_nursery(lambda _: None) as nursery:
            for member in members:
                nursery.start_soon(member.connection.aclose)


# ── talking and listening ────────────────────────────────────────────────────────────────────────────────────────────


async def _talk(plan: Plan, members: list[Member], tally: Tally, progress: Progress) -> None:
    begin = trio.current_time()
    for number in range(plan.messages):
        due = begin + number / plan.rate
        await trio.sleep_until(due)
        tally.due.append(due)
        text = f"{number:0{LEAST_SIZE}}".ljust(plan.size, "x")
        await members[number % len(members)].say(number, text)
        progress(SAID, number + 1, plan.messages)


async def _settle(tally: Tally) -> None:
    with trio.move_on_after(SETTLE_SECONDS):
        while not tally.complete:
            tally.changed = trio.Event()
            await tally.changed.wait()


async def _listen(member: Member, tally: Tally) -> None:
    while True:
        tally.take(member, await member.connection.receive())


# ── reckoning ────────────────────────────────────────────────────────────────────────────────────────────────────────


@define
class _Spent:
    seconds: float = 0.0
    cpu: float = 0.0


@contextmanager
def _spent() -> Iterator[_Spent]:
    spent, began, cpu = _Spent(), time.perf_counter(), time.process_time()
    yield spent
    spent.seconds, spent.cpu = time.perf_counter() - began, time.process_time() - cpu


def _findings(plan: Plan, members: list[Member], tally: Tally, arrived_in: float, spent: _Spent) -> Findings:
    return Findings(
        url=plan.url,
        members=plan.members,
        rooms=plan.rooms,
        rate=plan.rate,
        size=plan.size,
        seconds=spent.seconds,
        logins_per_second=plan.members / arrived_in,
        said=len(tally.due),
        acknowledged=tally.acknowledged.total(),
        refused=dict(tally.refused),
        deliveries=tally.delivered,
        lost=max(0, tally.expected - tally.delivered),
        duplicates=sum(member.duplicates for member in members),
        disordered=sum(member.disordered for member in members),
        own_share=spent.cpu / spent.seconds,
        latencies=sorted(tally.latencies),
    )


def _loaded(raw: bytes) -> dict[str, Any]:
    try:
        said = orjson.loads(raw)
        said["action"], said["data"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise ProtocolError("the server sent nonsense") from error
    loaded: dict[str, Any] = said
    return loaded


def _failure(data: dict[str, Any]) -> RequestFailed:
    return RequestFailed(str(data.get("code")), str(data.get("message")), retry_after=data.get("retry_after"))
