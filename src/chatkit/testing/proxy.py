"""A bad network, on purpose: a TCP proxy that delays, splits, throttles, cuts, resets and swallows, by a seed.

Laws: bytes are never changed, reordered or repeated; in each direction what arrives is a prefix of what was sent, lost
only from some point on. What befalls a link depends on the seed and on which link it is, counted from 1, and on
nothing else. However the block ends, every socket is closed.
"""

from __future__ import annotations

import math
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from enum import Enum
from random import Random
from types import TracebackType
from typing import TypeAlias

import trio
from attrs import define, evolve, field, frozen

from chatkit.errors import ListenFailed
from chatkit.private import private_nursery
from chatkit.transport.address import Address, listen_sentence, parse

CHUNK_BYTES = 65_536
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER for closing with a reset."""
BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)


class Ending(Enum):
    """How a link is lost: an orderly end (CUT), a reset (RESET), or not at all, as far as anybody can see: one
    direction carries nothing any more, not even its end (SWALLOW)."""

    CUT = "cut"
    RESET = "reset"
    SWALLOW = "swallow"


@frozen(kw_only=True)
class Way:
    """What befalls the bytes of one direction."""

    delay: float = 0.0
    """Seconds that what was read at once (up to 64 KiB) waits before it goes on."""
    rate: float = math.inf
    """Bytes per second."""
    piece: int = CHUNK_BYTES
    """Bytes written at once, at most; 1 splits into single bytes."""
    after: int | None = None
    """Bytes that pass before ``ending`` comes; None for all of them."""
    ending: Ending = Ending.CUT
    """CUT and RESET end both directions, SWALLOW this one."""


@frozen(kw_only=True)
class Plan:
    """What befalls one link. Without arguments: nothing."""

    up: Way = field(factory=Way)
    """From the client to the server."""
    down: Way = field(factory=Way)
    """From the server to the client."""
    lifetime: float = math.inf
    """Seconds from the beginning until the link ends, if it has not by then."""
    ending: Ending = Ending.CUT
    """How it then ends; SWALLOW counts as RESET."""


Planner: TypeAlias = Callable[[Random, int], Plan]
"""Makes the plan of a link from its own source of randomness and its number, from 1."""


def mixed_faults(every: float = 4.0) -> Planner:
    """Return a planner for a little of everything: each link is lost after half to one and a half times ``every``
    seconds or, one in four, after a number of bytes; some are slow, split into single bytes, or half open before.

    Half open is never for longer than that, so nobody needs a heartbeat to go on.
    """

    def plan(random: Random, number: int) -> Plan:
        up, down = _drawn_way(random), _drawn_way(random)
        if random.random() < 0.25:
            lost = evolve(up, after=int(2 ** random.uniform(0, 12)), ending=random.choice(list(Ending)))
            up, down = (lost, down) if random.random() < 0.5 else (up, evolve(lost, piece=down.piece))
        ending = random.choice((Ending.CUT, Ending.RESET))
        return Plan(up=up, down=down, lifetime=every * random.uniform(0.5, 1.5), ending=ending)

    return plan


def _drawn_way(random: Random) -> Way:
    return Way(
        delay=random.choice((0.0, 0.0, 0.0, random.uniform(0.001, 0.1))),
        rate=random.choice((math.inf, math.inf, math.inf, random.uniform(20_000, 200_000))),
        piece=random.choice((CHUNK_BYTES, CHUNK_BYTES, CHUNK_BYTES, CHUNK_BYTES, random.randint(2, 64), 1)),
    )


@define(eq=False)
class Counters:
    """What a proxy has done so far."""

    links: int = 0
    """Links accepted."""
    refused: int = 0
    """Links reset at once, because the server could not be reached."""
    cut: int = 0
    reset: int = 0
    swallowed: int = 0
    """Directions that carry nothing any more while the link seems to be there."""
    passed: int = 0
    """Bytes carried over, both ways."""
    lost: int = 0
    """Bytes taken and not carried over; what the kernel drops at a reset is not among them."""


class FaultProxy:
    """A proxy before the server at ``url`` that makes the network bad, for as long as its block lasts.

    ::

        async with FaultProxy(server.addresses[0], seed=7) as proxy, chatkit.connect(proxy.url, user="ann") as ann:
            await ann.rooms["general"].send("hello")
            proxy.cut_all()
            await ann.rooms["general"].send("still here")

    ``url`` is any address with a host and a port: the proxy carries bytes and looks at none, so TLS passes too, where
    the certificate is good for ``127.0.0.1``. ``plan`` says what befalls each link; it is given a random source that
    the ``seed`` and the number of the link decide.

    Entering listens on a free port of 127.0.0.1 and raises `ListenFailed` if it cannot, `UsageError` for a malformed
    URL. Leaving and cancelling reset every link at once.
    """

    def __init__(self, url: str, *, seed: int = 0, plan: Planner | None = None) -> None:
        self.counters = Counters()
        """What was done so far."""
        self._target = parse(url, default_port=443 if url.lower().startswith("wss:") else 80)
        self._address: Address | None = None
        self._seed = seed
        self._plan = plan or mixed_faults()
        self._links: set[_Link] = set()
        self._running: AbstractAsyncContextManager[None] | None = None

    @property
    def url(self) -> str:
        """The address to connect to instead of the server's; there is one inside the block only."""
        if self._address is None:
            raise RuntimeError("a FaultProxy has an address inside its block only")
        return self._address.url

    @property
    def open_links(self) -> int:
        """How many links there are now."""
        return len(self._links)

    def cut_all(self, ending: Ending = Ending.RESET) -> int:
        """Lose every link there is now; return how many. Those made later are not affected."""
        links = list(self._links)
        for link in links:
            link.lose(ending)
        return len(links)

    async def __aenter__(self) -> FaultProxy:
        running = self._run()
        await running.__aenter__()
        self._running = running
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        running, self._running, self._address = self._running, None, None
        return None if running is None else await running.__aexit__(kind, error, trace)

    @asynccontextmanager
    async def _run(self) -> AsyncIterator[None]:
        try:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        except OSError as error:
            raise ListenFailed(f"the proxy for {self._target.url}: {listen_sentence(error)}") from error
        self._address = evolve(self._target, host="127.0.0.1", port=listener.socket.getsockname()[1])
        async with listener, private_nursery(lambda nursery: nursery.cancel_scope.cancel()) as nursery:
            nursery.start_soon(trio.serve_listeners, self._carry, [listener])
            yield

    async def _carry(self, client: trio.SocketStream) -> None:
        self.counters.links += 1
        number = self.counters.links
        plan = self._plan(Random(f"{self._seed}/{number}"), number)
        try:
            server = await trio.open_tcp_stream(self._target.host, self._target.port)
        except OSError:
            self.counters.refused += 1
            _close(client, reset=True)
            return
        except BaseException:
            _close(client, reset=True)
            raise
        link = _Link(client, server, plan, self.counters)
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)


