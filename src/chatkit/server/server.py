"""A chat server: its addresses, its connections, its beginning and its end.

Laws: a connection is one nursery behind one barrier, so whatever goes wrong in it ends it alone; the end is graceful
on leaving the context (stop accepting, say goodbye, commit, drain, by a deadline) and immediate on cancellation.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio
from attrs import frozen

from chatkit.backend import Backend, open_backend
from chatkit.errors import Disconnected, ProtocolError
from chatkit.flag import Flag
from chatkit.private import first_of, private_nursery
from chatkit.protocol.messages import Hello
from chatkit.server.authenticator import Authenticator
from chatkit.server.config import ServerConfig
from chatkit.server.core import Core
from chatkit.server.door import Door, Pass
from chatkit.server.extension import Extension, Extensions
from chatkit.server.heartbeat import keep_heartbeat
from chatkit.server.logbook import bind, keep_log, log
from chatkit.server.rendering import Renderer
from chatkit.server.requests import Requests
from chatkit.server.retention import keep_trimmed
from chatkit.server.session import Session
from chatkit.server.statistics import Counters, Statistics
from chatkit.server.web import Web
from chatkit.transport import open_listener
from chatkit.transport.interface import Arrival, Connection, HttpArrival, Listener
from chatkit.version import __version__

if TYPE_CHECKING:
    from chatkit.client import Client

DEFAULT_STORE = "sqlite:///chat.db"
HURRY_SECONDS = 0.5
"""Between two looks at those who have not logged in."""
CROWDED = "too many connections from this address"
BROKE = frozenset({1001, 1006})
"""Codes of a link that ended without a goodbye, or of a page that is being reloaded."""
DEFAULT_ADDRESSES = ("ws://127.0.0.1:8765", "tcp://127.0.0.1:8766")


@frozen(kw_only=True)
class ConnectionInfo:
    """One connection, as an operator sees it. ``since`` is in milliseconds since 1970; ``user`` None before login."""

    id: int
    user: str | None
    address: str
    url: str
    since: int
    waiting_bytes: int
    lagging: bool
    """It cannot keep up, and is served from its position rather than live."""


class Server:
    """A running chat server. Made by `open_server`."""

    def __init__(
        self,
        core: Core,
        extensions: Extensions,
        listeners: Sequence[Listener],
        private: Listener,
        routes: Sequence[Any],
    ) -> None:
        self._core = core
        self._extensions = extensions
        self._listeners = listeners
        self._private = private
        self._numbers = itertools.count(1)
        self._stopping = trio.Event()
        self._connections = trio.CancelScope()
        self._sessions: dict[Session, Flag] = {}
        self._web = Web(self, routes)
        self._door = Door(core.config, core.counters)

    # ── what it tells ────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def addresses(self) -> tuple[str, ...]:
        """The URLs it listens on, with their real ports, in the order they were given."""
        return tuple(listener.url for listener in self._listeners)

    @property
    def config(self) -> ServerConfig:
        """What it was configured with."""
        return self._core.config

    @property
    def counters(self) -> Counters:
        """What it has counted since it started."""
        return self._core.counters

    def statistics(self) -> Statistics:
        """Return how it stands at this moment."""
        return self._core.statistics(ready=not self._stopping.is_set())

    def connections(self) -> list[ConnectionInfo]:
        """Return everybody who is connected now, oldest first."""
        return [self._info(session) for session in self._core.sessions.values()]

    def _info(self, session: Session) -> ConnectionInfo:
        user, connection = self._core.engine.user_of(session.id), session.connection
        return ConnectionInfo(
            id=session.id,
            user=user.name if user else None,
            address=connection.peer,
            url=connection.url,
            since=session.since,
            waiting_bytes=connection.waiting_bytes,
            lagging=session.behind,
        )

    # ── what it does ─────────────────────────────────────────────────────────────────────────────────────────────────

    def connect(self, *, user: str, **options: Any) -> AbstractAsyncContextManager[Client]:
        """Connect to this server from the same process, without a socket. Takes what `chatkit.connect` takes."""
        from chatkit.client import connect  # the one arrow upwards: a convenience for whoever embeds a server

        return connect(self._private.url, user=user, **options)

    def stop(self) -> None:
        """Begin the graceful end: accept nobody, say goodbye to everybody. The context ends by itself then."""
        self._stopping.set()

    async def wait_stopped(self) -> None:
        """Return once `stop` has been called, by whomever."""
        await self._stopping.wait()

    # ── its life ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def run(self, *, task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until stopped, then end gracefully."""
        core = self._core
        async with trio.open_nursery() as background:
            await background.start(core.follow)
            background.start_soon(core.committer.run)
            background.start_soon(core.keep_lists)
            background.start_soon(core.measure_delay)
            background.start_soon(keep_log)
            background.start_soon(core.end_lost_sessions)
            background.start_soon(self._hurry_strangers)
            background.start_soon(keep_heartbeat, core)
            background.start_soon(keep_trimmed, core)
            background.start_soon(core.endings.end_in_time)
            background.start_soon(core.endings.let_go)
            async with trio.open_nursery() as connections:
                connections.start_soon(self._stop_when_asked, connections)
                for listener in (*self._listeners, self._private):
                    connections.start_soon(self._accept_all, listener, connections)
                for address in self.addresses:
                    log.info("listening on %s", address, event="listening")
                task_status.started(self)
            with trio.move_on_after(core.config.stop_timeout):
                await core.committer.wait_idle()
            background.cancel_scope.cancel()

    async def _stop_when_asked(self, connections: trio.Nursery) -> None:
        await self._stopping.wait()
        log.info("stopping: %d connections", len(self._sessions), event="stopping")
        for listener in (*self._listeners, self._private):
            listener.close()
        with trio.move_on_after(self._core.config.stop_timeout):
            for session in list(self._sessions):
                session.end(1001, "the server is stopping", reconnect=True)
            for ended in list(self._sessions.values()):
                await ended.wait()
        connections.cancel_scope.cancel()

    async def _hurry_strangers(self) -> None:
        while True:
            await trio.sleep(HURRY_SECONDS)
            self._door.hurry(trio.current_time())

    async def _accept_all(self, listener: Listener, connections: trio.Nursery) -> None:
        while not self._stopping.is_set():
            try:
                arrival = await listener.accept()
            except trio.ClosedResourceError:
                return
            connections.start_soon(self._connection, arrival, next(self._numbers), name=f"connection {arrival.peer}")

    async def _connection(self, arrival: Arrival, number: int) -> None:
        """The barrier: nothing that happens inside harms anybody outside."""
        bind(connection=number, address=arrival.peer)
        try:
            async with trio.open_nursery() as nursery:
                entered = self._door.enter(arrival.peer, nursery.cancel_scope.cancel, trio.current_time())
                if entered is not None:
                    try:
                        await self._shake_hands(arrival, number, nursery, entered)
                    finally:
                        entered.leave()
                nursery.cancel_scope.cancel()
        except* (Disconnected, ProtocolError) as group:
            log.info("[%d %s] turned away: %s", number, arrival.peer, first_of(group), event="turned_away")
        except* Exception:
            log.exception("[%d %s] failed unexpectedly", number, arrival.peer, event="failed")
        finally:
            arrival.abort()

    async def _shake_hands(self, arrival: Arrival, number: int, nursery: trio.Nursery, entered: Pass) -> None:
        if isinstance(arrival, HttpArrival):
            await arrival.read_head()
            bind(address=arrival.peer)
            if not entered.identify(arrival.peer):
                await arrival.refuse(429, CROWDED)
                return
            if not await self._web.admit(arrival):
                return
        connection = await arrival.handshake(nursery)
        try:
            bind(address=connection.peer)
            if not entered.identify(connection.peer):
                raise Disconnected(4429, CROWDED)
            await self._converse(connection, number, nursery, entered)
        finally:
            connection.abort()

    async def _converse(self, connection: Connection, number: int, nursery: trio.Nursery, entered: Pass) -> None:
        session = Session(number, connection, self._core, nursery, entered)
        ended = self._sessions[session] = Flag()
        gone: Disconnected | None = None
        try:
            with session.scope:
                self._core.open_session(session)
                log.info("%r connected over %s", session, connection.url.partition(":")[0], event="connected")
                session.tell(self._hello())
                if self._stopping.is_set():
                    session.end(1001, "the server is stopping", reconnect=True)
                await Requests(session, self._core, self._extensions).run()
        except Disconnected as error:
            gone = error
            log.info("%r %s", session, gone, event="disconnected")
        except Exception:
            log.exception("%r failed unexpectedly", session, event="failed")
            if session.closing is None:
                session.closing = (1011, "the server failed in this connection", True)
        finally:
            session.stop_pulling()
            try:
                await self._say_goodbye(session, gone)
            finally:
                gone = None  # it knows this frame: together they would keep the connection until garbage is collected
                del self._sessions[session]
                ended.set()

    async def _say_goodbye(self, session: Session, gone: Disconnected | None) -> None:
        if gone is not None and gone.code in BROKE and session.closing is None and not self._stopping.is_set():
            self._core.lose_session(session)
            return
        # Where everybody has to go, each would be told of everybody else.
        self._core.end_session(session, quietly=self._stopping.is_set())
        if session.closing is not None:
            code, reason, reconnect = session.closing
            log.info("%r closed: %s (%d)", session, reason, code, event="closed")
            await self._settle(session)
            await session.connection.aclose(code, reason, reconnect=reconnect)
        elif gone is not None:
            # The link may still be telling its peer why it ended.
            await session.connection.aclose(gone.code, gone.reason, reconnect=gone.reconnect)

    async def _settle(self, session: Session) -> None:
        with trio.move_on_after(self._core.config.transport.close_timeout):
            while len(session.replies):
                await session.settled.wait()

    def _hello(self) -> Hello:
        config = self._core.config
        return Hello(
            protocol=1,
            server=f"chatkit/{__version__}",
            auth=self._core.engine.ways(),
            limits={
                "max_message_bytes": config.max_message_bytes,
                "page_bytes": config.page_bytes,
                "in_flight_messages": config.in_flight_messages,
                **(config.rates.announced() if config.rate_limits else {}),
            },
            heartbeat=config.heartbeat,
        )


