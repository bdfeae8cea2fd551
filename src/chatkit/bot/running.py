"""A bot that runs: a client, its rooms' readers, the lanes of people, and what is loaded.

Laws: an event is done when every handler for it has ended, and only then is it noted as done; whatever one handler
does, the other lanes go on; a graceful stop takes no more, lets handlers end within a deadline, notes what is done
and leaves. A conversation is given up by a stop without being done: the next run takes it up again.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from chatkit.bot.context import Context
from chatkit.bot.guard import Told
from chatkit.bot.handling import handle
from chatkit.bot.incoming import Incoming, is_durable
from chatkit.bot.intake import Intake
from chatkit.bot.lane import Lane
from chatkit.bot.loaded import Loaded
from chatkit.bot.memory import Memory, Shelf
from chatkit.bot.progress import Progress
from chatkit.bot.question import Question
from chatkit.bot.routing import Call, calls_for
from chatkit.bot.scope import Scope
from chatkit.bot.speaking import Speaker
from chatkit.client import Client, Connected, Position, Reconnecting, Status
from chatkit.errors import ConversationEnded, StorageUnavailable
from chatkit.protocol.messages import CaughtUp, RoomCreated, UserLeft, UserRenamed
from chatkit.protocol.moderation import RoomRenamed

if TYPE_CHECKING:
    from chatkit.bot.bot import Bot

log = logging.getLogger("chatkit.bot")
LAST_SAVE = 5.0
"""Seconds that noting what is done may take at the very end, also when the bot is cancelled."""
PAGE = 200
"""Entries of a room's past that are read at a time."""
SAVE_AGAIN = 1.0
"""Seconds before a failed attempt to note what is done is repeated."""


