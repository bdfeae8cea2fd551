"""Whose turn it is, and what is told of it at the end, where the link and the store fail in between."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import trio.testing

from chatkit import connect
from chatkit.backend import open_backend
from chatkit.backend.interface import Backend
from chatkit.backend.records import Append, Change, Outcome
from chatkit.engine.limits import EngineLimits
from chatkit.frontends.commands import Conversation
from chatkit.frontends.display import Display
from chatkit.frontends.screens import Screen
from chatkit.frontends.turns import Turns
from chatkit.protocol import messages as m
from chatkit.server import ServerConfig
from chatkit.testing import FaultProxy, FaultyBackend, Plan, StoreWeather, open_test_server


class Typed(Screen):
    """A terminal as far as the lines are concerned."""

    interactive = True

    def __init__(self) -> None:
        self.type, self._typed = trio.open_memory_channel[str](10)
        self.told: list[str] = []
        self.lost = trio.Event()

    async def read(self) -> str | None:
        return await self._typed.receive()

    async def event(self, event: m.Event, timestamp: int) -> None:
        await trio.lowlevel.checkpoint()

    async def notice(self, text: str) -> None:
        self.told.append(text)
        await trio.lowlevel.checkpoint()

    async def error(self, code: str, text: str) -> None:
        self.lost.set()
        await trio.lowlevel.checkpoint()


class Stuck(FaultyBackend):
    """A store whose disk does not answer when something is to be kept that was said, until it is let go on."""

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner, Random(0), StoreWeather(slowest=0.0))
        self.begun, self.may_end = trio.Event(), trio.Event()

    async def commit(self, changes: Sequence[Change]) -> list[Outcome]:
        if any(isinstance(change, Append) for change in changes):
            self.begun.set()
            await self.may_end.wait()
        return await super().commit(changes)


async def test_what_waited_for_the_link_and_was_sent_then_is_in_doubt() -> None:
    backend, screen = Stuck(await open_backend("memory://")), Typed()
    async with (
        open_test_server(backend, listen=["tcp://127.0.0.1:0"]) as server,
        FaultProxy(server.address("tcp"), plan=lambda random, number: Plan()) as proxy,
    ):
        with trio.fail_after(10), trio.CancelScope() as talk:
            async with connect(proxy.url, user="ann") as client:
                conversation = Conversation(client)
                turns, display = Turns(conversation, screen, talk), Display(conversation, screen)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(display.follow_link)
                    await trio.testing.wait_all_tasks_blocked()
                    proxy.cut_all()
                    await screen.lost.wait()
                    screen.type.send_nowait("hello")
                    async with trio.open_nursery() as taking:
                        taking.start_soon(turns.take, display)
                        await backend.begun.wait()
                        screen.type.send_nowait("/quit")
                    nursery.cancel_scope.cancel()
        backend.may_end.set()
    assert screen.told[-1] == "perhaps not sent: hello"


async def test_help_is_waited_for_by_nobody_who_leaves() -> None:
    backend, screen = Stuck(await open_backend("memory://")), Typed()
    config = ServerConfig(rate_limits=False, engine=EngineLimits(joined_members=1))
    async with open_test_server(backend, config=config) as server:
        await server.people("abe", "al")
        with trio.fail_after(5), trio.CancelScope() as talk:
            async with server.server.connect(user="ann") as client:
                conversation = Conversation(client)
                turns, display = Turns(conversation, screen, talk), Display(conversation, screen)
                async with trio.open_nursery() as taking:
                    taking.start_soon(turns.take, display)
                    screen.type.send_nowait("hello")
                    await backend.begun.wait()
                    screen.type.send_nowait("/help")
                    screen.type.send_nowait("/quit")
        backend.may_end.set()
    assert any("/help" in line for line in screen.told)
    assert screen.told[-1] == "perhaps not sent: hello"
