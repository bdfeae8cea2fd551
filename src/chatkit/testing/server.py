"""A server for a test, with people who come when they are called."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, ClassVar

import trio

from chatkit.backend.interface import Backend
from chatkit.client import Client, connect
from chatkit.errors import Disconnected, UsageError
from chatkit.private import private_nursery
from chatkit.server import Extension, Server, ServerConfig, open_server
from chatkit.testing.people import Person


class TestServer:
    """A running server and the people at it. Made by `open_test_server`."""

    __test__: ClassVar[bool] = False  # pytest takes every class called Test… for a test

    def __init__(self, server: Server) -> None:
        self.server = server
        """The server itself, a `chatkit.Server`."""
        self.nursery: trio.Nursery
        """Where the people's tasks run; set by `open_test_server`."""
        self._people: list[Person] = []

    def address(self, scheme: str) -> str:
        """Return the address the server listens on with this scheme: ``ws``, ``tcp``, … Raises `UsageError`."""
        for url in self.server.addresses:
            if url.startswith(f"{scheme}://"):
                return url
        raise UsageError(f"this test server does not listen on {scheme}://; it listens on {self.server.addresses}")

    async def person(self, name: str, *, over: str | None = None, **options: Any) -> Person:
        """Let somebody connect and log in; they are in the default rooms then.

        ``over`` is the scheme of one of the server's addresses; without it they connect in memory. ``options`` are
        those of `chatkit.connect`, and what that raises is raised. They go when the server's block ends, or by
        `Person.goes`.
        """
        person: Person = await self.nursery.start(self._live, name, over, options)
        return person

    async def people(self, *names: str, over: str | None = None, **options: Any) -> list[Person]:
        """Let several come, one after another; see `person`."""
        return [await self.person(name, over=over, **options) for name in names]

    async def _live(
        self,
        name: str,
        over: str | None,
        options: dict[str, Any],
        *,
        task_status: trio.TaskStatus[Person] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        async with self._link(name, over, options) as client, trio.open_nursery() as nursery:
            person = Person(client)
            self._people.append(person)
            nursery.start_soon(_listen, person)
            task_status.started(person)
            await person.wait_leaving()
            nursery.cancel_scope.cancel()

    def _link(self, name: str, over: str | None, options: dict[str, Any]) -> AbstractAsyncContextManager[Client]:
        if over is None:
            return self.server.connect(user=name, **options)
        return connect(self.address(over), user=name, **options)

    def send_home(self) -> None:
        """Let everybody say goodbye and disconnect, without waiting for it."""
        for person in self._people:
            person.leave_soon()


@asynccontextmanager
async def open_test_server(
    store: str | Backend = "memory://",
    *,
    listen: Iterable[str] = (),
    extensions: Iterable[Extension] = (),
    config: ServerConfig | None = None,
) -> AsyncIterator[TestServer]:
    """Run a chat server for a test, for as long as the block lasts: in memory, unless it is given addresses.

    ::

        async with open_test_server() as server:
            ann, bob = await server.people("ann", "bob")
            await ann.says("hello")
            await bob.hears("hello", by="ann")

    Takes what `chatkit.open_server` takes and raises what it raises, but without a ``config`` nobody is held to a rate,
    so that a script may say as much as it likes. Leaving the block sends everybody home, then
    stops the server gracefully. What the block raises comes out as it was raised.
    """
    config = config or ServerConfig(rate_limits=False)
    async with open_server(store, listen=listen, extensions=extensions, config=config) as server:
        test_server = TestServer(server)
        async with private_nursery(lambda _: test_server.send_home()) as nursery:
            test_server.nursery = nursery
            yield test_server


async def _listen(person: Person) -> None:
    with suppress(Disconnected):
        await person.listen()
