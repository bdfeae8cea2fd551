"""Scripted people: what they say, what they expect to hear, and a readable account when it comes out otherwise."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any, TypeAlias

import attrs
import trio
from attrs import define, frozen

from chatkit.client import Client, Message, Room
from chatkit.errors import UsageError
from chatkit.protocol.messages import Event, ReceiveMessage, Request, UnknownEvent

Expectation: TypeAlias = str | bytes | type[Event] | Callable[[Event], bool]


class NotAsExpected(AssertionError):
    """Somebody heard something else, or nothing. The text shows the difference to what was expected, line by line."""


@define(eq=False)
class Heard:
    """Something that reached a person. ``accounted`` once an expectation has met it."""

    event: Event
    accounted: bool = False

    @property
    def said(self) -> str | bytes | None:
        """What was said; None if the event is no message."""
        event = self.event
        return (event.text if event.binary is None else event.binary) if isinstance(event, ReceiveMessage) else None


class Person:
    """Somebody at a `TestServer`, driven by a script. Made by `TestServer.person`.

    ``client`` is a `chatkit.Client` like any other: what has no verb here is done with it.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self.heard: list[Heard] = []
        """Everything that reached this person, oldest first."""
        self._script: list[str] = []
        self._events = client.events()
        self._news = trio.Event()
        self._leaving = trio.Event()

    def __repr__(self) -> str:
        return f"<Person {self.name!r}>"

    @property
    def name(self) -> str:
        """What others call this person."""
        return self.client.user

    def room(self, name: str = "general") -> Room:
        """Return a room this person is in. Raises `UsageError` if they are not."""
        try:
            return self.client.rooms[name]
        except KeyError:
            raise UsageError(f"{self.name} is not in {name!r}") from None

    # ── acting ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def says(self, said: str | bytes, *, room: str = "general", **options: Any) -> Message:
        """Say something; return once the server keeps it. Takes the options of `chatkit.Room.send` and raises what it
        raises."""
        return await self.room(room).send(said, **options)

    async def joins(self, room: str, **options: Any) -> Room:
        """Enter a room, as `chatkit.Client.join`."""
        return await self.client.join(room, **options)

    async def creates(self, room: str, **options: Any) -> Room:
        """Create a room, as `chatkit.Client.create`."""
        return await self.client.create(room, **options)

    async def leaves(self, room: str) -> None:
        """Leave a room, as `chatkit.Room.leave`."""
        await self.room(room).leave()

    async def renames(self, name: str) -> None:
        """Take another name, as `chatkit.Client.rename`."""
        await self.client.rename(name)

    async def asks(self, request: Request[Any]) -> Any:
        """Send any request and return its reply, as `chatkit.Client.request`."""
        return await self.client.request(request)

    async def goes(self) -> None:
        """Say goodbye and disconnect; return when the link is closed."""
        self.leave_soon()
        await self.client.wait_closed()

    # ── hearing ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def hears(
        self,
        expected: Expectation,
        *,
        within: float = 5.0,
        by: str | None = None,
        room: str | None = None,
        **fields: Any,
    ) -> Any:
        """Wait for what is expected and return the event.

        A text or bytes: the next message this person hears must be that one, ``by`` and in ``room`` if given; what
        they said themselves is passed over where it does not fit. An event class, with ``fields`` its event must have,
        or a function that says whether an event is meant: the next such event, whatever else happens meanwhile.

        Every event meets one expectation. Raises `NotAsExpected` when another message comes, or nothing within
        ``within`` seconds of Trio's clock.
        """
        wanted = _Wanted(expected, {"user": by, "room": room} | fields)
        try:
            with trio.fail_after(within):
                while (found := self._find(wanted)) is None:
                    await self._news.wait()
        except trio.TooSlowError:
            raise self._otherwise(wanted, f"did not hear it within {within:g} s") from None
        found.accounted = True
        self._script.append(_line(found.event))
        return found.event

    async def hears_nothing(self, *, within: float = 1.0) -> None:
        """Wait ``within`` seconds of Trio's clock. Raises `NotAsExpected` if a message reaches this person by then, or
        did before without an expectation for it; their own do not count."""
        with trio.move_on_after(within):
            while not self._unexpected():
                await self._news.wait()
        if self._unexpected():
            raise self._otherwise(None, "heard something, and nothing was expected")

    def transcript(self) -> str:
        """Return everything this person heard, a line each."""
        return "\n".join(_line(heard.event) for heard in self.heard)

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def listen(self) -> None:
        """Take in what happens until the link ends; `TestServer` runs this."""
        async for happening in self._events:
            self.heard.append(Heard(happening.event))
            self._news.set()
            self._news = trio.Event()

    def leave_soon(self) -> None:
        """Begin to say goodbye."""
        self._leaving.set()

    async def wait_leaving(self) -> None:
        """Return once the script has this person go."""
        await self._leaving.wait()

    def _find(self, wanted: _Wanted) -> Heard | None:
        open_ones = [heard for heard in self.heard if not heard.accounted]
        for heard in open_ones:
            if wanted.fits(heard):
                return heard
            if wanted.is_message and heard.said is not None and not self._own(heard):
                raise self._otherwise(wanted, "heard something else")
        return None

    def _unexpected(self) -> bool:
        return any(heard.said is not None and not heard.accounted and not self._own(heard) for heard in self.heard)

    def _own(self, heard: Heard) -> bool:
        return getattr(heard.event, "user", None) == self.name

    def _otherwise(self, wanted: _Wanted | None, what: str) -> NotAsExpected:
        script = [*self._script, *([wanted.line()] if wanted else [])]
        lines = difflib.ndiff(script, [_line(heard.event) for heard in self.heard])
        shown = "\n".join(f"  {line}" for line in lines if not line.startswith("?"))
        expected = f"expected {wanted.line()}\n" if wanted else ""
        return NotAsExpected(f"{self.name} {what}\n{expected}- expected, + heard:\n{shown}")


@frozen
class _Wanted:
    expected: Expectation
    fields: dict[str, Any]

    @property
    def is_message(self) -> bool:
        return isinstance(self.expected, str | bytes)

    def fits(self, heard: Heard) -> bool:
        if self.is_message:
            return heard.said == self.expected and self._has_fields(heard.event)
        if isinstance(self.expected, type):
            return isinstance(heard.event, self.expected) and self._has_fields(heard.event)
        return self.expected(heard.event) and self._has_fields(heard.event)  # type: ignore[operator]

    def _has_fields(self, event: Event) -> bool:
        return all(getattr(event, name, None) == value for name, value in self.fields.items() if value is not None)

    def line(self) -> str:
        given = {name: value for name, value in self.fields.items() if value is not None}
        if self.is_message:
            room, user = given.get("room", "…"), given.get("user", "…")
            return f"[{room}] {user}: {self.expected!r}"
        name = str(getattr(self.expected, "action", None) or getattr(self.expected, "__name__", self.expected))
        return " ".join([name, *(f"{key}={value!r}" for key, value in given.items())])


def _line(event: Event) -> str:
    """One event as a line of a transcript."""
    if isinstance(event, ReceiveMessage):
        return f"[{event.room}] {event.user}: {(event.text if event.binary is None else event.binary)!r}"
    if isinstance(event, UnknownEvent):
        fields = dict(event.data)
    else:
        fields = {field.name: getattr(event, field.name) for field in attrs.fields(type(event))}  # type: ignore[arg-type]
    return " ".join([event.action, *(f"{key}={value!r}" for key, value in fields.items())])
