"""What a handler gets: what happened, where, by whom, and the means to answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

import trio

from chatkit.bot.converting import Unfit
from chatkit.bot.guard import Scope as Per
from chatkit.bot.guard import Told
from chatkit.bot.incoming import Incoming
from chatkit.bot.lane import Lane
from chatkit.bot.memory import Shelf
from chatkit.bot.ops import Ops
from chatkit.bot.pattern import Match
from chatkit.bot.question import Question
from chatkit.bot.speaking import Broadcast
from chatkit.client import Client, Message, Room
from chatkit.errors import ConversationEnded, UsageError
from chatkit.protocol.messages import Event, UserInfo

if TYPE_CHECKING:
    from chatkit.bot.bot import Bot
    from chatkit.bot.command import Handler
    from chatkit.bot.running import Running

T = TypeVar("T")
ANSWER_TIMEOUT = 60.0
CANCEL_WORDS = ("cancel", "stop", "quit")


class Acting:
    """What handlers of events and jobs have in common: a bot that is running, and an occasion to speak."""

    def __init__(self, running: Running, ops: Ops) -> None:
        self.bot: Bot = running.bot
        """The bot this is a handler of."""
        self._running = running
        self._ops = ops

    @property
    def client(self) -> Client:
        """The session at the server, for what has no method here."""
        return self._running.client

    @property
    def bot_memory(self) -> Shelf:
        """What the bot keeps for itself."""
        return self._running.shelf("bot")

    def now(self) -> datetime:
        """Return the time of day, in UTC."""
        return self.bot.now()

    def of_this_run(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what is kept under a key for as long as the bot runs; ``make()`` makes it the first time."""
        kept = self._running.kept
        if key not in kept:
            kept[key] = make()
        value: T = kept[key]
        return value

    def room_named(self, name: str) -> Room:
        """Return a room the bot is in. Raises `UsageError` if it is in none of this name."""
        room = self.client.room(name)
        if room is None:
            raise UsageError(f"the bot is not in a room {name!r}")
        return room

    async def _say(
        self, said: str | bytes, room: Room, *, reply_to: int | None, key: str | None, after: int | None
    ) -> Message:
        op = self._ops.next(key)
        return await self._running.speaker.say(room, said, reply_to=reply_to, op=op, after=after)

    async def broadcast(
        self,
        said: str | bytes,
        rooms: Iterable[str] | None = None,
        *,
        key: str | None = None,
        on_progress: Callable[[int, int], object] = lambda done, of: None,
    ) -> Broadcast:
        """Say something in several rooms, or in all the bot is in; return how it went.

        ``on_progress(done, of)`` is called after each room. A room that refuses does not stop the others. Raises
        `Disconnected`, `UsageError` for a room the bot is not in.
        """
        op = self._ops.next(key)
        chosen = list(self.client.rooms.values()) if rooms is None else [self.room_named(name) for name in rooms]
        return await self._running.speaker.broadcast(chosen, said, op, on_progress)


class JobContext(Acting):
    """What a job gets. ``due`` is when it was to run."""

    def __init__(self, running: Running, ops: Ops, due: datetime) -> None:
        super().__init__(running, ops)
        self.due = due

    async def say(self, said: str | bytes, *, room: str = "general", key: str | None = None) -> Message:
        """Say something in a room; see `Context.say`."""
        return await self._say(said, self.room_named(room), reply_to=None, key=key, after=None)


