"""A network in memory whose links are slow, cut and half dead, by chance: for simulations.

Laws: a link's fate is drawn when it comes to be and plays out by the bytes that pass, so one seed gives one fate;
bytes arrive in order and unchanged up to the cut; after `Network.heal` every link still there is sound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import trio
from attrs import Factory, define, field, frozen

from chatkit import registry
from chatkit.errors import ConnectFailed, ListenFailed
from chatkit.transport.interface import Arrival, Connection, Encoding, Listener, TransportOptions
from chatkit.transport.lines import LineArrival, open_client_lines
from chatkit.transport.pipe import memory_pair
from chatkit.transport.stream import ByteStream
from chatkit.transport.websocket import WebSocketArrival, open_client_websocket

LINES = "sim-lines"
WEBSOCKET = "sim-ws"
GONE = (trio.BrokenResourceError, trio.ClosedResourceError)
HTTP_NAME = "ws://simulation"


@frozen(kw_only=True)
class LinkWeather:
    """How the links of a `Network` behave. Times in seconds, chances from 0 to 1, sizes in bytes."""

    cut: float = 0.0
    """Chance that a link is cut, after up to ``bytes_until`` bytes in one direction."""
    silent: float = 0.0
    """Chance that one direction of a link falls silent after up to ``bytes_until`` bytes."""
    bytes_until: int = 8_192
    noticed_after: float = 10.0
    """A link that has been silent in one direction this long is cut, as a kernel does."""
    capacities: tuple[int, ...] = (256, 2_048, 65_536)
    """What one side of a link holds in each direction; one is drawn for each link."""
    chunks: tuple[int, ...] = (1_460, 65_536)
    """Bytes carried at a time; one is drawn for each link."""
    slowest: float = 0.005
    """Each time takes up to this long."""


@define(eq=False)
class Lane:
    """One direction of a link."""

    source: ByteStream
    target: ByteStream
    left: int | None = None
    """Bytes until the link's fate strikes; None if it never does."""
    carried: int = 0
    ended: bool = False


