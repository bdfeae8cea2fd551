"""Reading one room, from where the bot stopped: what it may not take yet stays in the log.

Laws: every entry behind the progress is taken once, in order; while as much is unfinished as may be, nothing is
taken; what is ephemeral takes its place behind the entries that came before it.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING

import trio

from chatkit.bot.incoming import Incoming
from chatkit.bot.progress import Progress
from chatkit.client import Room
from chatkit.errors import PositionLost, RequestFailed, StorageUnavailable

if TYPE_CHECKING:
    from chatkit.bot.running import Running

log = logging.getLogger("chatkit.bot")
MOST_EPHEMERAL = 1000
"""Comings and goings that wait for their place; beyond that they are dropped."""
AGAIN = 30.0
"""Seconds after which a room that could not be joined is tried again; at once when it is created."""


class Intake:
    """A bot's reader in one room."""

    def __init__(self, name: str, running: Running, kept: Mapping[str, Progress], at_once: int) -> None:
        self.name = name
        self.progress: Progress | None = None
        self.unfinished = 0
        """Entries taken and not done yet, without those whose handler waits for an answer."""
        self._running = running
        self._at_once = at_once
        self._kept = kept
        self._room_for_more = trio.Event()
        self._created = trio.Event()
        self._ephemeral: deque[tuple[int, Incoming]] = deque()
        self._at = 0

    @property
    def at(self) -> int:
        """The last entry taken."""
        return self._at

    def is_behind(self) -> bool:
        """Whether there are entries that have not been taken yet, as far as is known."""
        room = self._running.client.room(self.name)
        return room is not None and self._at < room.position.seq

    def finished(self, incoming: Incoming) -> None:
        """An entry has been dealt with."""
        progress, position = self.progress, incoming.position
        if position is not None and progress is not None and position.epoch == progress.epoch:
            progress.done(position.seq)

    def count(self, by: int) -> None:
        """Count entries in or out of what is unfinished."""
        self.unfinished += by
        if self.unfinished < self._at_once:
            self._room_for_more.set()

    def created(self) -> None:
        """The room has come to be."""
        self._created.set()

    def take_ephemeral(self, incoming: Incoming) -> None:
        """Take what leaves no trace in the log, behind the entries that came before it."""
        room = self._running.client.room(self.name)
        behind = room.position.seq if room is not None else 0
        if self._at >= behind and not self._ephemeral:
            self._running.submit(incoming, self)
        elif len(self._ephemeral) < MOST_EPHEMERAL:
            self._ephemeral.append((behind, incoming))

    async def follow(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Be in the room and read it, for as long as the bot runs; join again when it was left or made anew."""
        told = False
        while True:
            try:
                room = await self._running.client.join(self.name)
                self.name = room.name
                await self._begin(room)
                if not told:
                    task_status.started()
                    told = True
                await self._read(room)
            except (RequestFailed, StorageUnavailable) as error:
                log.warning("the bot cannot be in %s: %s", self.name, error)
                if not told:
                    task_status.started()
                    told = True
                await self._wait_a_while()
            else:
                if room.removed is not None:
                    log.warning("the bot was sent out of %s: %s", self.name, room.removed.reason or "no reason given")
                    await self._wait_a_while()
            self._running.end_conversations(self.name)

    async def _wait_a_while(self) -> None:
        self._created = trio.Event()
        with trio.move_on_after(AGAIN):
            await self._created.wait()

    def _kept_of(self, room: Room) -> Progress | None:
        """Return how far an earlier run came in this log, whatever the room was called then."""
        same_log = (progress for progress in self._kept.values() if progress.epoch == room.position.epoch)
        return next(same_log, None) or self._kept.get(self.name)

    async def _begin(self, room: Room) -> None:
        self.progress = self.progress or self._kept_of(room)
        if self.progress is None:
            # Kept before anything is handled: a bot killed right away goes on from here, not from a later place.
            # From the login on, not from this join: people talk to a bot as soon as they see it.
            begin = room.entries().position
            self.progress = Progress(begin.epoch, begin.seq)
            await self._running.save(self.name, self.progress)
        self._at = self.progress.seq

    async def _read(self, room: Room) -> None:
        progress = self.progress
        if progress is None:
            return
        entries = room.entries(after=progress.position)
        while True:
            while self.unfinished >= self._at_once:
                self._room_for_more = trio.Event()
                await self._room_for_more.wait()
            try:
                entry = await anext(entries)
            except StopAsyncIteration:
                return
            except PositionLost as error:
                log.warning("%s: %s; going on with the oldest entry that is", self._running.bot.name, error)
                progress = self.progress = Progress(entries.position.epoch, entries.position.seq)
                continue
            self._at = entries.position.seq
            if not progress.is_done(self._at):
                self._running.submit(Incoming.of(entry.event, entry.timestamp, entries.position), self)
            self._flush()

    def _flush(self) -> None:
        while self._ephemeral and self._ephemeral[0][0] <= self._at:
            self._running.submit(self._ephemeral.popleft()[1], self)