class Context(Acting):
    """What a handler of an event gets.

    What is said here is said once: it carries an op made of the event, the handler and how many things were said
    before; when the bot was killed before it could note that the event is dealt with, and handles it again, the server
    keeps the first. Things said in tasks of one's own, in no fixed order, need a ``key`` each for that.
    """

    def __init__(
        self, running: Running, incoming: Incoming, handler: Handler, lane: Lane, match: Match | None = None
    ) -> None:
        place = incoming.position or running.client.new_op()  # what is ephemeral does not come again
        super().__init__(running, Ops(running.bot.name, incoming.room, place, handler.name))
        self.match = match
        """Where the filter's pattern matched, if it has one."""
        self.command = handler
        """The command or listener that runs."""
        self._incoming = incoming
        self._lane = lane
        self._still = _StandsStill()
        self._asked: Counter[str] = Counter()

    # ── what happened ────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def event(self) -> Event:
        """What happened."""
        return self._incoming.event

    @property
    def message(self) -> Message:
        """What was said. Raises `UsageError` if the event is no message."""
        if self._incoming.message is None:
            raise UsageError(f"{self.event.action} is no message")
        return self._incoming.message

    @property
    def text(self) -> str:
        """What was said; empty if it is no text."""
        return self._incoming.text

    @property
    def user(self) -> str:
        """Who it was; empty for what nobody did."""
        return self._incoming.user or ""

    @property
    def room(self) -> Room:
        """Where it was. Raises `UsageError` if the event has no room, or the bot is not in it."""
        return self.room_named(self._incoming.room or "")

    @property
    def room_memory(self) -> Shelf:
        """What the bot keeps about this room."""
        return self._running.shelf(f"room {self._incoming.room}")

    @property
    def user_memory(self) -> Shelf:
        """What the bot keeps about this person."""
        return self._running.shelf(f"user {self.user.casefold()}")

    @property
    def remaining(self) -> float:
        """How many seconds the handler has left; infinity without a deadline."""
        return self._still.remaining

    async def role(self) -> str:
        """Return the role the server says this person has; empty if they are gone."""
        state = self.room.state
        if state.members_stale and self.user not in state.members:
            await self.room.users()
        member = state.members.get(self.user)
        return member.role if member else ""

    def key(self, per: Per) -> Hashable:
        """Return what tells users, rooms or members apart."""
        user, room = self.user.casefold(), self._incoming.room
        return {"user": user, "room": room, "member": (room, user), "bot": None}[per]

    # ── answering ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def reply(self, said: str | bytes, *, key: str | None = None) -> Message:
        """Answer the message; return once it is kept. Raises `RequestFailed`, `Disconnected`."""
        return await self._say(said, self.room, reply_to=self._incoming.seq or None, key=key, after=self._after(None))

    async def say(self, said: str | bytes, *, room: str | None = None, key: str | None = None) -> Message:
        """Say something here or in another room; return once it is kept.

        It goes out as fast as the server takes it. Raises `RequestFailed`, `Disconnected`, `UsageError` for a room
        the bot is not in.
        """
        where = self.room if room is None else self.room_named(room)
        return await self._say(said, where, reply_to=None, key=key, after=self._after(room))

    def _after(self, room: str | None) -> int | None:
        return self._incoming.seq or None if room in (None, self._incoming.room) else None

    # ── conversations ────────────────────────────────────────────────────────────────────────────────────────────────

    @overload
    async def ask(
        self,
        question: str,
        kind: type[T],
        *,
        who: str | UserInfo | None = ...,
        timeout: float = ...,  # noqa: ASYNC109 - it ends the conversation, not only the wait
        check: Callable[[T], str | None] | None = ...,
        cancel_words: Collection[str] = ...,
    ) -> T: ...

    @overload
    async def ask(
        self,
        question: str,
        kind: Any = ...,
        *,
        who: str | UserInfo | None = ...,
        timeout: float = ...,  # noqa: ASYNC109 - it ends the conversation, not only the wait
        check: Callable[[Any], str | None] | None = ...,
        cancel_words: Collection[str] = ...,
    ) -> Any: ...

    async def ask(
        self,
        question: str,
        kind: Any = str,
        *,
        who: str | UserInfo | None = None,
        timeout: float = ANSWER_TIMEOUT,  # noqa: ASYNC109
        check: Callable[[Any], str | None] | None = None,
        cancel_words: Collection[str] = CANCEL_WORDS,
    ) -> Any:
        """Ask whoever this is about, or ``who``; return what they answer, converted as an argument would be.

        The answer is the next message of that person in this room behind the question, and goes nowhere else. One
        that does not fit, or of which ``check(value)`` returns what is wrong with it, is told so and asked for again.
        ``timeout`` is in seconds and bounds the whole; the handler's deadline stands still meanwhile. Several people
        can be asked at a time, in a nursery of one's own.

        Raises `ConversationEnded` on time-out, on a cancel word, when the person leaves or is not there, and when
        another question to them is open in this room; a handler that lets it pass ends with a short word to the person
        it runs for. When the bot stops, or dies, the conversation is taken up again by
        its next run: the handler begins anew, and what it said and was answered before is found in the room.
        """
        name = who.user if isinstance(who, UserInfo) else who
        with self._still, trio.move_on_after(timeout), self._asking(name) as asking:
            after = await asking.say(question)
            while True:
                answer = await asking.answer(after)
                self._incoming.answers.append(answer)
                value, wrong = await self._judge(answer, kind, check, cancel_words, asking.user)
                if wrong is None:
                    return value
                await asking.say(wrong, answer)
                after = answer.seq
        raise ConversationEnded("timeout", name or "")

    async def confirm(
        self,
        question: str,
        *,
        who: str | UserInfo | None = None,
        timeout: float = ANSWER_TIMEOUT,  # noqa: ASYNC109
    ) -> bool:
        """Ask for yes or no; see `ask`."""
        answer: bool = await self.ask(f"{question} (yes/no)", bool, who=who, timeout=timeout)
        return answer

    @contextmanager
    def _asking(self, who: str | None) -> Iterator[_Asking]:
        key = (self.room.name, self.user.casefold())
        if who is None or who.casefold() == key[1]:
            if key in self._running.questions:
                raise ConversationEnded("busy")
            yield _AskingHere(self)
            return
        if who.casefold() == self.client.user.casefold():
            raise UsageError("a bot cannot ask itself")
        with self._running.question_to(who, self.room.name) as question, self._lane.waiting():
            yield _AskingOther(self, question)

    async def member(self, user: str) -> UserInfo | None:
        """Return who in the room has this name; None if nobody."""
        state, wanted = self.room.state, user.casefold()
        users = await self.room.users() if state.members_stale else list(state.members.values())
        return next((one for one in users if one.user.casefold() == wanted), None)

    async def _judge(
        self,
        answer: Incoming,
        kind: Any,
        check: Callable[[Any], str | None] | None,
        cancel_words: Collection[str],
        whose: str,
    ) -> tuple[Any, str | None]:
        text = answer.text.strip()
        if text.removeprefix(self.bot.prefix).casefold() in cancel_words:
            raise ConversationEnded("cancelled", whose)
        try:
            value = await self.bot.converters.convert(text, kind, self)
        except Unfit as error:
            hint = f", or say {next(iter(cancel_words))}" if cancel_words else ""
            return None, f"That should be {error}. Try again{hint}."
        return value, None if check is None else check(value)

    @property
    def told(self) -> Told:
        """Who has been told of refusals."""
        return self._running.told

    def bound_by(self, scope: trio.CancelScope) -> None:
        """Take the handler's deadline from a scope."""
        self._still = _StandsStill(scope)


