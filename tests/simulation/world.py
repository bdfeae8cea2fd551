"""One world from one seed: a server on a store that fails, links that break, people who do all there is to do.

A run has two halves. In the first everything may happen. Then everything is healed, everybody catches up, and what
each of them holds is compared with the log, with each other and with somebody who has just come.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from random import Random
from typing import Any

import trio
from actors import BACKOFF, Actor
from attrs import define, field, frozen

from chatkit.backend.memory import MemoryBackend
from chatkit.backend.memory_store import MemoryStore
from chatkit.backend.records import CreateRoom, RoomRecord, Row
from chatkit.client import Client, connect
from chatkit.errors import StorageUnavailable
from chatkit.protocol.messages import Entry, ReceiveMessage
from chatkit.server import Server, ServerConfig, open_server
from chatkit.testing.history import History
from chatkit.testing.simulation import simulate
from chatkit.testing.simulation_links import LINES, WEBSOCKET, LinkWeather, Network
from chatkit.testing.simulation_store import FaultyBackend, StoreWeather
from chatkit.testing.simulation_tap import TappedConnection, log_name
from chatkit.transport.interface import TransportOptions

DAY_MS = 86_400_000
EPOCH_MS = 1_780_000_000_000
PATIENCE = 40.0
"""Seconds of simulated time that may pass until everybody has done what they set out to do, and again until they have
caught up. No fault lasts nearly as long."""


class WorldBroken(AssertionError):
    """Something other than a history went wrong: somebody is stuck, differs, or is left over."""


@frozen(kw_only=True)
class Plan:
    """What a seed makes of a world."""

    seed: int
    people: int
    steps: int
    restarts: int
    forgetful: float
    """Chance that a restart is one of a store in memory: everything is gone."""
    links: LinkWeather
    store: StoreWeather
    config: ServerConfig = field(repr=False)

    @classmethod
    def of(cls, seed: int, random: Random, world: World) -> Plan:
        """Draw one."""
        pick = random.choice
        links = LinkWeather(
            cut=pick((0.0, 0.4, 0.7)),
            silent=pick((0.0, 0.0, 0.25)),
            bytes_until=pick((1_500, 6_000)),
            noticed_after=4.0,
            capacities=pick(((256,), (256, 2_048, 65_536))),
            chunks=pick(((200, 1_460), (1_460, 65_536))),
            slowest=pick((0.0, 0.002, 0.02)),
        )
        store = StoreWeather(
            slowest=pick((0.002, 0.02, 0.1)),
            fails_before=pick((0.0, 0.1)),
            fails_after=pick((0.0, 0.1)),
            read_fails=pick((0.0, 0.0, 0.1)),
        )
        config = ServerConfig(
            transport=TransportOptions(
                outlet_bytes=pick((256, 1_024, 8_192)),
                handshake_timeout=2.0,
                write_timeout=3.0,
                close_timeout=0.5,
            ),
            in_flight_messages=pick((4, 32)),
            heartbeat=3.0,
            heartbeat_grace=2.0,
            login_timeout=10.0,
            linger=pick((0.2, 1.0)),
            ring_events=pick((2, 8, 64)),
            ring_bytes=pick((1_000, 100_000)),
            blob_bytes=pick((1_000, 4_096)),
            pull_bytes=pick((600, 4_096)),
            page_bytes=4_096,
            stop_timeout=2.0,
            rate_limits=pick((True, False)),
            now_ms=world.now_ms,
            secret=world.secret,
        )
        return cls(
            seed=seed,
            people=random.randint(2, 4),
            steps=random.randint(5, 12),
            restarts=pick((0, 1, 2)),
            forgetful=pick((0.0, 0.5)),
            links=links,
            store=store,
            config=config,
        )


@define(eq=False, repr=False)
class World:
    """Everything of one run."""

    seed: int
    random: Random
    nursery: trio.Nursery
    history: History = field(factory=History)
    trace: list[str] = field(factory=list)
    """Everything that happened, as text: equal for equal seeds."""
    stores: list[MemoryStore] = field(factory=list)
    end: trio.Event = field(factory=trio.Event)
    """Everybody may go."""
    plan: Plan = field(init=False)
    network: Network = field(init=False)
    backend: FaultyBackend = field(init=False)
    actors: list[Actor] = field(init=False, factory=list)
    server: Server | None = field(init=False, default=None)
    _server_scope: trio.CancelScope = field(init=False, factory=trio.CancelScope)
    _secrets: Random = field(init=False)
    _jump_ms: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self._secrets = Random(f"{self.seed}/secrets")
        self.plan = Plan.of(self.seed, self.random, self)
        self.network = Network(
            self.nursery, Random(f"{self.seed}/links"), self.plan.links, note=self.note, tap=self._tapped
        )
        self.new_store()

    def _tapped(self, name: str, connection: Any) -> TappedConnection:
        return TappedConnection(connection, self.history, name)

    def note(self, sentence: str) -> None:
        """Write something into the trace."""
        self.trace.append(f"{trio.current_time():.6f} {sentence}")

    def now_ms(self) -> int:
        """The time of day, which jumps."""
        return EPOCH_MS + self._jump_ms + int(trio.current_time() * 1000)

    def secret(self, size: int) -> str:
        """Randomness for ids and tokens."""
        return self._secrets.randbytes(size).hex()

    def jump(self) -> None:
        """Set the clock on the wall a day forth or back."""
        self._jump_ms += self.random.choice((-DAY_MS, DAY_MS))
        self.note(f"the clock shows {self.now_ms()}")

    def new_store(self) -> None:
        """Begin with an empty store."""
        self.stores.append(MemoryStore())
        random = Random(f"{self.seed}/store/{len(self.stores)}")
        self.backend = FaultyBackend(MemoryBackend(self.stores[-1]), random, self.plan.store)

    # ── the server ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def run_server(self) -> None:
        """Keep a server running until everybody has gone."""
        while not self.end.is_set():
            with trio.CancelScope() as self._server_scope:
                try:
                    await self._serve()
                except StorageUnavailable:
                    self.note("the server could not start")
            self.server = None
            self.note("the server is down")
            self.power_cut()
            if not self.network.healed and self.random.random() < self.plan.forgetful:
                self.note("the store forgets everything")
                self.new_store()
            await trio.sleep(self.random.uniform(0, 0.5))

    async def _serve(self) -> None:
        listen = [f"{LINES}://server", f"{WEBSOCKET}://server"]
        async with open_server(self.backend, listen=listen, config=self.plan.config) as server:
            self.server = server
            self.note("the server is up")
            await server.wait_stopped()

    def power_cut(self) -> None:
        """What a store that keeps its word loses when the server goes down: nothing."""

    async def restart_sometimes(self) -> None:
        """Stop the server now and then, politely or not; set the clock."""
        for _ in range(self.plan.restarts):
            await trio.sleep(self.random.uniform(0.2, 4.0))
            if self.random.random() < 0.5:
                self.jump()
            if self.server is None or self.network.healed:
                continue
            if self.random.random() < 0.5:
                self.note("the server is stopped")
                self.server.stop()
            else:
                self.note("the server is killed")
                self._server_scope.cancel()

    # ── the run ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def live(self) -> None:
        """Live through both halves, and judge."""
        self.nursery.start_soon(self.run_server)
        self.nursery.start_soon(self.restart_sometimes)
        for number in range(self.plan.people):
            actor = Actor(self, f"p{number}", Random(f"{self.seed}/actor/{number}"))
            self.actors.append(actor)
            self.nursery.start_soon(actor.live)
        with trio.move_on_after(30.0):
            for actor in self.actors:
                await actor.wait_ready()
        self.heal()
        await self._until("everybody is done", lambda: all(actor.ready for actor in self.actors))
        await self._until_caught_up()
        await self._judge()

    def heal(self) -> None:
        """From now on nothing goes wrong."""
        self.note("everything is healed")
        self.network.heal()
        self.backend.weather = StoreWeather()
        for actor in self.actors:
            actor.healed()

    async def _until_caught_up(self) -> None:
        logs: dict[str, RoomRecord] = {}

        async def look() -> None:
            snapshot = await self.backend.inner.directory.snapshot()
            logs.clear()
            logs.update({record.name: record for record in snapshot.rooms})

        await look()
        quiet = 0
        with trio.move_on_after(PATIENCE) as patience:
            while quiet < 4:
                await trio.sleep(0.5)
                await look()
                quiet = quiet + 1 if all(actor.has_caught_up(logs) for actor in self.actors) else 0
        if patience.cancelled_caught:
            await self._final_logs()
            self.history.check()  # it may know the cause
            lines = [actor.standing(logs) for actor in self.actors]
            raise WorldBroken("somebody never caught up\n" + "\n".join(lines))

    async def _until(self, what: str, condition: Any) -> None:
        for _ in range(int(PATIENCE * 4)):
            if condition():
                return
            await trio.sleep(0.25)
        raise WorldBroken(f"never came about: {what}\n" + "\n".join(repr(actor) for actor in self.actors))

    # ── judging ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _judge(self) -> None:
        rows = await self._final_logs()
        self.history.check()
        async with self._newcomer() as fresh:
            await trio.sleep(1.0)
            for actor in self.actors:
                self._compare(actor, fresh, rows)

    async def _final_logs(self) -> dict[str, list[Row]]:
        """Tell the history what is kept and what is gone; return the rows by the room's name."""
        for store in self.stores[:-1]:
            for record in await _every_room(MemoryBackend(store)):
                self.history.forget(log_name(record.name, record.epoch))
        backend = self.backend.inner
        kept = [room for room in (await backend.directory.snapshot()).rooms if room.name != "#audit"]
        epochs = {record.epoch for record in kept}
        for record in await _every_room(backend):
            if record.epoch not in epochs:
                self.history.forget(log_name(record.name, record.epoch))
        found: dict[str, list[Row]] = {}
        for record in kept:
            page = await backend.log.read(record.room_id, after=0, limit=1_000_000, max_bytes=2**40)
            found[record.name] = list(page.rows)
            log = log_name(record.name, record.epoch)
            self.history.keep(log, [(row.seq, row.op) for row in page.rows])
            for actor in self.actors:
                actor.tell_end(record.name, log, len(page.rows))
        return found

    @asynccontextmanager
    async def _newcomer(self) -> AsyncIterator[Client]:
        async with connect(f"{LINES}://fresh", user="fresh", reconnect=BACKOFF, entropy=Random(0)) as fresh:
            for name in sorted(fresh.state.rooms):
                await fresh.join(name, history=1000)
            yield fresh

    def _compare(self, actor: Actor, fresh: Client, rows: dict[str, list[Row]]) -> None:
        mine, theirs = actor.client.state, fresh.state
        public = {name for name, room in mine.rooms.items() if not room.summary.private}
        _same(f"{actor.name}'s public rooms", public, set(theirs.rooms))
        for name in sorted(theirs.rooms):
            _same(f"{actor.name}'s summary of {name}", mine.rooms[name].summary, theirs.rooms[name].summary)
        for room in (*mine.joined, *theirs.joined):
            entries = [_facts_of(entry) for entry in room.window.entries]
            log = [_facts_in(row) for row in rows[room.name]]
            _same(f"{actor.name}'s or fresh's window of {room.name}", entries, log[len(log) - len(entries) :])
            if room.name in theirs.rooms and not room.members_stale:
                _same(f"{actor.name}'s members of {room.name}", set(room.members), set(theirs.rooms[room.name].members))
        for room in mine.joined:
            _same(f"{actor.name}'s pending in {room.name}", room.pending, {})