@asynccontextmanager
async def open_server(
    store: str | Backend = DEFAULT_STORE,
    # where
    *,
    listen: Iterable[str] = DEFAULT_ADDRESSES,
    # what it adds
    extensions: Iterable[Extension] = (),
    routes: Iterable[Any] = (),
    # who vouches for people
    authenticator: Authenticator | None = None,
    # limits
    config: ServerConfig | None = None,
) -> AsyncIterator[Server]:
    """Run a chat server for as long as the block lasts.

    ``store`` is the URL of a backend (``sqlite:///chat.db``, ``memory://``) or an open `Backend`, which then stays
    the caller's to close. ``listen`` are the addresses; port 0 picks a free one, and ``server.addresses`` tells.
    An empty ``listen`` is a server for ``server.connect(…)`` alone. ``routes`` are Starlette routes of the program's
    own, served over HTTP on the WebSocket's port. ``authenticator`` may vouch for people who log in, from what another
    system knows of them; the usual ways stay open beside it.

    Leaving the block stops gracefully: nobody new is accepted, everybody is told (1001), what was accepted is
    committed and answered, within ``config.stop_timeout`` seconds. Cancelling stops at once. Either way everything
    acknowledged is kept.

    Raises `UsageError` (a wrong URL, colliding extensions), `ListenFailed`, `StorageUnreadable`.
    """
    async with AsyncExitStack() as stack:
        added = Extensions(extensions)
        core = await _prepare(stack, store, added, config or ServerConfig(), authenticator)
        *public, private = await _listen(stack, (*listen, "memory://"), core.config)
        server = Server(core, added, public, private, tuple(routes))
        async with private_nursery(lambda _: server.stop()) as nursery:
            await nursery.start(server.run)
            yield server


