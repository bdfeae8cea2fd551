"""Conversations with the engine, as text: who asks what, and who gets what.

A line ``ann: join_room room=tea`` is asked, a line ``bob < user_joined room=tea …`` is what somebody gets. `play` asks
the first kind and compares everything that comes of it, line by line, with the second. The store behind is the real
one in memory.
"""

from __future__ import annotations

import difflib
import itertools
import json
import shlex
from typing import Any, assert_never

import attrs

from chatkit.backend.memory_store import MemoryStore
from chatkit.backend.records import Row
from chatkit.engine import (
    Attach,
    Changed,
    CloseSession,
    Detach,
    Effect,
    Engine,
    Hash,
    Inspect,
    Joining,
    Moment,
    Proposal,
    ReadAudit,
    Reading,
    Refusal,
    Reply,
    Search,
    Tell,
    TellEveryone,
    TellRoom,
    Verify,
)
from chatkit.engine.limits import EngineLimits
from chatkit.protocol.messages import Request
from chatkit.protocol.vocabulary import STANDARD

HIDDEN = {"epoch", "token", "presence", "duplicate", "private", "topic", "role", "more", "resume", "head"}
"""Fields left out of a transcript while they say nothing special."""
NOW = 1_700_000_000_000


class Stage:
    """An engine with a store, the links that talk to it, and the account of what came of it."""

    def __init__(self, limits: EngineLimits | None = None, store: MemoryStore | None = None) -> None:
        numbers = itertools.count(1)
        self.engine = Engine(
            new_id=lambda: f"id{next(numbers)}", new_token=lambda: f"{next(numbers):032d}", limits=limits
        )
        self.store = store or MemoryStore()
        self.now = NOW
        self.clock = 0.0
        self.links: dict[str, int] = {}
        self.attached: dict[str, set[int]] = {}
        self.tokens: dict[str, str] = {}
        self.lines: list[str] = []
        self._numbers = itertools.count(1)
        self._position = 0
        self.engine.load(self.store.snapshot())
        self._commit(self.engine.missing_rooms(self.now))

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def connect(self, who: str) -> None:
        self.links[who] = next(self._numbers)
        self.engine.open_session(self.links[who])

    def disconnect(self, who: str) -> None:
        self._carry_out(self.engine.close_session(self.links.pop(who), self.clock))

    def ask(self, who: str, request: Request[Any]) -> Any:
        """Ask on somebody's link; return the reply, or the refusal."""
        if who not in self.links:
            self.connect(who)
        link = self.links[who]
        decision = self._work_out(link, request)
        match decision:
            case Proposal(change):
                (outcome,) = self._commit([change])
                decision = self.engine.conclude(link, request, outcome, self.moment, decision.note)
            case Joining(room_id=room_id):
                effects = self.engine.join(link, room_id, self.moment)
                room = self.engine.rooms[room_id]
                members = tuple(info.user for info in room.some_present(self.engine.limits.joined_members))
                decision = effects if isinstance(effects, Refusal) else Reply(room.summary(), tuple(effects))
                self._attach(link, room_id)
                if isinstance(decision, Reply):
                    self.lines.append(f"{who} < success {_fields(decision.reply)} members={','.join(members)}")
                    self._carry_out(decision.effects)
                    return decision.reply
            case Reading() | ReadAudit():
                self.lines.append(f"{who} may read {_fields(decision)}")
                return decision
        if isinstance(decision, Refusal):
            self.lines.append(f"{who} < error {decision.code}")
            return decision
        assert isinstance(decision, Reply), decision
        self.lines.append(f"{who} < success {_fields(decision.reply)}".rstrip())
        if hasattr(decision.reply, "token"):
            self.tokens[who] = decision.reply.token
        self._carry_out(decision.effects)
        return decision.reply

    @property
    def moment(self) -> Moment:
        return Moment(self.now, self.clock)

    def _work_out(self, link: int, request: Any) -> Any:
        """Decide a request in as many steps as it takes. A password's hash is the password, said to be one."""
        engine = self.engine
        decision = engine.handle(link, request, self.moment)
        while True:
            match decision:
                case Verify(_, kept, password):
                    right = kept == f"hash of {password}"
                    decision = engine.verified(link, request, decision, right, None, self.moment)
                case Hash(password):
                    decision = engine.hashed(link, request, f"hash of {password}", self.moment)
                case Inspect(room_id, seq):
                    row = next((row for row in self._rows(room_id) if row.seq == seq), None)
                    decision = engine.inspected(link, request, row, self.moment)
                case Search(room_id, author):
                    rows = [row for row in self._rows(room_id) if row.kind == "message" and row.author == author]
                    said = [row.seq for row in rows if row.body is not None]
                    decision = engine.found(link, request, said, False, self.moment)
                case _:
                    return decision

    def _rows(self, room_id: str) -> list[Row]:
        return list(self.store.rows(room_id, 0, True, 1000)[0])

    # ── what comes of it ─────────────────────────────────────────────────────────────────────────────────────────────

    def _commit(self, changes: list[Any]) -> list[Any]:
        outcomes = self.store.commit(changes)
        for batch in self.store.since(self._position).batches:
            self._position = batch.position
            for item in batch.items:
                self._carry_out(self.engine.apply(item, self.moment))
                if isinstance(item, Row) and item.room_id in self.engine.rooms:
                    self._hand_out(item)
        return outcomes

    def _hand_out(self, row: Any) -> None:
        name = self.engine.rooms[row.room_id].name
        for link in sorted(self.attached.get(row.room_id, ())):
            self._got(link, f"{row.kind} room={name} seq={row.seq} user={row.name} {row.body!r}")

    def _attach(self, link: int, room_id: str) -> None:
        self.attached.setdefault(room_id, set()).add(link)

    def _carry_out(self, effects: Any) -> None:
        for effect in effects:
            self._do(effect)

    def _do(self, effect: Effect) -> None:
        match effect:
            case Tell(session, event):
                self._got(session, _told(event))
            case TellRoom(room_id, event, but):
                for link in sorted(self.attached.get(room_id, ())):
                    if link != but:
                        self._got(link, _told(event))
            case TellEveryone(event, but):
                for link, state in sorted(self.engine.sessions.items()):
                    if state.user is not None and link != but:
                        self._got(link, _told(event))
            case Attach(session, room_id, after):
                self._attach(session, room_id)
                if after is not None:
                    self._got(session, f"{self.engine.rooms[room_id].name} from behind {after}")
            case Detach(session, room_id):
                self.attached.get(room_id, set()).discard(session)
            case Changed(room_id):
                room = self.engine.rooms[room_id]
                self.lines.append(f"all < room_updated {room.name} ({len(room.present)})")
            case CloseSession(session, code, _):
                self._got(session, f"closed {code}")
                who = self._name_of(session)
                self.links.pop(who, None)
                self._carry_out(self.engine.close_session(session, self.clock))
            case _:
                assert_never(effect)

    def _got(self, link: int, what: str) -> None:
        self.lines.append(f"{self._name_of(link)} < {what}")

    def _name_of(self, link: int) -> str:
        return next((who for who, number in self.links.items() if number == link), f"link {link}")


