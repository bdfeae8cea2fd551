"""A crowd of clients that talk, read and follow, come back by themselves, and remember what they were told."""

from __future__ import annotations

import secrets
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import count, islice
from random import Random
from typing import Any

import trio
from attrs import define, field
from checks import Witness

import chatkit
from chatkit.client import Backoff, Client, Happening
from chatkit.errors import ConnectFailed, Disconnected, PositionLost, RequestFailed
from chatkit.protocol.messages import Entry, ReceiveMessage, SendMessage

ROOM = "general"
BACKOFF = Backoff(first=0.05, factor=1.5, most=0.5)
LAST_WORD = "last-word"
BURST = 4
"""Most messages that one says at once, without waiting for their answers."""


@define(eq=False)
class Talker:
    """One client of the crowd, whichever link it has at the moment."""

    url: str
    witness: Witness
    random: Random
    pause: float
    """Seconds between what it says, on average."""
    token: str = field(factory=lambda: secrets.token_hex(24))
    client: Client | None = None
    done: bool = False
    """It has nothing more to say, and knows the outcome of everything it said."""
    ended: int = 0
    """How many of its two ways of listening have come to their end."""

    async def live(self, crowd: Crowd) -> None:
        """Connect, until that succeeds once; then talk until the crowd falls silent, and listen to the end."""
        while True:
            try:
                async with chatkit.connect(
                    self.url,
                    user=self.witness.name,
                    token=self.token,
                    reconnect=BACKOFF,
                    connect_timeout=5.0,
                ) as client:
                    self.client = client
                    await self._stay(client, crowd)
                    return
            except (ConnectFailed, Disconnected):
                if self.client is not None:
                    raise
                await trio.sleep(BACKOFF.first * self.random.random())

    async def _stay(self, client: Client, crowd: Crowd) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen, self._read, client, crowd)
            nursery.start_soon(self._listen, self._follow, client, crowd)
            crowd.here()
            await self._talk(client, crowd)
            self.done = True
            crowd.changed()
            await crowd.over.wait()  # who says the last word may hear it before it knows that it is kept

    async def _talk(self, client: Client, crowd: Crowd) -> None:
        numbers = count(1)
        while not crowd.silent.is_set():
            async with trio.open_nursery() as nursery:
                for number in islice(numbers, self.random.randint(1, BURST)):
                    nursery.start_soon(self._say, client, f"{self.witness.name}-{number}")
            crowd.changed()
            with trio.move_on_after(self.random.expovariate(1 / self.pause)):
                await crowd.silent.wait()

    async def _say(self, client: Client, op: str) -> None:
        witness = self.witness
        witness.sent.add(op)
        try:
            sent = await client.request(SendMessage(room=ROOM, text=f"this is {op}", op=op))
        except (RequestFailed, Disconnected) as error:
            witness.surprises.append(f"could not say {op}: {error!r}")
            return
        witness.acked[op] = (sent.epoch, sent.seq)
        witness.repeated += sent.duplicate

    async def say_last_word(self) -> None:
        """Say what everybody waits for."""
        assert self.client is not None
        await self._say(self.client, LAST_WORD)

    async def _listen(self, how: Callable[[Client], Awaitable[None]], client: Client, crowd: Crowd) -> None:
        await how(client)
        self.ended += 1
        crowd.changed()

    async def _read(self, client: Client) -> None:
        entries = client.rooms[ROOM].entries()
        while True:
            try:
                entry = await entries.__anext__()
            except (PositionLost, RequestFailed) as error:
                self.witness.surprises.append(f"reading was interrupted: {error!r}")
                continue
            except (StopAsyncIteration, Disconnected) as error:
                self.witness.surprises.append(f"reading ended: {error!r}")
                return
            if _noted(entry, self.witness.read):
                return

    async def _follow(self, client: Client) -> None:
        try:
            async for happening in client.events():
                if _noted(happening, self.witness.followed):
                    return
        except Disconnected as error:
            self.witness.surprises.append(f"following ended: {error!r}")


def _noted(told: Entry | Happening, seen: list[tuple[int, str]]) -> bool:
    """Note a message; say whether it was the last."""
    event = told.event
    if not isinstance(event, ReceiveMessage):
        return False
    seen.append((event.seq, sys.intern(event.op or "")))  # everybody sees the same ops, thousands of them
    return event.op == LAST_WORD


@define(eq=False)
class Crowd:
    """Several talkers in one room. Made by `talking`."""

    talkers: Sequence[Talker]
    silent: trio.Event = field(factory=trio.Event)
    """Set when nothing new is to be said."""
    over: trio.Event = field(factory=trio.Event)
    """Set when the last word's outcome is known."""
    _present: int = 0
    _news: trio.Event = field(factory=trio.Event)

    @property
    def witnesses(self) -> list[Witness]:
        """What each of them was told and saw."""
        return [talker.witness for talker in self.talkers]

    @property
    def acked(self) -> int:
        """How much has been acknowledged so far."""
        return sum(len(talker.witness.acked) for talker in self.talkers)

    def here(self) -> None:
        """One more has connected for the first time."""
        self._present += 1
        self.changed()

    def changed(self) -> None:
        """Wake whoever waits for something."""
        self._news.set()
        self._news = trio.Event()

    async def reach(self, what: Callable[[], Any]) -> None:
        """Return once something is so."""
        while not what():
            await self._news.wait()

    async def arrive(self) -> None:
        """Return once everybody has connected."""
        await self.reach(lambda: self._present == len(self.talkers))

    async def heard(self) -> None:
        """Return once everybody has seen the last word, or has complained."""
        await self.reach(lambda: all(talker.ended == 2 for talker in self.talkers))

    async def fall_silent(self) -> None:
        """Let nobody say anything more; return once everybody knows the outcome of what they said, after one last
        word for everybody to wait for."""
        self.silent.set()
        await self.reach(lambda: all(talker.done for talker in self.talkers))
        await self.talkers[0].say_last_word()
        self.over.set()


@asynccontextmanager
async def talking(urls: Sequence[str], count: int, *, pause: float, seed: int = 0) -> AsyncIterator[Crowd]:
    """Let ``count`` clients talk, over these addresses in turn. Leaving the block waits until everybody has seen the
    last word: call `Crowd.fall_silent` before."""
    talkers = [
        Talker(urls[number % len(urls)], Witness(f"t{number}"), Random(f"{seed}/{number}"), pause)
        for number in range(count)
    ]
    crowd = Crowd(talkers)
    async with trio.open_nursery() as nursery:
        for talker in talkers:
            nursery.start_soon(talker.live, crowd)
        yield crowd
