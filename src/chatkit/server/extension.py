"""A program's own part of a server: actions, events, and hooks that may amend or veto requests.

What an extension adds passes through the same codec, limits and checks as everything else: a request class with a
field ``room`` is only served to a session that is in that room.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import evolve, frozen

from chatkit.backend.records import Append, Appended, Refused
from chatkit.errors import ProtocolError, RequestFailed, StorageUnavailable, UsageError
from chatkit.protocol.codes import ErrorCode
from chatkit.protocol.messages import Event, Request, UserInfo
from chatkit.protocol.positions import Position
from chatkit.protocol.vocabulary import STANDARD, EventType, RequestType, Vocabulary
from chatkit.server.logbook import Logbook
from chatkit.server.rendering import is_durable

if TYPE_CHECKING:
    from chatkit.engine.state import Room
    from chatkit.server.core import Core

log = Logbook("chatkit.server.extension")
R = TypeVar("R")
Q = TypeVar("Q", bound=Request[Any])
E = TypeVar("E", bound=type[Event])


@frozen(eq=False)
class RequestContext:
    """Who asks, and what a handler or hook may do about it."""

    session: int
    user: UserInfo | None
    """Who is logged in on this link; None before login."""
    _core: Core

    @property
    def name(self) -> str:
        """The name of who asks; empty before login, which only hooks see."""
        return self.user.user if self.user else ""

    async def publish(self, event: Event, *, op: str | None = None) -> Position | None:
        """Publish an event of a registered class to the room it names, in the name of who asks.

        An event with a field ``seq`` is durable: it becomes an entry of the room's log (give it ``seq=0``), and the
        position is returned once it is kept. Any other event goes to those who are in the room now; None is returned.
        ``op`` makes a durable one safe to repeat.

        Raises `RequestFailed` (``no_such_room``, ``not_in_room``, ``op_conflict``), `StorageUnavailable`. Cancelling
        does not take back what was handed to the log.
        """
        core, name = self._core, getattr(event, "room", None)
        if not isinstance(name, str):
            raise UsageError(f"{type(event).__name__} has no 'room' to publish it to")
        try:
            user, room = core.engine.require_login(self.session), self._speaking_in(name)
        except ProtocolError as error:
            raise RequestFailed(error.code, error.message) from None
        if not is_durable(type(event)):
            core.renderer.checked_fields(event)
            core.channels[room.id].attached.tell(event, core.now_ms(), core.renderer)
            return None
        change = Append(
            room_id=room.id,
            kind=event.action,
            author=user.author,
            name=user.name,
            time=core.now_ms(),
            body=core.renderer.body(event),
            op=op,
        )
        touches = core.touched(self.session, name)
        outcome = await core.commit(change, touches=touches, judge=lambda: self._refused(name))
        if isinstance(outcome, Refused):
            raise RequestFailed(outcome.code, outcome.message)
        if not isinstance(outcome, Appended):
            raise AssertionError(f"an append was answered by {outcome!r}")
        return Position(outcome.epoch, outcome.row.seq)

    def _speaking_in(self, name: str) -> Room:
        return self._core.engine.require_speech(self.session, name, self._core.moment())

    def _refused(self, name: str) -> Refused | None:
        try:
            self._speaking_in(name)
        except ProtocolError as error:
            return Refused(error.code, error.message)
        return None

    def tell(self, event: Event) -> None:
        """Send an event to the link that asks, and to nobody else."""
        session = self._core.sessions.get(self.session)
        if session is not None:
            session.tell(event)


Handler = Callable[[RequestContext, Any], Awaitable[Any]]
Hook = Callable[[RequestContext, Any], Awaitable[Any]]


class Extension:
    """Collects a program's actions, events and hooks; hand it to `open_server(…, extensions=[…])`.

    ::

        game = Extension()

        @game.action(Play)
        async def play(context: RequestContext, request: Play) -> Played: ...
    """

    def __init__(self) -> None:
        self.handlers: dict[RequestType, Handler] = {}
        self.events: list[EventType] = []
        self.hooks: list[tuple[tuple[RequestType, ...], Hook]] = []

    def action(
        self, request: type[Q]
    ) -> Callable[[Callable[[RequestContext, Q], Awaitable[R]]], Callable[[RequestContext, Q], Awaitable[R]]]:
        """Serve a request class of the program's own. The decorated handler returns the reply, an object of the
        class that the request names, or raises `RequestFailed`. Anything else it raises is logged, and answered by
        ``internal_error``."""
        if request in self.handlers:
            raise UsageError(f"{request.__name__} has a handler already")

        def register(
            handler: Callable[[RequestContext, Q], Awaitable[R]],
        ) -> Callable[[RequestContext, Q], Awaitable[R]]:
            self.handlers[request] = handler
            return handler

        return register

    def event(self, event: E) -> E:
        """Make an event class known; use it as a decorator above ``@attrs.frozen``."""
        self.events.append(event)
        return event

    def before(self, *requests: RequestType) -> Callable[[Hook], Hook]:
        """Look at requests of these classes (of every class, without arguments) before anything else does.

        The decorated hook returns the request, the same or an amended one, or raises `RequestFailed` to veto it.
        Hooks run in the order they were added.
        """

        def register(hook: Hook) -> Hook:
            self.hooks.append((requests, hook))
            return hook

        return register


class Extensions:
    """All extensions of one server, together. Raises `UsageError` when their actions collide."""

    def __init__(self, extensions: Iterable[Extension]) -> None:
        self.handlers: dict[RequestType, Handler] = {}
        self.hooks: list[tuple[tuple[RequestType, ...], Hook]] = []
        self.vocabulary: Vocabulary = STANDARD
        for extension in extensions:
            self.vocabulary = self.vocabulary.including(extension.handlers, extension.events)
            self.handlers |= extension.handlers
            self.hooks += extension.hooks

    def serves(self, request: Request[Any]) -> bool:
        """Whether a request is one of an extension's."""
        return type(request) in self.handlers

    async def amend(self, request: Request[Any], session: int, core: Core) -> Request[Any]:
        """Pass a request through the hooks. Raises `RequestFailed`."""
        for kinds, hook in self.hooks:
            if not kinds or isinstance(request, kinds):
                amended = await self._guarded(hook, request, session, core)
                if not isinstance(amended, type(request)):
                    log.error(
                        "a hook before %s returned a %s",
                        request.action,
                        type(amended).__name__,
                        event="extension_failed",
                    )
                    raise RequestFailed(ErrorCode.INTERNAL_ERROR, "the server failed in this request")
                request = amended
        return request

    async def serve(self, request: Request[Any], session: int, core: Core) -> Any:
        """Let the handler serve the request and return its reply. Raises `RequestFailed`, `ProtocolError`."""
        core.engine.require_login(session)
        name = getattr(request, "room", None)
        if name is not None:
            room = core.engine.require_present(session, name)
            request = evolve(request, room=room.name)  # type: ignore[misc]
        reply = await self._guarded(self.handlers[type(request)], request, session, core)
        if not isinstance(reply, type(request).reply):
            log.error("the handler of %s returned a %s", request.action, type(reply).__name__, event="extension_failed")
            raise RequestFailed(ErrorCode.INTERNAL_ERROR, "the server failed in this request")
        return reply

    async def _guarded(self, run: Handler, request: Request[Any], session: int, core: Core) -> Any:
        user = core.engine.user_of(session)
        context = RequestContext(session, user.info() if user else None, core)
        try:
            return await run(context, request)
        except (RequestFailed, ProtocolError, StorageUnavailable):
            raise
        except Exception as error:
            log.exception("[%d] a handler of %s failed", session, request.action, event="extension_failed")
            raise RequestFailed(ErrorCode.INTERNAL_ERROR, "the server failed in this request") from error
