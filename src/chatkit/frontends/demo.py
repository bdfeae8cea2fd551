"""``chatkit demo``: a server and a few people, all of it real, in a few seconds."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import trio

from chatkit.client import Message
from chatkit.errors import ChatError
from chatkit.frontends.demo_narrator import JsonNarrator, Narrator, TextNarrator
from chatkit.frontends.demo_people import ByHand, Person, Sightings, enter
from chatkit.frontends.exits import Exit
from chatkit.frontends.launch import run_command
from chatkit.frontends.options import Json
from chatkit.private import private_nursery
from chatkit.server import Server, serve

STEPS = 6
LONGEST = 60.0
"""Seconds after which the demo gives up; it takes about ten."""
PACE = 0.3
"""Seconds between two lines, for people to follow."""
NOBODY = "127.0.0.1:0"


class DemoFailed(ChatError):
    """Something did not happen as it should have."""


def run(arguments: Sequence[str]) -> int:
    """Watch a server and a few people for ten seconds."""
    return run_command("demo", demo, arguments, "[OPTIONS]")


def demo(*, json: Json = False) -> int:
    """Watch a server and a few people for ten seconds.

    A server starts on free ports, people talk over WebSocket and TCP, a link breaks, the server is restarted and its
    history read back. Everything is real, nothing is kept, and every figure is measured.
    """
    terminal = sys.stdout.isatty()
    narrator = JsonNarrator() if json else TextNarrator()
    return trio.run(play, narrator, PACE if terminal and not json else 0.0)


async def play(narrator: Narrator, pace: float) -> int:
    """Run the demo and return its exit code. Raises `DemoFailed`."""
    with TemporaryDirectory(prefix="chatkit-") as folder, trio.move_on_after(LONGEST):
        await Demo(narrator, pace, f"sqlite:///{Path(folder) / 'demo.db'}").run()
        return Exit.OK
    raise DemoFailed(f"the demo was not over after {LONGEST:g} seconds")


class Demo:
    """The play."""

    def __init__(self, narrator: Narrator, pace: float, store: str) -> None:
        self._tell = narrator
        self._pace = pace
        self._store = store
        self._seen = Sightings()
        self._began = perf_counter()
        self._stopped = trio.Event()
        self._kept = 0

    async def run(self) -> None:
        """Play it, scene by scene."""
        async with private_nursery(lambda nursery: nursery.cancel_scope.cancel()) as servers:
            first = await self._start_server(servers, (f"ws://{NOBODY}", f"tcp://{NOBODY}"))
            async with AsyncExitStack() as guests:
                await self._server_starts(first)
                ann, bob, cleo, dan = await self._people_come(first, guests)
                await self._talk(ann, bob, cleo, dan)
                await self._make_a_room(ann, bob, cleo)
                await self._break_a_link(ann, dan)
                said = {room.name: room.messages() for room in ann.client.state.joined}
                second = await self._restart(first, servers, (ann, bob, cleo))
                await self._compare(second, said)
                await self._said(ann, "general", "And on we go")
            await self._sum_up()

    async def _start_server(self, servers: trio.Nursery, listen: Sequence[str]) -> Server:
        self._stopped = trio.Event()
        server: Server = await servers.start(self._serve, listen)
        return server

    async def _serve(self, listen: Sequence[str], *, task_status: trio.TaskStatus[Server]) -> None:
        await serve(self._store, listen=listen, task_status=task_status)
        self._stopped.set()

    async def _scene(self, number: int, title: str) -> None:
        await trio.sleep(self._pace)
        await self._tell.scene(number, STEPS, title)

    async def _server_starts(self, server: Server) -> None:
        await self._scene(1, "A server starts")
        for address in server.addresses:
            await self._tell.notice(f"listening on {address}")
        await self._tell.notice("everything said is on disk (SQLite) before it is acknowledged")

    async def _people_come(self, server: Server, guests: AsyncExitStack) -> tuple[Person, Person, Person, ByHand]:
        await self._scene(2, "Four people come, over WebSocket and over TCP")
        ws, tcp = server.addresses
        people = []
        for name, url in (("ann", ws), ("bob", tcp), ("cleo", ws)):
            people.append(await guests.enter_async_context(enter(name, url, self._seen)))
            person = people[-1]
            await self._tell.notice(f"{name} has joined general ({person.count('general')}), over {person.link}")
            await trio.sleep(self._pace)
        dan = await guests.enter_async_context(ByHand.enter("dan", tcp, self._seen))
        await self._tell.notice("dan has joined general (4), typing JSON into a bare TCP socket")
        ann, bob, cleo = people
        return ann, bob, cleo, dan

    async def _talk(self, ann: Person, bob: Person, cleo: Person, dan: ByHand) -> None:
        await self._scene(3, "They talk")
        await self._said(ann, "general", "Good morning! Who is here?")
        await self._said(bob, "general", "bob, over a plain TCP socket")
        await self._said(cleo, "general", "cleo, over a WebSocket like you")
        await self._said(dan, "general", "dan: I type every brace myself")
        await self._said(ann, "general", "One order for everybody: ünïcödé, 你好, 🙂")

    async def _make_a_room(self, ann: Person, bob: Person, cleo: Person) -> None:
        await self._scene(4, "A room is made while they talk, and bytes travel as they are")
        await bob.create("tea", topic="green or black?")
        await self._tell.notice("bob has created the room tea; everybody sees it in the list")
        await cleo.join("tea")
        await ann.join("tea")
        await self._said(bob, "tea", "What is said here stays among us three")
        await self._said(cleo, "tea", bytes(range(0, 256, 15)))
        await self._said(ann, "tea", "Green, please")

    async def _said(self, who: Person | ByHand, room: str, said: str | bytes) -> None:
        first, last = await who.say(room, said)
        await self._tell.said(who.name, who.link, room, said, first, last)
        await trio.sleep(self._pace)

    async def _break_a_link(self, ann: Person, dan: ByHand) -> None:
        await self._scene(5, "A link breaks")
        broken = perf_counter()
        dan.abort()
        await self._tell.notice("dan's cable is pulled: no goodbye, a TCP reset")
        await ann.wait_left("dan")
        after = perf_counter() - broken
        await self._tell.notice(f"the others are told after {after:.1f} s, for he might have come back:")
        await self._tell.notice(f"dan has left general ({ann.count('general')})")

    async def _restart(self, first: Server, servers: trio.Nursery, people: Sequence[Person]) -> Server:
        await self._scene(6, "The server stops, and starts again")
        first.stop()
        await self._stopped.wait()
        await self._tell.notice("the server has stopped")
        second = await self._start_server(servers, first.addresses)
        await self._tell.notice("it is back, with the same database")
        for person in people:
            await person.wait_back()
        await self._tell.notice(f"{', '.join(person.name for person in people)} have come back by themselves")
        return second

    async def _compare(self, server: Server, said: dict[str, list[Message]]) -> None:
        async with enter("eve", server.addresses[0], self._seen) as eve:
            for name, messages in said.items():
                room = await eve.client.join(name)
                kept = await room.past_messages(limit=1000)
                if kept != messages:
                    raise DemoFailed(f"the history of {name} is not what was said there")
                self._kept += len(kept)
                await self._tell.notice(f"eve, who is new, reads {name}: {len(kept)} of {len(messages)}, identical")

    async def _sum_up(self) -> None:
        delays = sorted(self._seen.delays)
        await self._tell.summary(
            {
                "messages": len(self._seen.sent),
                "deliveries": len(delays),
                "median_ms": round(delays[len(delays) // 2] * 1000, 2),
                "slowest_ms": round(delays[-1] * 1000, 2),
                "kept": self._kept,
                "seconds": round(perf_counter() - self._began, 1),
            }
        )
