"""After any program of joins, posts, leaves, drops and restarts, everybody who has caught up holds what somebody who
has just come is given, and that is the log.

Hypothesis draws the program, rule by rule; a run of it is one simulation, in which a step may be awaited or left under
way. So a failure shrinks to the shortest program that fails, and replays.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from typing import Any

import pytest
import trio
from attrs import define, field
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from chatkit.backend import open_backend
from chatkit.client import Backoff, Client, Connected, connect
from chatkit.errors import Disconnected, RequestFailed
from chatkit.protocol.messages import DeleteRoom, ReceiveMessage
from chatkit.server import Server, ServerConfig, open_server
from chatkit.testing.history import History
from chatkit.testing.simulation import simulate
from chatkit.testing.simulation_links import LINES, WEBSOCKET, LinkWeather, Network
from chatkit.testing.simulation_store import FaultyBackend, StoreWeather
from chatkit.testing.simulation_tap import TappedConnection, log_name
from chatkit.transport.interface import TransportOptions

PEOPLE = ("ann", "bob", "cat")
ROOMS = ("general", "red")
SCHEMES = {"ann": LINES, "bob": WEBSOCKET, "cat": LINES}
CONFIG = ServerConfig(
    transport=TransportOptions(outlet_bytes=512, write_timeout=5.0, close_timeout=1.0),
    ring_events=4,
    pull_bytes=600,
    page_bytes=4_096,
    linger=0.5,
    stop_timeout=2.0,
)
PATIENCE = 60.0
CALM = StoreWeather(slowest=0.001)
ROUGH = StoreWeather(slowest=0.03, fails_before=0.05, fails_after=0.1)
"""Slow enough for changes to gather, and not always able to answer."""

Step = Callable[["Stage"], Awaitable[None]]
people = st.sampled_from(PEOPLE)
rooms = st.sampled_from(ROOMS)


@define(eq=False)
class Stage:
    """Where a program is played: a server that can be restarted, and three people who are there from the start."""

    nursery: trio.Nursery
    network: Network
    random: Random
    history: History
    clients: dict[str, Client] = field(factory=dict)
    under_way: int = 0
    said: int = 0
    backend: FaultyBackend = field(init=False)
    _server: Server | None = None
    _scope: trio.CancelScope = field(factory=trio.CancelScope)
    _down: trio.Event = field(factory=trio.Event)

    async def open_store(self) -> None:
        """Begin with an empty store."""
        self.backend = FaultyBackend(await open_backend("memory://"), self.random, CALM)

    async def start(self) -> None:
        """Start the server and wait until it listens."""
        self._down = trio.Event()
        self.backend.weather = CALM
        self._server = await self.nursery.start(self._serve)
        self.backend.weather = ROUGH

    async def _serve(self, *, task_status: trio.TaskStatus[Server]) -> None:
        urls = [f"{LINES}://server", f"{WEBSOCKET}://server"]
        with trio.CancelScope() as self._scope:
            async with open_server(self.backend, listen=urls, config=CONFIG) as server:
                task_status.started(server)
                await server.wait_stopped()
        self._down.set()

    async def stop(self, *, politely: bool = True) -> None:
        """Stop the server."""
        if politely and self._server is not None:
            self._server.stop()
        else:
            self._scope.cancel()
        await self._down.wait()

    async def forget(self) -> None:
        """Begin with another store."""
        snapshot = await self.backend.directory.snapshot()
        for room in snapshot.rooms:
            self.history.forget(log_name(room.name, room.epoch))
        await self.backend.inner.aclose()
        await self.open_store()

    async def post(self, who: str, room: str, text: str, *, waits: bool) -> None:
        """Let somebody say something in a room they are in."""
        handle = self.clients[who].rooms.get(room)
        if handle is not None:
            self.said += 1
            op = f"op{self.said}"
            await self.do(waits, lambda: handle.send(op + text, op=op))

    async def do(self, waits: bool, action: Callable[[], Awaitable[object]]) -> None:
        """Do something for somebody, now or beside what follows. A refusal is an answer too."""
        self.under_way += 1
        if waits:
            with trio.move_on_after(1.0):  # the link may be down for long; then it goes on by itself, or not at all
                await self._attempt(action)
        else:
            self.nursery.start_soon(self._attempt, action)
            await trio.sleep(0.001)

    async def _attempt(self, action: Callable[[], Awaitable[object]]) -> None:
        try:
            for _ in range(50):
                if await self._answered(action):
                    return
                await trio.sleep(0.01)
        finally:
            self.under_way -= 1

    async def _answered(self, action: Callable[[], Awaitable[object]]) -> bool:
        try:
            await action()
        except RequestFailed as error:
            return error.code != "storage_unavailable"
        except Disconnected:
            return True
        return True

    async def settle(self) -> None:
        """Let everything come to rest: links sound, requests answered, everybody where their rooms are."""
        self.network.heal()
        self.backend.weather = CALM
        for _ in range(int(PATIENCE * 4)):
            await trio.sleep(0.25)
            if not self.under_way and await self._all_caught_up():
                await trio.sleep(1.0)
                return
        raise AssertionError(f"never came to rest: {self.clients}, {self.under_way} requests under way")

    async def _all_caught_up(self) -> bool:
        heads = {room.name: (room.epoch, room.head) for room in (await self.backend.directory.snapshot()).rooms}
        return all(
            isinstance(client.status, Connected)
            and all((room.position.epoch, room.position.seq) == heads.get(room.name) for room in client.state.joined)
            for client in self.clients.values()
        )


@asynccontextmanager
async def stage(random: Random) -> AsyncIterator[Stage]:
    """Set everything up, and take it down when the program is over."""
    async with trio.open_nursery() as nursery:
        history = History()
        weather = LinkWeather(capacities=(256, 4_096), chunks=(300,), slowest=0.002)
        network = Network(
            nursery, random, weather, tap=lambda name, connection: TappedConnection(connection, history, name)
        )
        with network.installed():
            here = Stage(nursery, network, random, history)
            await here.open_store()
            await here.start()
            async with AsyncExitStack() as stack:
                for name in PEOPLE:
                    here.clients[name] = await stack.enter_async_context(_link(name, random))
                yield here
            await here.stop()
            await here.backend.inner.aclose()
            nursery.cancel_scope.cancel()


def _link(name: str, random: Random) -> Any:
    backoff = Backoff(first=0.05, most=0.2)
    return connect(
        f"{SCHEMES.get(name, LINES)}://{name}", user=name, reconnect=backoff, entropy=Random(random.random())
    )


async def check(here: Stage, random: Random) -> None:
    """Compare everybody with the log, with somebody who has just come, and with what may have happened."""
    logs: dict[str, list[tuple[int, str | None, object]]] = {}
    for room in (await here.backend.directory.snapshot()).rooms:
        if room.name == "#audit":
            continue
        page = await here.backend.log.read(room.room_id, after=0, limit=10_000, max_bytes=2**30)
        logs[room.name] = [(row.seq, row.op, row.body) for row in page.rows]
        here.history.keep(log_name(room.name, room.epoch), [(row.seq, row.op) for row in page.rows])
    async with _link("fresh", random) as fresh:
        for name in logs:
            await fresh.join(name, history=1000)
        await trio.sleep(1.0)
        for client in (fresh, *here.clients.values()):
            assert set(client.state.rooms) == set(logs)
            for name, state in client.state.rooms.items():
                assert state.summary == fresh.state.rooms[name].summary, (client, name)
                if state.joined:
                    held = [_held(entry.event) for entry in state.window.entries]
                    assert held == logs[name][len(logs[name]) - len(held) :], (client, name)
                    assert not state.pending, (client, name)
                    assert state.members_stale or set(state.members) == set(fresh.state.rooms[name].members)
    here.history.check()


def _held(event: object) -> tuple[int, str | None, object]:
    assert isinstance(event, ReceiveMessage)
    return (event.seq, event.op, event.text)


class Program(RuleBasedStateMachine):
    """Every rule writes down one step; the end of the program plays them."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Step] = []

    def then(self, step: Step) -> None:
        self.steps.append(step)

    @rule(who=people, room=rooms, size=st.sampled_from((1, 400)), waits=st.booleans())
    def post(self, who: str, room: str, size: int, waits: bool) -> None:
        async def step(here: Stage) -> None:
            await here.post(who, room, "x" * size, waits=waits)

        self.then(step)

    @rule(who=people, room=rooms, many=st.integers(2, 9))
    def post_many(self, who: str, room: str, many: int) -> None:
        async def step(here: Stage) -> None:
            for _ in range(many):
                await here.post(who, room, "", waits=False)

        self.then(step)

    @rule(who=people, room=rooms, history=st.sampled_from((0, 2, 50)), waits=st.booleans())
    def join(self, who: str, room: str, history: int, waits: bool) -> None:
        async def step(here: Stage) -> None:
            await here.do(waits, lambda: here.clients[who].join(room, history=history))

        self.then(step)

    @rule(who=people, room=rooms, waits=st.booleans())
    def leave(self, who: str, room: str, waits: bool) -> None:
        async def step(here: Stage) -> None:
            handle = here.clients[who].rooms.get(room)
            if handle is not None:
                await here.do(waits, handle.leave)

        self.then(step)

    @rule(who=people, waits=st.booleans())
    def create(self, who: str, waits: bool) -> None:
        async def step(here: Stage) -> None:
            await here.do(waits, lambda: here.clients[who].create("red"))

        self.then(step)

    @rule(who=people)
    def delete(self, who: str) -> None:
        async def step(here: Stage) -> None:
            before = {room.epoch: room.name for room in (await here.backend.directory.snapshot()).rooms}
            await here.do(True, lambda: here.clients[who].request(DeleteRoom(room="red")))
            after = {room.epoch for room in (await here.backend.directory.snapshot()).rooms}
            for epoch in before.keys() - after:
                here.history.forget(log_name(before[epoch], epoch))

        self.then(step)

    @rule(who=people)
    def drop(self, who: str) -> None:
        """Cut somebody's link; they come back by themselves and go on."""

        async def step(here: Stage) -> None:
            for link in here.network.of(who):
                link.cut()
            await trio.lowlevel.checkpoint()

        self.then(step)

    @rule(who=people)
    def stop_reading(self, who: str) -> None:
        async def step(here: Stage) -> None:
            for link in here.network.of(who):
                link.stop_reading()
            await trio.lowlevel.checkpoint()

        self.then(step)

    @rule(seconds=st.sampled_from((0.01, 0.3, 2.0)))
    def wait(self, seconds: float) -> None:
        async def step(here: Stage) -> None:
            await trio.sleep(seconds)

        self.then(step)

    @rule(politely=st.booleans(), forgets=st.booleans())
    def restart(self, politely: bool, forgets: bool) -> None:
        async def step(here: Stage) -> None:
            await here.stop(politely=politely)
            if forgets:
                await here.forget()
            await here.start()

        self.then(step)

    def teardown(self) -> None:
        async def play(random: Random) -> None:
            async with stage(random) as here:
                for step in self.steps:
                    await step(here)
                await here.settle()
                await check(here, random)

        simulate(play, len(self.steps))


TestProgram = pytest.mark.timeout(300)(Program.TestCase)
TestProgram.settings = settings(max_examples=40, stateful_step_count=25)
