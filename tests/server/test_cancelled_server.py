"""A server cancelled at every place where it can be: nothing is left running, and the store opens again."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.lowlevel
from wires import Site, site

from chatkit.backend import open_backend
from chatkit.server import open_server, serve
from chatkit.server.server import Server
from chatkit.testing import cancel_at_each_checkpoint


@pytest.mark.parametrize("store", ["memory", "sqlite"])
async def test_opening_and_closing_a_server(store: str, tmp_path: Path) -> None:
    url = "memory://" if store == "memory" else f"sqlite:///{tmp_path / 'chat.db'}"
    tasks = trio.lowlevel.current_statistics().tasks_living

    async def attempt() -> None:
        async with open_server(url, listen=["tcp://127.0.0.1:0", "ws://127.0.0.1:0", "memory://here"]):
            await trio.lowlevel.checkpoint()

    async def afterwards() -> None:
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        backend = await open_backend(url)
        rooms = (await backend.directory.snapshot()).rooms
        await backend.aclose()
        assert {room.name for room in rooms} <= {"general", "#audit"}

    assert await cancel_at_each_checkpoint(attempt, afterwards=afterwards) > 3


async def test_a_server_with_people_at_it(kind: str) -> None:
    tasks = trio.lowlevel.current_statistics().tasks_living

    async def attempt() -> None:
        async with site() as here:
            await converse(here, kind)

    async def afterwards() -> None:
        with trio.fail_after(5):
            while trio.lowlevel.current_statistics().tasks_living != tasks:
                await trio.lowlevel.checkpoint()

    assert await cancel_at_each_checkpoint(attempt, afterwards=afterwards) > 10


async def converse(here: Site, kind: str) -> None:
    ann, bob = await here.user("ann", kind), await here.user("bob", kind)
    await ann.data("create_room", room="tea")
    await bob.data("join_room", room="tea", last=5)
    await ann.data("send_message", room="tea", text="hello")
    await bob.texts("hello", room="tea")
    await bob.data("history", room="tea")
    await ann.aclose()


async def test_serve() -> None:
    tasks = trio.lowlevel.current_statistics().tasks_living

    async def attempt() -> None:
        async with trio.open_nursery() as nursery:
            server: Server = await nursery.start(lambda **status: serve("memory://", listen=(), **status))
            async with server.connect(user="ann") as ann:
                await ann.rooms["general"].send("hello")
            server.stop()

    async def afterwards() -> None:
        assert trio.lowlevel.current_statistics().tasks_living == tasks

    assert await cancel_at_each_checkpoint(attempt, afterwards=afterwards) > 5