async def serve(
    store: str | Backend = DEFAULT_STORE,
    *,
    listen: Iterable[str] = DEFAULT_ADDRESSES,
    extensions: Iterable[Extension] = (),
    routes: Iterable[Any] = (),
    authenticator: Authenticator | None = None,
    config: ServerConfig | None = None,
    task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a chat server until `Server.stop` is called: ``server = await nursery.start(serve, "memory://")``.

    Takes what `open_server` takes and raises what it raises.
    """
    async with open_server(
        store, listen=listen, extensions=extensions, routes=routes, authenticator=authenticator, config=config
    ) as server:
        task_status.started(server)
        await server.wait_stopped()


async def _prepare(
    stack: AsyncExitStack,
    store: str | Backend,
    extensions: Extensions,
    config: ServerConfig,
    authenticator: Authenticator | None,
) -> Core:
    backend = store if isinstance(store, Backend) else await open_backend(store)
    if backend is not store:
        stack.push_async_callback(backend.aclose)
    core = Core(backend, config, Renderer(extensions.vocabulary), authenticator)
    await core.load()
    return core


async def _listen(stack: AsyncExitStack, urls: Iterable[str], config: ServerConfig) -> list[Listener]:
    listeners = []
    for url in urls:
        listener = await open_listener(url, config.transport_options)
        stack.callback(listener.close)
        listeners.append(listener)
    return listeners