def play(text: str, stage: Stage | None = None) -> Stage:
    """Play a conversation and compare what comes of it. Returns the stage, so that it can go on."""
    stage = stage or Stage()
    script = [line.strip() for line in text.strip().splitlines() if line.strip()]
    stage.lines = []
    for line in script:
        who, said, what = line.partition(": ")
        if said and " < " not in who:
            stage.lines.append(line)
            _act(stage, who, what)
    if stage.lines != script:
        difference = "\n".join(line for line in difflib.ndiff(script, stage.lines) if not line.startswith("?"))
        raise AssertionError(f"- expected, + came of it:\n{difference}")
    return stage


def _act(stage: Stage, who: str, what: str) -> None:
    action, *arguments = shlex.split(what)
    if action == "disconnects":
        stage.disconnect(who)
    elif action == "waits":
        stage.clock += float(arguments[0])
    else:
        fields = dict(argument.partition("=")[::2] for argument in arguments)
        request = STANDARD.requests[action](**{key: _value(stage, value) for key, value in fields.items()})
        stage.ask(who, request)


def _value(stage: Stage, text: str) -> Any:
    if text.startswith("token:"):
        return stage.tokens[text.removeprefix("token:")]
    try:
        return json.loads(text)
    except ValueError:
        return text


def _told(event: Any) -> str:
    return f"{event.action} {_fields(event)}".strip()


def _fields(message: Any) -> str:
    shown = []
    for field in attrs.fields(type(message)):
        value = getattr(message, field.name)
        if field.name in ("rooms", "users") and isinstance(value, tuple):
            value = ",".join(getattr(one, "room", None) or one.user for one in value) + (
                ",…" if getattr(message, "more", False) else ""
            )
        elif field.name in HIDDEN or value is None or field.name == "room_id":
            continue
        shown.append(f"{field.name}={value!r}" if isinstance(value, str) and " " in value else f"{field.name}={value}")
    return " ".join(shown)