class Running:
    """One run of a bot, from its login to its goodbye."""

    def __init__(self, bot: Bot, client: Client, memory: Memory) -> None:
        self.bot = bot
        self.client = client
        self.speaker = Speaker(client)
        self.told = Told()
        self.kept: dict[Hashable, Any] = {}
        """What guards and handlers keep for this run, by key."""
        self.lanes: dict[tuple[str, str], Lane] = {}
        """Who is being dealt with, by room and person."""
        self.questions: dict[tuple[str, str], Question] = {}
        """What is asked of others than those whom a handler runs for, by room and person."""
        self.loaded: dict[Scope, Loaded] = {}
        self._memory = memory
        self._memory_lock = trio.Lock()
        self._intakes: list[Intake] = []
        self._unsaved: dict[str, Progress] = {}
        self._dirty = trio.Event()
        self._lanes_changed = trio.Event()
        self._taking = True
        self._is_away = False
        self._work: trio.Nursery
        self._scopes: trio.Nursery

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def run(self, stop: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        """Run until ``stop``. Raises `Disconnected` when the link is gone for good."""
        progress = await self._memory.progress(self.bot.name)
        try:
            async with trio.open_nursery() as self._scopes:
                self._scopes.start_soon(self._keep_saving)
                self._scopes.start_soon(self._keep_token)
                for scope in self.bot.scopes:
                    await self.load(scope)
                async with trio.open_nursery() as self._work:
                    async with trio.open_nursery() as intake:
                        intake.start_soon(self._watch_events)
                        for name in self.bot.rooms:
                            room = Intake(name, self, progress, self.bot.at_once)
                            self._intakes.append(room)
                            await intake.start(room.follow)
                        task_status.started()
                        await stop.wait()
                        log.info("%s is stopping", self.bot.name)
                        self._taking = False
                        intake.cancel_scope.cancel()
                    await self._let_handlers_end()
                    self._work.cancel_scope.cancel()
                for loaded in reversed(self.loaded.values()):
                    await loaded.unload()
                self._scopes.cancel_scope.cancel()
        finally:
            self._taking = False
            with trio.move_on_after(LAST_SAVE, shield=True):
                await self._save_all()

    async def _let_handlers_end(self) -> None:
        with trio.move_on_after(self.bot.stop_timeout) as scope:
            while any(not lane.asking for lane in self.lanes.values()):
                self._lanes_changed = trio.Event()
                await self._lanes_changed.wait()
        if scope.cancelled_caught:
            log.warning("%s: handlers still ran after %g s", self.bot.name, self.bot.stop_timeout)

    async def load(self, scope: Scope) -> None:
        """Begin a scope's life: its life span, then its jobs and handlers. Raises what its life span raises."""
        scope.check(self.bot.converters)
        loaded = Loaded(scope, self)
        await self._scopes.start(loaded.run)
        self.loaded[scope] = loaded

    async def unload(self, scope: Scope) -> None:
        """End a scope's life, and wait until nothing of it runs."""
        await self.loaded.pop(scope).unload()

    # ── what happens ─────────────────────────────────────────────────────────────────────────────────────────────────

    def submit(self, incoming: Incoming, intake: Intake) -> None:
        """Take an event: into its lane if a handler is for it, or if its lane is busy; else it is done."""
        key = (incoming.room or "", (incoming.user or "").casefold())
        lane = self.lanes.get(key)
        question = self.questions.get(key)
        if question is not None:
            if incoming.message is not None and not self._is_not_for_us(incoming):
                intake.count(+1)
                question.hold(incoming)
                return
            if isinstance(incoming.event, UserLeft):
                question.end("left")
        if self._is_not_for_us(incoming) or (lane is None and not self._calls(incoming)):
            self._finish(incoming, intake)
            return
        intake.count(+1)
        if lane is None:
            lane = self.lanes[key] = Lane(key, partial(self._lane_changed, intake))
            lane.put(incoming)
            self._work.start_soon(self._work_off, lane, intake)
        else:
            lane.put(incoming)

    def _is_not_for_us(self, incoming: Incoming) -> bool:
        if incoming.message is None:
            return incoming.user == self.client.user
        if incoming.user == self.client.user or (incoming.by_bot and not self.bot.heeds_bots):
            return True
        return self.bot.is_stale(incoming.message.time)

    def _calls(self, incoming: Incoming) -> list[Call]:
        return calls_for(incoming, self.loaded, self.bot.prefix, self.bot.group_help)

    async def _work_off(self, lane: Lane, intake: Intake) -> None:
        while lane.queue:
            incoming = lane.queue.popleft()
            if not await self._handle(incoming, lane):
                return
            intake.count(-1)
            for done in (incoming, *incoming.answers):
                self._finish(done, intake)
        del self.lanes[lane.key]
        self._lane_changed(intake, 0)

    async def _handle(self, incoming: Incoming, lane: Lane) -> bool:
        """Run every handler for an event; return False if the link is gone for good."""
        ended = True
        for call in self._calls(incoming):
            loaded = self.loaded.get(call.scope)
            if loaded is None:
                continue
            context = Context(self, incoming, call.handler, lane, call.match)

            async def run(call: Call = call, context: Context = context) -> None:
                nonlocal ended
                ended = await handle(call, context, self.bot, self.bot.deadline) and ended

            await loaded.call(run)
        return ended

    def _finish(self, incoming: Incoming, intake: Intake) -> None:
        intake.finished(incoming)
        if intake.progress is not None and incoming.position is not None:
            self._unsaved[intake.name] = intake.progress
            self._dirty.set()

    def _lane_changed(self, intake: Intake, less: int) -> None:
        # One who waits for an answer must not keep the answer from being read.
        intake.count(-less)
        self._lanes_changed.set()

    def end_conversations(self, room: str) -> None:
        """End what is being asked in a room: the bot is not in it any more."""
        for (name, _), lane in self.lanes.items():
            if name == room:
                lane.end_conversation("left")
        for (name, _), question in self.questions.items():
            if name == room:
                question.end("left")

    async def said_by(self, question: Question, after: int) -> Incoming | None:
        """Return the first message of whom a question is for behind a seq, among those its room's reader had taken
        before the question was open; None if there is none."""
        room = self.client.room(question.key[0])
        while room is not None:
            page = await room.history(after=after, limit=PAGE)
            for entry in page.events:
                seq = getattr(entry.event, "seq", None) or 0
                after = max(after, seq)
                if seq > question.since:
                    return None
                incoming = Incoming.of(entry.event, entry.timestamp, Position(page.epoch, seq))
                if incoming.message is not None and (incoming.user or "").casefold() == question.key[1]:
                    return incoming
            if not page.events or not page.more_after:
                return None
        return None

    @contextmanager
    def question_to(self, user: str, room: str) -> Iterator[Question]:
        """Hold what somebody says in a room while a question to them is open; afterwards it goes the ordinary way.

        Raises `ConversationEnded` if another question to them is open there.
        """
        key = (room, user.casefold())
        lane = self.lanes.get(key)
        if key in self.questions or (lane is not None and lane.questioned):
            raise ConversationEnded("busy", user)
        intake = next(intake for intake in self._intakes if intake.name == room)
        question = self.questions[key] = Question(key, user, intake)
        try:
            yield question
        finally:
            del self.questions[question.key]
            # What is held when the bot stops is not done: the next run takes it.
            for incoming in question.held() if self._taking else ():
                intake.count(-1)
                self.submit(incoming, intake)

    async def _watch_events(self) -> None:
        async for happening in self.client.events():
            incoming = Incoming.of(happening.event, happening.timestamp)
            if is_durable(happening.event) or isinstance(happening.event, CaughtUp):
                continue
            if isinstance(happening.event, UserRenamed):
                self._renamed(happening.event)
            if isinstance(happening.event, RoomRenamed):
                self._room_renamed(happening.event)
            for intake in self._intakes:
                if isinstance(happening.event, RoomCreated) and intake.name == incoming.room:
                    intake.created()
            self._ephemeral(incoming)

    def _room_renamed(self, event: RoomRenamed) -> None:
        """Go on under the new name; what was asked under the old one is over."""
        for intake in self._intakes:
            if intake.name == event.was:
                intake.name = event.room
                if intake.progress is not None:
                    self._unsaved[intake.name] = intake.progress
                    self._dirty.set()
        self.end_conversations(event.was)

    def _renamed(self, event: UserRenamed) -> None:
        """Let what is under way with a person go on under their new name."""
        was, now = event.was.casefold(), event.user.casefold()
        for room, user in list(self.lanes):
            if user == was and (room, now) not in self.lanes:
                lane = self.lanes[room, now] = self.lanes.pop((room, user))
                lane.key = (room, now)
        for room, user in list(self.questions):
            if user == was and (room, now) not in self.questions:
                question = self.questions[room, now] = self.questions.pop((room, user))
                question.key, question.user = (room, now), event.user

    def _ephemeral(self, incoming: Incoming) -> None:
        intakes = [intake for intake in self._intakes if incoming.room in (None, intake.name)]
        if intakes:
            intakes[0].take_ephemeral(incoming)
        elif self._intakes:
            self.submit(incoming, self._intakes[0])

    # ── memory ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def shelf(self, name: str) -> Shelf:
        """Return a shelf of the bot's memory."""
        return Shelf(self._memory, self.bot.name, name, self._memory_lock)

    async def save(self, room: str, progress: Progress) -> None:
        """Note how far the bot has got in a room. Raises `StorageUnavailable`."""
        await self._memory.save_progress(self.bot.name, {room: progress.copy()})

    async def _save_all(self) -> None:
        unsaved = {room: progress.copy() for room, progress in self._unsaved.items()}
        self._unsaved.clear()
        if not unsaved:
            return
        try:
            await self._memory.save_progress(self.bot.name, unsaved)
        except StorageUnavailable as error:
            log.error("%s cannot note what is done: %s", self.bot.name, error)
            for room in unsaved:
                self._unsaved.setdefault(room, unsaved[room])
            await trio.sleep(SAVE_AGAIN)
            self._dirty.set()

    async def _keep_saving(self) -> None:
        """What is done while one save is on its way to the disk goes with the next: one write for many events."""
        while True:
            await self._dirty.wait()
            self._dirty = trio.Event()
            await self._save_all()

    def _log(self, status: Status) -> None:
        """Say when the link is lost and when it is back, once each."""
        if isinstance(status, Reconnecting) and not self._is_away:
            log.warning("%s has lost its link and tries to come back: %s", self.bot.name, status.why)
            self._is_away = True
        elif isinstance(status, Connected) and self._is_away:
            log.info("%s is back", self.bot.name)
            self._is_away = False

    async def _keep_token(self) -> None:
        """Keep the session's token, which lets the next run take over from one that was killed."""
        kept = ""
        async for status in self.client.statuses():
            self._log(status)
            if isinstance(status, Connected) and self.client.token != kept:
                kept = self.client.token
                try:
                    await self.shelf("self").set("token", kept)
                except StorageUnavailable as error:
                    log.warning("%s cannot keep its token: %s", self.bot.name, error)