class _Asking(Protocol):
    """How a question reaches somebody, and their answer the handler."""

    @property
    def user(self) -> str:
        """Who is asked; empty for the person the handler runs for."""

    async def say(self, text: str, about: Incoming | None = None) -> int:
        """Say something to them; return where it stands."""

    async def answer(self, after: int) -> Incoming:
        """Return their first message behind a seq."""


class _AskingHere:
    """Asks the person the handler runs for."""

    user = ""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def say(self, text: str, about: Incoming | None = None) -> int:
        return (await self._context.reply(text)).seq

    async def answer(self, after: int) -> Incoming:
        return await self._context._lane.answer(after)


class _AskingOther:
    """Asks somebody else in the room. What is said has marks of its own: several may be asked at a time."""

    def __init__(self, context: Context, question: Question) -> None:
        self._context = context
        self._question = question
        self._asked = question.key[1]

    @property
    def user(self) -> str:
        return self._question.user

    async def say(self, text: str, about: Incoming | None = None) -> int:
        context = self._context
        if about is None and not self._question.intake.is_behind() and await context.member(self.user) is None:
            raise ConversationEnded("left", self.user)
        context._asked[self._asked] += 1
        key = f"to {self._asked} {context._asked[self._asked]}"
        after = context._after(None)
        to = context._incoming.seq if about is None else about.seq
        return (await context._say(text, context.room, reply_to=to or None, key=key, after=after)).seq

    async def answer(self, after: int) -> Incoming:
        if after < self._question.since:  # an earlier run has asked: the answer may have been read already
            found = await self._context._running.said_by(self._question, after)
            if found is not None:
                return found
        return await self._question.answer(after)


class _StandsStill:
    """Moves a handler's deadline on by as long as blocks of it last, which may overlap."""

    def __init__(self, scope: trio.CancelScope | None = None) -> None:
        self._scope = scope
        self._left = float("inf")
        self._blocks = 0

    @property
    def remaining(self) -> float:
        """Seconds to the deadline; while a block lasts, those that will be left."""
        if self._scope is None or self._blocks:
            return self._left
        return self._scope.deadline - trio.current_time()

    def __enter__(self) -> None:
        self._blocks += 1
        if self._scope is not None and self._blocks == 1:
            self._left = self._scope.deadline - trio.current_time()
            self._scope.deadline = float("inf")

    def __exit__(self, *_: object) -> None:
        self._blocks -= 1
        if self._scope is not None and not self._blocks:
            self._scope.deadline = trio.current_time() + self._left
