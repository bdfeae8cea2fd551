"""Where the parts meet: the engine, the rooms' channels, the sessions and the feed of what was committed.

Laws: everything here is synchronous but for waiting; an effect of the engine is carried out at once and in order; a
batch of the feed is published row by row in its order, and cut after every fact that changes who may read.
"""

from __future__ import annotations

import heapq
import logging
from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import assert_never

import trio

from chatkit.backend.interface import Backend, Follower
from chatkit.backend.records import (
    Account,
    Applied,
    Ban,
    Batch,
    Change,
    DeleteRoom,
    Fact,
    Outcome,
    Put,
    PutMember,
    Redact,
    Remove,
    RemoveMember,
    Row,
    TokenRecord,
    Trim,
    UpdateRoom,
)
from chatkit.engine import (
    Attach,
    Changed,
    CloseSession,
    Detach,
    Effect,
    Engine,
    Moment,
    Proposal,
    Tell,
    TellEveryone,
    TellRoom,
)
from chatkit.engine.login import Entry
from chatkit.protocol.codes import may_reconnect
from chatkit.protocol.messages import Event, RoomUpdated
from chatkit.server.authenticator import Authenticator
from chatkit.server.channel import Audience, Channel
from chatkit.server.committer import Committer, Judge
from chatkit.server.config import ServerConfig
from chatkit.server.endings import Endings
from chatkit.server.passwords import Passwords
from chatkit.server.rendering import Renderer
from chatkit.server.ring import Rings
from chatkit.server.session import Session
from chatkit.server.statistics import Counters, Statistics
from chatkit.server.throttle import Throttle
from chatkit.server.tries import Tries

LIST_LINES = 100_000
"""Lines of room lists, over all sessions, that are sent at a time; the other changed rooms wait for the next turn."""
LIST_REST = 9.0
"""Times as long as one turn took until the next: lists take a tenth of the time at most."""
log = logging.getLogger("chatkit.server")


