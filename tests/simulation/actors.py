"""Somebody in a simulated world: connects, does this and that, comes back, and stays until all is over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import TYPE_CHECKING

import trio
from attrs import define, field

from chatkit.backend.records import RoomRecord
from chatkit.client import Client, Connected, Room, connect
from chatkit.client.backoff import Backoff
from chatkit.client.window import seq_of
from chatkit.errors import ConnectFailed, Disconnected, PositionLost, RequestFailed
from chatkit.protocol.messages import DeleteRoom
from chatkit.testing.simulation_links import LINES, WEBSOCKET
from chatkit.testing.simulation_tap import log_name

if TYPE_CHECKING:
    from world import World

BACKOFF = Backoff(first=0.05, most=0.5)
ROOMS = ("general", "red", "blue")
EXPECTED = {
    "bad_request",
    "forbidden",
    "name_taken",
    "no_such_room",
    "rate_limited",
    "not_in_room",
    "room_exists",
    "storage_unavailable",
}
"""What may be refused in a world like this; ``internal_error``, for one, may not."""


class _LifeOver(Exception):
    """This link is done with, for good."""


@define(eq=False)
class Actor:
    """One person, over as many lives (connections of theirs) as it takes."""

    world: World
    name: str
    random: Random
    client: Client = field(init=False)
    gone: trio.Event = field(init=False, factory=trio.Event)
    _ready: trio.Event = field(init=False, factory=trio.Event)
    _lives: int = field(init=False, default=0)
    _said: int = field(init=False, default=0)
    _left: int = field(init=False, default=0)
    """Steps still to do."""
    _token: str | None = field(init=False, default=None)
    _user: str = field(init=False, default="")
    _readers: dict[Room, str] = field(init=False, factory=dict)
    _slow: bool = field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self._left = self.world.plan.steps
        self._user = self.name

    def __repr__(self) -> str:
        return f"<{self.name} in life {self._lives}, {self._left} steps left, {getattr(self, 'client', None)!r}>"

    @property
    def ready(self) -> bool:
        """Whether everything is done that was to be done."""
        return self._ready.is_set()

    async def wait_ready(self) -> None:
        """Return once everything is done that was to be done."""
        await self._ready.wait()

    def healed(self) -> None:
        """Nothing goes wrong any more: not by this person either."""
        self._slow = False

    # ── lives ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def live(self) -> None:
        """Live one life after the other until the end of the world."""
        while not self.world.end.is_set():
            try:
                await self._life()
            except (ConnectFailed, Disconnected) as error:
                self.world.note(f"{self.name}: {error}")
                await trio.sleep(self.random.uniform(0, 0.3))
            except RequestFailed as error:
                self._expect(error)
                self._user = f"{self.name}-{self.random.randrange(1000)}"
                await trio.sleep(0.1)
        self.gone.set()

    async def _life(self) -> None:
        """One connection; with a takeover, those that replace it inside."""
        self._lives += 1
        me = f"{self.name}.{self._lives}"
        pick = self.random.choice
        encoding = "json"
        scheme = pick((LINES, WEBSOCKET))
        if scheme == WEBSOCKET:
            encoding = pick(("json", "msgpack"))
        async with connect(
            f"{scheme}://{me}",
            user=self._user,
            token=self._token,
            encoding=encoding,  # type: ignore[arg-type]
            connect_timeout=3.0,
            reconnect=BACKOFF,
            keep=pick((3, 1000)),
            entropy=Random(self.random.random()),
        ) as client:
            self.client, self._token = client, client.token
            async with trio.open_nursery() as readers:
                await self._act(me, client, readers)
                readers.cancel_scope.cancel()

    async def _act(self, me: str, client: Client, readers: trio.Nursery) -> None:
        try:
            while self._left and self._alive(client):
                self._left -= 1
                self._read_all(me, client, readers)
                await self._step(me, client)
                self._user = client.user
                await trio.sleep(self.random.expovariate(5.0))
            self._read_all(me, client, readers)
        except _LifeOver:
            return
        except Disconnected:
            self._read_all(me, client, readers)
            return
        if not self._left:
            self._ready.set()
        while not self.world.end.is_set() and self._alive(client):
            self._read_all(me, client, readers)
            await trio.sleep(0.25)

    def _alive(self, client: Client) -> bool:
        try:
            client.check_alive()
        except Disconnected as error:
            self.world.note(f"{self.name}: {error}")
            if error.code != 4409:
                # the name is somebody else's by now, or the like: come as somebody new
                self._user = f"{self.name}-{self.random.randrange(1000)}"
            return False
        return True

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _read_all(self, me: str, client: Client, nursery: trio.Nursery) -> None:
        for room in client.rooms.values():
            if room not in self._readers:
                reader = self._readers[room] = f"{me}/read{len(self._readers)}"
                nursery.start_soon(self._read, reader, room)

    async def _read(self, reader: str, room: Room) -> None:
        """Read a room as a program does, and tell the history of everything shown."""
        history, stream = self.world.history, room.entries(after=room.position)
        log = log_name(room.name, stream.position.epoch)
        history.at(trio.current_time()).join(reader, log, stream.position.seq)
        while True:
            try:
                entry = await stream.__anext__()
            except (StopAsyncIteration, Disconnected):
                return
            except RequestFailed as error:
                self._expect(error)
                await trio.sleep(0.1)
                continue
            except PositionLost:
                log = self._moved(reader, room, log, stream.position.epoch, stream.position.seq)
                continue
            event = entry.event
            now = trio.current_time()
            history.at(now).receive(reader, log, seq_of(entry), getattr(event, "op", None))
            if self._slow:
                await trio.sleep(self.random.uniform(0, 0.2))

    def _moved(self, reader: str, room: Room, before: str, epoch: str, seq: int) -> str:
        log, history = log_name(room.name, epoch), self.world.history.at(trio.current_time())
        self.world.note(f"{reader} lost its position in {before}, goes on in {log} at {seq}")
        if log == before:  # every log keeps everything: nothing can be lost
            raise AssertionError(f"{reader} was told of a loss in {log}, which lost nothing")
        history.leave(reader, before)
        history.join(reader, log, seq)
        return log

    # ── steps ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _step(self, me: str, client: Client) -> None:
        steps: tuple[tuple[int, Callable[[str, Client], Awaitable[None]]], ...] = (
            (8, self._say_one),
            (8, self._say_many),
            (2, self._say_and_give_up),
            (4, self._join),
            (3, self._leave),
            (2, self._create),
            (2, self._delete),
            (2, self._rename),
            (2, self._look_back),
            (3, self._stop_reading),
            (3, self._cut),
            (2, self._be_slow),
            (2, self._go),
            (1, self._vanish),
            (2, self._take_over),
        )
        (step,) = self.random.choices([step for _, step in steps], [weight for weight, _ in steps])
        self.world.note(f"{me} {step.__name__[1:]}")
        try:
            await step(me, client)
        except RequestFailed as error:
            self._expect(error)

    def _expect(self, error: RequestFailed) -> None:
        if error.code not in EXPECTED:
            raise AssertionError(f"{self.name} was refused: {error}") from error

    def _some_room(self, client: Client) -> Room | None:
        rooms = client.rooms
        return rooms[self.random.choice(sorted(rooms))] if rooms else None

    async def _say(self, client: Client, name: str) -> None:
        self._said += 1
        op = f"{self.name}-{self._said}"
        text = op + "x" * self.random.choice((0, 20, 300, 900))
        for _ in range(6):
            room = client.rooms.get(name)
            if room is None:
                return
            try:
                message = await room.send(text, op=op)
            except RequestFailed as error:
                self._expect(error)
                if error.code != "storage_unavailable":
                    return
                await trio.sleep(0.02)
            else:
                log = log_name(name, message.epoch)
                self.world.history.at(trio.current_time()).ack(f"{self.name}/app", log, message.seq, op)
                return

    async def _say_one(self, me: str, client: Client) -> None:
        room = self._some_room(client)
        if room is not None:
            await self._say(client, room.name)

    async def _say_many(self, me: str, client: Client) -> None:
        room = self._some_room(client)
        if room is None:
            return
        async with trio.open_nursery() as nursery:
            for _ in range(self.random.randint(2, 12)):
                nursery.start_soon(self._say_quietly, client, room.name)

    async def _say_quietly(self, client: Client, name: str) -> None:
        try:
            await self._say(client, name)
        except Disconnected:
            return

    async def _say_and_give_up(self, me: str, client: Client) -> None:
        with trio.move_on_after(self.random.uniform(0, 0.05)):
            await self._say_many(me, client)

    async def _join(self, me: str, client: Client) -> None:
        await client.join(self.random.choice(ROOMS), history=self.random.choice((0, 3, 50)))

    async def _leave(self, me: str, client: Client) -> None:
        room = self._some_room(client)
        if room is not None:
            await room.leave()

    async def _create(self, me: str, client: Client) -> None:
        name = self.random.choice(ROOMS[1:])
        await client.create(name, topic=self.random.choice(("", "colours")))

    async def _delete(self, me: str, client: Client) -> None:
        await client.request(DeleteRoom(room=self.random.choice(ROOMS[1:])))

    async def _rename(self, me: str, client: Client) -> None:
        name = self.random.choice((self.name, f"{self.name}-x", "star"))
        await client.rename(name)
        # A guest's author is the name of the login: a repeat under a later one would be a new message.
        raise _LifeOver

    async def _look_back(self, me: str, client: Client) -> None:
        room = self._some_room(client)
        if room is not None:
            await room.history(before=self.random.randint(1, 50), limit=self.random.randint(1, 20))

    async def _stop_reading(self, me: str, client: Client) -> None:
        links = self.world.network.of(me)
        for link in links:
            link.stop_reading()
        try:
            if self.random.random() < 0.5:
                with trio.move_on_after(self.random.uniform(0.2, 2.0)):
                    await self.random.choice((self._say_many, self._join, self._create, self._leave))(me, client)
            await trio.sleep(self.random.choice((0.3, 1.5, 4.0)))
        finally:
            for link in links:
                link.read_on()

    async def _cut(self, me: str, client: Client) -> None:
        if not self.world.network.healed:
            for link in self.world.network.of(me):
                link.cut()
        await trio.lowlevel.checkpoint()

    async def _be_slow(self, me: str, client: Client) -> None:
        self._slow = not self._slow and not self.world.network.healed
        await trio.lowlevel.checkpoint()

    async def _go(self, me: str, client: Client) -> None:
        await trio.lowlevel.checkpoint()
        raise _LifeOver

    async def _vanish(self, me: str, client: Client) -> None:
        await self._cut(me, client)
        raise _LifeOver

    async def _take_over(self, me: str, client: Client) -> None:
        """Come again beside the link that is still there, as after a crash of the program that has it."""
        try:
            await self._life()
        except (ConnectFailed, Disconnected) as error:
            self.world.note(f"{self.name} could not take over: {error}")
        self.client = client

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def has_caught_up(self, logs: Mapping[str, RoomRecord]) -> bool:
        """Whether this person holds everything their rooms' logs do."""
        if not isinstance(self.client.status, Connected) or not self.ready:
            return False
        return all(
            room.name in logs
            and room.position.epoch == logs[room.name].epoch
            and room.position.seq == logs[room.name].head
            for room in self.client.state.joined
        )

    def standing(self, logs: Mapping[str, RoomRecord]) -> str:
        """Say where this person stands."""
        rooms = ", ".join(
            f"{room.name} at {room.position}, the log {logs[room.name].epoch if room.name in logs else 'gone'} at "
            f"{logs[room.name].head if room.name in logs else '-'}"
            for room in self.client.state.joined
        )
        return f"{self!r} {self.client.status}: {rooms}"

    def tell_end(self, room: str, log: str, head: int) -> None:
        """Tell the history that this person claims to have seen everything."""
        if room not in self.client.rooms:
            return
        reader = self._readers.get(self.client.rooms[room])
        if reader is not None:
            self.world.history.at(trio.current_time()).caught_up(reader, log, head)