class _Link:
    """Two sockets and what is carried between them."""

    def __init__(self, client: trio.SocketStream, server: trio.SocketStream, plan: Plan, counters: Counters) -> None:
        self._plan = plan
        self._counters = counters
        self._ends = (client, server)
        self._over = trio.CancelScope()
        self._reset = False
        self._up = _Direction(self, client, server, plan.up, counters)
        self._down = _Direction(self, server, client, plan.down, counters)
        self._up.opposite, self._down.opposite = self._down, self._up

    async def run(self) -> None:
        """Carry both directions until the link is lost or both have ended."""
        try:
            with self._over, trio.move_on_after(self._plan.lifetime) as life:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._up.run)
                    nursery.start_soon(self._down.run)
            if life.cancelled_caught:
                self.lose(Ending.RESET if self._plan.ending is Ending.SWALLOW else self._plan.ending)
        except BaseException:
            self._reset = True
            raise
        finally:
            for end in self._ends:
                _close(end, reset=self._reset)

    def lose(self, ending: Ending) -> None:
        """Lose the link, from now on."""
        if self._over.cancel_called:
            return
        match ending:
            case Ending.SWALLOW:
                self._up.swallow()
                self._down.swallow()
                return
            case Ending.CUT:
                self._counters.cut += 1
            case Ending.RESET:
                self._counters.reset += 1
        self.end(reset=ending is Ending.RESET)

    def end(self, *, reset: bool) -> None:
        """Let go of both ends."""
        self._reset = self._reset or reset
        self._over.cancel()


class _Direction:
    """One direction of a link."""

    opposite: _Direction

    def __init__(
        self, link: _Link, source: trio.SocketStream, sink: trio.SocketStream, way: Way, counters: Counters
    ) -> None:
        self._link = link
        self._source = source
        self._sink = sink
        self._way = way
        self._left = math.inf if way.after is None else way.after
        self._counters = counters
        self.swallowing = False
        """Nothing is carried any more, not even the end."""
        self._sink_gone = False

    def swallow(self) -> None:
        """Carry nothing more, not even the end."""
        self._counters.swallowed += not self.swallowing
        self.swallowing = True

    async def run(self) -> None:
        """Carry what comes, until its end."""
        try:
            if self._left <= 0:
                self._befall()
            while data := await self._source.receive_some(CHUNK_BYTES):
                await self._carry(bytes(data))
        except BROKEN:
            if not self.swallowing:
                self._link.end(reset=True)
            return
        if not self.swallowing:
            with suppress(*BROKEN):
                await self._sink.send_eof()

    async def _carry(self, data: bytes) -> None:
        way = self._way
        if way.delay:
            await trio.sleep(way.delay)
        passing = data[: int(min(len(data), self._left))]
        for start in range(0, len(passing), way.piece):
            await self._pass_on(passing[start : start + way.piece])
        self._counters.lost += len(data) - len(passing)
        self._left -= len(passing)
        if self._left <= 0:
            self._befall()

    async def _pass_on(self, piece: bytes) -> None:
        if self.swallowing or self._sink_gone:
            self._counters.lost += len(piece)
            await trio.lowlevel.checkpoint()
            return
        try:
            await self._sink.send_all(piece)
        except BROKEN:
            self._sink_gone = True
            if not self.opposite.swallowing:  # else nobody hears of it: that news travels the other way
                self._link.end(reset=True)
            return
        self._counters.passed += len(piece)
        if self._way.rate < math.inf:
            await trio.sleep(len(piece) / self._way.rate)

    def _befall(self) -> None:
        """The bytes that were to pass have passed."""
        if self._way.ending is Ending.SWALLOW:
            self.swallow()
        else:
            self._link.lose(self._way.ending)


def _close(stream: trio.SocketStream, *, reset: bool) -> None:
    if reset:
        with suppress(OSError):
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    stream.socket.close()