@define(eq=False)
class SimulatedLink:
    """One link between a client and a server, as the network sees it."""

    network: Network
    number: int
    name: str
    """Who dialled."""
    up: Lane
    down: Lane
    random: Random
    chunk: int
    slowest: float
    silences: bool
    """Whether its fate, if it has one, is silence rather than a cut."""
    over: bool = False
    sound: bool = True
    """Nothing has happened to it yet."""
    _free: trio.Event = field(init=False, default=Factory(trio.Event))

    def __attrs_post_init__(self) -> None:
        self._free.set()

    def cut(self) -> None:
        """Break it, in both directions, with whatever is under way."""
        if not self.over:
            self.over, self.sound = True, False
            self.network.note(f"link {self.number} of {self.name} is cut")
            for lane in (self.up, self.down):
                lane.source.abort()
                lane.target.abort()
            self.network.links.pop(self.number, None)
            self.read_on()

    def stop_reading(self) -> None:
        """Let what the server sends wait, until `read_on`."""
        if self._free.is_set():
            self._free = trio.Event()

    def read_on(self) -> None:
        """Let it pass again."""
        self._free.set()

    async def run(self) -> None:
        """Carry bytes both ways until both have ended."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._carry, self.up, nursery)
            nursery.start_soon(self._carry, self.down, nursery)
        self.over = True
        for lane in (self.up, self.down):
            lane.source.close()
        self.network.links.pop(self.number, None)

    async def _carry(self, lane: Lane, nursery: trio.Nursery) -> None:
        try:
            while data := await lane.source.receive_some(self.chunk):
                await self._take_time(lane)
                passed = data if lane.left is None else data[: lane.left]
                await lane.target.send_all(passed)
                lane.carried += len(passed)
                if lane.left is not None:
                    lane.left -= len(passed)
                    if lane.left <= 0:
                        await self._strike(lane)
            lane.target.send_eof()
            lane.ended = True
        except GONE:
            self.cut()

    async def _take_time(self, lane: Lane) -> None:
        if lane is self.down:
            await self._free.wait()
        if self.slowest:
            await trio.sleep(self.random.uniform(0, self.slowest))

    async def _strike(self, lane: Lane) -> None:
        if not self.silences or self.network.healed:
            self.cut()
            return
        self.sound = False
        self.network.note(f"link {self.number} of {self.name} falls silent {'up' if lane is self.up else 'down'}")
        await trio.sleep(self.network.weather.noticed_after)
        self.cut()


class Network:
    """Listeners and links of one simulation. Its tasks run in ``nursery``; ``note`` is told what happens to links.

    Inside `Network.installed` the schemes ``sim-lines://`` and ``sim-ws://`` lead here: a server listens on
    ``sim-ws://server``, and a client that dials ``sim-ws://ann`` is known here as ``ann``.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        random: Random,
        weather: LinkWeather,
        *,
        note: Callable[[str], None] = lambda sentence: None,
        tap: Callable[[str, Connection], Connection] = lambda name, connection: connection,
    ) -> None:
        self.weather = weather
        self.links: dict[int, SimulatedLink] = {}
        self.note = note
        self.healed = False
        self._nursery = nursery
        self._random = random
        self._tap = tap
        self._listeners: dict[str, SimulatedListener] = {}
        self._made = 0

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Let the schemes lead here."""
        found = registry.installed
        ours = {
            "chatkit.listeners": _Entry(self.listen),
            "chatkit.connectors": _Entry(self.connect),
        }

        def with_ours(group: str) -> Any:
            here = {LINES: ours[group], WEBSOCKET: ours[group]} if group in ours else {}
            return {**found(group), **here}

        registry.installed = with_ours  # type: ignore[assignment]
        try:
            yield
        finally:
            registry.installed = found

    async def listen(self, url: str, options: TransportOptions) -> Listener:
        """Listen for one kind of link. Raises `ListenFailed` if somebody does already."""
        await trio.lowlevel.checkpoint()
        scheme = registry.scheme_of(url, "address")
        if scheme in self._listeners:
            raise ListenFailed(f"{url}: somebody listens there already")
        listener = self._listeners[scheme] = SimulatedListener(self, url, scheme, options)
        return listener

    async def connect(
        self, nursery: trio.Nursery, url: str, options: TransportOptions, encoding: Encoding
    ) -> Connection:
        """Dial. Raises `ConnectFailed` if nobody listens."""
        scheme, _, name = url.partition("://")
        await trio.sleep(self._random.uniform(0, self.weather.slowest))
        listener = self._listeners.get(scheme)
        if listener is None:
            raise ConnectFailed(f"{url}: nobody listens")
        stream = self._link(name, listener)
        if scheme == LINES:
            connection = open_client_lines(nursery, stream, url, options, encoding)
        else:
            connection = await open_client_websocket(nursery, stream, HTTP_NAME, options, encoding)
        return self._tap(name, connection)

    def of(self, name: str) -> list[SimulatedLink]:
        """Return the links somebody has, oldest first."""
        return [link for link in self.links.values() if link.name == name]

    def heal(self) -> None:
        """From now on nothing happens to links any more; those something happened to are cut."""
        self.healed = True
        for link in list(self.links.values()):
            link.up.left = link.down.left = None
            link.read_on()
            if not link.sound:
                link.cut()

    def forget(self, scheme: str, listener: SimulatedListener) -> None:
        """A listener was closed."""
        if self._listeners.get(scheme) is listener:
            del self._listeners[scheme]

    def _link(self, name: str, listener: SimulatedListener) -> ByteStream:
        self._made += 1
        random, weather = Random(f"{self._random.random()}"), self.weather
        capacity = random.choice(weather.capacities)
        near, outside = memory_pair(capacity, peer=name)
        inside, far = memory_pair(capacity, peer=name)
        up, down = Lane(outside, inside), Lane(inside, outside)
        fate = random.random()
        struck = not self.healed and fate < weather.cut + weather.silent
        if struck:
            random.choice((up, down)).left = random.randint(1, weather.bytes_until)
        link = SimulatedLink(
            network=self,
            number=self._made,
            name=name,
            up=up,
            down=down,
            random=random,
            chunk=random.choice(weather.chunks),
            slowest=random.choice((0.0, weather.slowest)),
            silences=fate >= weather.cut,
        )
        self.links[link.number] = link
        self.note(f"link {link.number} of {name} over {listener.scheme}")
        self._nursery.start_soon(link.run)
        listener.knock(far)
        return near


class SimulatedListener(Listener):
    """One kind of link, listened for."""

    def __init__(self, network: Network, url: str, scheme: str, options: TransportOptions) -> None:
        self.url = url
        self.scheme = scheme
        self._network = network
        self._options = options
        self._arrived, self._arrivals = trio.open_memory_channel[ByteStream](1024)

    def knock(self, stream: ByteStream) -> None:
        """Somebody is at the door."""
        self._arrived.send_nowait(stream)

    async def accept(self) -> Arrival:
        try:
            stream = await self._arrivals.receive()
        except trio.EndOfChannel:
            raise trio.ClosedResourceError from None
        if self.scheme == LINES:
            return LineArrival(stream, self._options, self.url)
        return WebSocketArrival(stream, self._options, HTTP_NAME)

    def close(self) -> None:
        self._network.forget(self.scheme, self)
        while True:
            try:
                self._arrivals.receive_nowait().abort()
            except (trio.WouldBlock, trio.EndOfChannel, trio.ClosedResourceError):
                break
        self._arrived.close()
        self._arrivals.close()


@frozen
class _Entry:
    """What an entry point is to the registry."""

    target: Any

    def load(self) -> Any:
        return self.target