async def _every_room(backend: MemoryBackend | Any) -> list[RoomRecord]:
    """Return every room a store has ever had."""
    found: list[RoomRecord] = []
    with trio.move_on_after(0.001):
        async with backend.log.tail(0) as feed:
            async for batch in feed:
                found += [item.room for item in batch.items if isinstance(item, CreateRoom)]
    return found


def _facts_of(entry: Entry) -> tuple[Any, ...]:
    said = entry.event
    assert isinstance(said, ReceiveMessage)
    body = said.text if said.binary is None else said.binary
    return (said.seq, said.op, said.user, body, said.reply_to, entry.timestamp)


def _facts_in(row: Row) -> tuple[Any, ...]:
    return (row.seq, row.op, row.name, row.body, row.about, row.time)


def _same(what: str, one: object, other: object) -> None:
    if one != other:
        raise WorldBroken(f"{what} differs\n  has      {one}\n  expected {other}")


@contextmanager
def _explained(world: World) -> Iterator[None]:
    try:
        yield
    except AssertionError as error:
        error.add_note(f"seed {world.seed}: {world.plan}")
        raise


def _task_names(nursery: trio.Nursery) -> list[str]:
    """Name every task that runs in a nursery, and in those inside."""
    tasks = list(nursery.child_tasks)
    inside = [name for task in tasks for inner in task.child_nurseries for name in _task_names(inner)]
    return sorted([*(task.name for task in tasks), *inside])


async def run_world(seed: int, random: Random) -> World:
    """Live through the world of a seed. Raises `HistoryViolated` or `WorldBroken`."""
    async with trio.open_nursery() as nursery:
        world = World(seed, random, nursery)
        with world.network.installed():
            with _explained(world):
                await world.live()
            world.end.set()
            for actor in world.actors:
                await actor.gone.wait()
            if world.server is not None:
                world.server.stop()
            with _explained(world):
                await world._until("the server has stopped", lambda: world.server is None)
                await world._until("every link is gone", lambda: not world.network.links)
            await trio.sleep(5.0)
            left = _task_names(nursery)
            nursery.cancel_scope.cancel()
    if left:
        raise WorldBroken(f"tasks are left over (seed {seed}): {', '.join(left)}")
    world.trace += [str(fact) for fact in world.history.facts]
    return world


def live_through(seed: int) -> World:
    """Run the world of a seed. Raises `HistoryViolated` or `WorldBroken`, bare."""

    async def program(random: Random) -> World:
        return await run_world(seed, random)

    try:
        return simulate(program, seed)
    except BaseExceptionGroup as group:
        wanted, others = group.split(AssertionError)
        if wanted is None or others is not None:
            raise
        error: BaseException = wanted
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None
