"""Ten faults a chat server can have, planted one at a time: the judge has to find each.

They are patches of the real classes, undone after the run. Nothing of them exists outside the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from attrs import evolve
from world import World

from chatkit.backend.draft import Draft
from chatkit.backend.memory_store import MemoryStore
from chatkit.engine.decisions import Attach, Reply
from chatkit.engine.engine import Engine
from chatkit.errors import StorageUnavailable
from chatkit.protocol.positions import Position
from chatkit.server.channel import Channel
from chatkit.server.committer import Committer
from chatkit.server.core import Core
from chatkit.server.session import Session

Patch = tuple[type, str, Callable[[Any], Any]]
"""A class, the name of a method of it, and what makes the faulty method of the right one."""


def ack_before_commit(original: Any) -> Any:
    """Everybody is told before anything is kept."""

    async def commit_some(committer: Committer) -> None:
        tickets = list(committer._queue)
        committer._queue.clear()
        store = committer._backend.inner.store  # type: ignore[attr-defined]
        for ticket, outcome in zip(tickets, _foreseen(store, [ticket.change for ticket in tickets]), strict=True):
            committer._bytes -= ticket.size
            ticket.resolve(outcome)
            ticket.finish()
        try:
            await committer._backend.commit([ticket.change for ticket in tickets])
        except StorageUnavailable:
            return

    return commit_some


def _foreseen(store: MemoryStore, changes: list[Any]) -> list[Any]:
    return Draft(changes, store, store._newest).outcomes


def no_dedupe(original: Any) -> Any:
    """What was said under an op is not looked for."""
    return lambda store, room_id, author, op: None


def off_by_one_resume(original: Any) -> Any:
    """Resuming begins one too late."""

    def attach(
        core: Core, session_id: int, room_id: str, after: int | None, *, announce_caught_up: bool = False
    ) -> None:
        late = after + 1 if after is not None and announce_caught_up else after
        original(core, session_id, room_id, late, announce_caught_up=announce_caught_up)

    return attach


def drop_on_kick(original: Any) -> Any:
    """Whoever replaces an older link is taken to have had all that was on its way there."""

    def handle(engine: Engine, *args: Any) -> Any:
        decision = original(engine, *args)
        if not isinstance(decision, Reply):
            return decision
        effects = decision.effects
        if any(getattr(effect, "code", None) == 4409 for effect in effects):
            kept = (evolve(one, after=None) if isinstance(one, Attach) else one for one in effects)
            return evolve(decision, effects=tuple(kept))
        return decision

    return handle


def reorder(original: Any) -> Any:
    """The entries of one commit go out the wrong way round."""

    def blobs(channel: Channel, encoded: list[Any], wire: Any) -> Iterator[tuple[bytes, int]]:
        yield b"".join(one.frame(wire, channel._frame) for one in reversed(encoded)), encoded[-1].row.seq

    return blobs


def double_apply(original: Any) -> Any:
    """A commit that is slow to answer is made again."""

    def commit(store: MemoryStore, changes: Any) -> Any:
        outcomes = original(store, changes)
        if len(changes) > 3:
            store.row_of = lambda *_: None  # type: ignore[method-assign]
            original(store, changes)
            del store.row_of
        return outcomes

    return commit


def leak_after_leave(original: Any) -> Any:
    """Who leaves goes on receiving."""
    return lambda channel, session: channel.attached.discard(session)


def lost_on_slow(original: Any) -> Any:
    """What a full link does not take is gone."""
    return lambda session, channel, after: channel.attach(session, None)


def epoch_ignored(original: Any) -> Any:
    """A position in any log is taken for one in this, as far as this goes."""

    def handle(engine: Engine, session: int, request: Any, now: Any) -> Any:
        resume = getattr(request, "resume", None)
        if resume is not None:
            here = {name: engine.room_named(name) for name in resume}
            resume = {
                name: Position(room.record.epoch, min(position.seq, room.head)) if (room := here[name]) else position
                for name, position in resume.items()
            }
            request = evolve(request, resume=resume)
        return original(engine, session, request, now)

    return handle


def rollback_acked(original: Any) -> Any:
    """A store that did not wait for the disk: the newest rows are gone when the server went down."""

    def power_cut(world: World) -> None:
        store = world.stores[-1]
        for room in store._rooms.values():
            for row in room.rows[-2:]:
                room.ops.pop((row.author, row.op), None)  # type: ignore[arg-type]
            del room.rows[-2:]

    return power_cut


FAULTS: dict[str, Patch] = {
    "ack before commit": (Committer, "_commit_some", ack_before_commit),
    "no dedupe": (MemoryStore, "row_of", no_dedupe),
    "off-by-one resume": (Core, "attach", off_by_one_resume),
    "drop on kick": (Engine, "handle", drop_on_kick),
    "reorder": (Channel, "_blobs", reorder),
    "double apply": (MemoryStore, "commit", double_apply),
    "leak after leave": (Channel, "detach", leak_after_leave),
    "lost on slow": (Session, "fall_behind", lost_on_slow),
    "epoch ignored": (Engine, "handle", epoch_ignored),
    "rollback acked": (World, "power_cut", rollback_acked),
}


@contextmanager
def planted(fault: str) -> Iterator[None]:
    """Run a block with one fault in place."""
    owner, name, make = FAULTS[fault]
    original = owner.__dict__[name]
    setattr(owner, name, make(original))
    try:
        yield
    finally:
        setattr(owner, name, original)