class Core:
    """One server's state, and what moves it."""

    def __init__(
        self,
        backend: Backend,
        config: ServerConfig,
        renderer: Renderer,
        authenticator: Authenticator | None = None,
    ) -> None:
        self.now_ms = config.now_ms
        self.counters = Counters()
        self.loop_delay = 0.0
        self.backend = backend
        self.config = config
        self.renderer = renderer
        self.authenticator = authenticator
        self.passwords = Passwords(workers=config.password_workers)
        self.tries = Tries(Throttle(config.logins))
        self.engine = Engine(new_id=lambda: config.secret(8), new_token=lambda: config.secret(24), limits=config.engine)
        self.committer = Committer(backend, config, self.counters, self.take_what_is_at_hand, self.reached)
        self.channels: dict[str, Channel] = {}
        self.sessions: dict[int, Session] = {}
        self.everyone = Audience()
        self.endings = Endings(self)
        self._rings = Rings(config.ring_events, config.ring_bytes, config.rings_bytes)
        self.position = 0
        self._feed: Follower | None = None
        self._waiting: list[tuple[int, int, trio.Event]] = []
        self._changed: dict[str, None] = {}  # no set: its order would differ from run to run
        self._list_due = trio.Event()
        self._lost: deque[tuple[float, Session]] = deque()
        self._lost_some = trio.Event()

    def moment(self) -> Moment:
        """Return when it is now."""
        return Moment(self.now_ms(), trio.current_time())

    async def load(self) -> None:
        """Take in what the backend keeps, and create the default rooms it lacks. Raises `StorageError`."""
        snapshot = await self.backend.directory.snapshot()
        self.engine.load(snapshot)
        missing = self.engine.missing_rooms(self.now_ms())
        if missing:
            await self.backend.commit(missing)
            snapshot = await self.backend.directory.snapshot()
            self.engine.load(snapshot)
        self.position = snapshot.position

    # ── the feed ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def follow(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Publish everything that is committed, until cancelled."""
        async with self.backend.log.tail(self.position) as self._feed:
            task_status.started()
            async for batch in self._feed:
                self.take(batch)

    def take_what_is_at_hand(self) -> None:
        """Publish what has just been committed, if it need not be waited for: the room hears it first, and then its
        sender that it has."""
        while self._feed is not None and (batch := self._feed.at_hand()) is not None:
            self.take(batch)

    def take(self, batch: Batch) -> None:
        """Publish one committed batch."""
        rows: dict[str, list[Row]] = {}
        audit_log = self.engine.audit_log
        fewer_rights = False
        for item in batch.items:
            if isinstance(item, Row) and item.room_id != audit_log:
                rows.setdefault(item.room_id, []).append(item)
                continue
            self._publish(rows)
            self.carry_out(self.engine.apply(item, self.moment()))
            if not isinstance(item, Row):
                self._refresh_channel(item)
                fewer_rights = fewer_rights or takes_rights(item)
        self._publish(rows)
        if fewer_rights:
            # Who commits here waits for this anyhow; what others write into the store is to bite as soon.
            self.committer.judge_again()
        self.committer.published()
        self.position = batch.position
        while self._waiting and self._waiting[0][0] <= self.position:
            heapq.heappop(self._waiting)[2].set()

    def _refresh_channel(self, fact: Fact) -> None:
        """Let a room's live side know what was done to its log."""
        match fact:
            case DeleteRoom(room_id=room_id) if room_id in self.channels:
                self.channels.pop(room_id).forget_encoded()
            case Trim(room_id=room_id, first=first) if room_id in self.channels:
                self.channels[room_id].trimmed(first)
            case Redact(room_id=room_id) if room_id in self.channels:
                self.channels[room_id].forget_encoded()
            case UpdateRoom(room=record) if record.room_id in self.channels:
                self.channels[record.room_id].forget_encoded()

    def _publish(self, rows: dict[str, list[Row]]) -> None:
        for room_id, added in rows.items():
            channel = self.channels.get(room_id)
            if channel is not None:
                channel.publish(added)
            else:
                self.engine.apply(added[-1], self.moment())
        rows.clear()

    async def commit(
        self,
        change: Change,
        *,
        fence: tuple[str, ...] = (),
        touches: tuple[str, ...] = (),
        judge: Judge | None = None,
    ) -> Outcome:
        """Commit one change and return once the engine has it too. Raises `StorageUnavailable`. See
        `Committer.commit`."""
        outcome = await self.committer.commit(change, fence=fence, touches=touches, judge=judge)
        if isinstance(outcome, Applied):
            await self.reached(outcome.position)
        return outcome

    def touched(self, session: int, room: str | None, proposal: Proposal | None = None) -> tuple[str, ...]:
        """Return what a change has to do with that somebody asks for on a link: the link first, then who, where, and
        what it takes itself."""
        known = self.sessions.get(session)
        state = self.engine.sessions.get(session) or (known.state if known else None)
        found = self.engine.room_named(room) if room is not None else None
        who = (state.user.principal,) if state is not None and state.user is not None else ()
        where = () if found is None else (found.id,)
        if proposal is None:
            return (f"#{session}", *who, *where)
        entering = (proposal.note.account,) if isinstance(proposal.note, Entry) else ()
        return (f"#{session}", *who, *where, *entering, *proposal.fence)

    async def reached(self, position: int) -> None:
        """Return once the feed has been taken in up to a position."""
        if self.position < position:
            event = trio.Event()
            heapq.heappush(self._waiting, (position, id(event), event))
            await event.wait()

    # ── effects ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def carry_out(self, effects: Iterable[Effect]) -> None:
        """Do what the engine decided, in order."""
        for effect in effects:
            match effect:
                case Tell(session_id, event):
                    session = self.sessions.get(session_id)
                    if session is not None:
                        session.tell(event)
                case TellRoom(room_id, event, but):
                    channel = self.channels.get(room_id)
                    if channel is not None:
                        channel.attached.tell(event, self.now_ms(), self.renderer, but)
                case TellEveryone(event, but):
                    self.everyone.tell(event, self.now_ms(), self.renderer, but)
                case Attach(session_id, room_id, after, announce_caught_up):
                    self.attach(session_id, room_id, after, announce_caught_up=announce_caught_up)
                case Detach(session_id, room_id):
                    self._detach(session_id, room_id)
                case Changed(room_id):
                    self._changed[room_id] = None
                    self._list_due.set()
                case CloseSession(session_id, code, reason):
                    session = self.sessions.get(session_id)
                    if session is not None:
                        self.end_session(session)
                        session.end(code, reason, reconnect=may_reconnect(code))
                case _:
                    assert_never(effect)

    def attach(self, session_id: int, room_id: str, after: int | None, *, announce_caught_up: bool = False) -> None:
        """Let a session receive a room, from behind ``after`` or from the head."""
        session, channel = self.sessions.get(session_id), self._channel(room_id)
        if session is None or channel is None:
            return
        live = channel.attach(session, after)
        if not live:
            session.pull(channel, after or 0, announce_caught_up=announce_caught_up)
            return
        session.forget(channel)
        if announce_caught_up:
            session.caught_up(channel)

    def _channel(self, room_id: str) -> Channel | None:
        channel = self.channels.get(room_id)
        if channel is None and room_id in self.engine.rooms:
            room, ring = self.engine.rooms[room_id], self._rings.open()
            channel = self.channels[room_id] = Channel(room, ring, self.config, self.renderer, self.counters)
        return channel

    def _detach(self, session_id: int, room_id: str) -> None:
        session, channel = self.sessions.get(session_id), self.channels.get(room_id)
        if session is not None and channel is not None:
            channel.detach(session)
            session.forget(channel)

    # ── sessions ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def open_session(self, session: Session) -> None:
        """A link has completed its handshake."""
        self.sessions[session.id] = session
        self.counters.connections += 1
        self.engine.open_session(session.id, session.address)

    def logged_in(self, session: Session) -> None:
        """From now on the session hears what is told to everyone."""
        self.everyone.add(session)
        self.counters.logins += 1
        session.entered.logged_in()
        session.state = self.engine.sessions[session.id]
        self.endings.watch(session.id)

    def lose_session(self, session: Session) -> None:
        """A session's link broke: its person counts as present for a little while, for they may come back."""
        self._silence(session)
        self._lost.append((trio.current_time() + self.config.linger, session))
        self._lost_some.set()

    async def end_lost_sessions(self) -> None:
        """End the sessions whose links broke and which nobody came back to, until cancelled."""
        while True:
            while self._lost:
                due, session = self._lost.popleft()
                await trio.sleep_until(due)
                self.end_session(session)
            self._lost_some = trio.Event()
            await self._lost_some.wait()

    def _silence(self, session: Session) -> None:
        self.everyone.discard(session)
        state = self.engine.sessions.get(session.id)
        for room_id in state.rooms if state else ():
            channel = self.channels.get(room_id)
            if channel is not None:
                channel.detach(session)
                session.forget(channel)

    def end_session(self, session: Session, *, quietly: bool = False) -> None:
        """A session is over: take it out everywhere and tell the others, unless ``quietly``. A second call does
        nothing."""
        if self.sessions.get(session.id) is not session:
            return
        self.everyone.discard(session)
        effects = self.engine.close_session(session.id, trio.current_time())
        self.carry_out(effect for effect in effects if isinstance(effect, Detach))
        del self.sessions[session.id]
        if not quietly:
            self.carry_out(effect for effect in effects if not isinstance(effect, Detach))

    def statistics(self, *, ready: bool) -> Statistics:
        """Return how the server stands at this moment."""
        counters, links = self.counters, [session.connection for session in self.sessions.values()]
        return Statistics(
            connections=len(self.sessions),
            sessions=sum(len(user.sessions) for user in self.engine.users.values()),
            users=len(self.engine.users),
            rooms=len(self.engine.rooms),
            lagging=sum(session.behind for session in self.sessions.values()),
            waiting_bytes=sum(link.waiting_bytes for link in links),
            waiting_changes=self.committer.waiting,
            loop_delay=self.loop_delay,
            ready=ready and self.committer.healthy,
            connections_total=counters.connections,
            logins_total=counters.logins,
            messages_total=counters.messages,
            deliveries_total=counters.deliveries,
            delivered_bytes_total=counters.delivered_bytes,
            received_bytes_total=counters.received_bytes,
            fell_behind_total=counters.fell_behind,
            commits_total=counters.commits,
            commit_failures_total=counters.commit_failures,
            changes_total=counters.changes,
            commit_seconds_total=counters.commit_seconds,
            refused_total=dict(counters.refused),
            closed_total=dict(counters.closed),
            turned_away_total=dict(counters.turned_away),
        )

    async def measure_delay(self) -> None:
        """Measure how late the event loop is, once a second, until cancelled."""
        while True:
            due = trio.current_time() + 1.0
            await trio.sleep_until(due)
            self.loop_delay = trio.current_time() - due

    # ── the list of rooms ────────────────────────────────────────────────────────────────────────────────────────────

    async def keep_lists(self) -> None:
        """Send changed rooms to everybody's list, coalesced, until cancelled."""
        while True:
            await self._list_due.wait()
            began = trio.current_time()
            self._tell_changed()
            if not self._changed:
                self._list_due = trio.Event()
            # However many rooms change and however many people are told, the lists take a bounded share of the time.
            took = trio.current_time() - began
            await trio.sleep(max(self.config.list_interval, took * LIST_REST))

    def _tell_changed(self) -> None:
        most = max(1, LIST_LINES // max(1, len(self.sessions)))
        public: list[Event] = []
        for room_id in list(islice(self._changed, most)):
            del self._changed[room_id]
            room = self.engine.rooms.get(room_id)
            if room is None:
                continue
            updated = RoomUpdated(**room.glance())
            if not room.record.private:
                public.append(updated)
            else:
                for session_id in self.engine.who_know(room):
                    session = self.sessions.get(session_id)
                    if session is not None:
                        session.hear(updated)
        if public:
            self.everyone.tell_all(public, self.now_ms(), self.renderer)


def takes_rights(fact: Fact) -> bool:
    """Whether somebody may do less after this, or can."""
    match fact:
        case Put(record=record):
            return isinstance(record, Account | Ban)
        case Remove(record=record):
            return isinstance(record, Account | TokenRecord)
    return isinstance(fact, DeleteRoom | UpdateRoom | PutMember | RemoveMember)
