"""Rules about removing what was said: one's own, or as a moderator.

Law: a removal of what somebody else said is proposed together with its row in the audit log.
"""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from chatkit.backend.records import Append, Fact, Redact, Row, Together
from chatkit.engine.audit import audited
from chatkit.engine.decisions import Decision, Inspect, Proposal, Reply, Search
from chatkit.engine.people import require_above, target, writer
from chatkit.engine.refusal import No
from chatkit.engine.state import Moment, Room, SessionState
from chatkit.engine.talking import MESSAGE
from chatkit.engine.world import World, known
from chatkit.protocol import messages as m
from chatkit.protocol import moderation as mod
from chatkit.protocol.codes import ErrorCode


def delete_message(world: World, state: SessionState, request: mod.DeleteMessage, now: Moment) -> Decision:
    """Remove what a message says: one's own, or as a moderator."""
    room = world.visible(state, request.room)
    world.require(state, room, "delete own messages", now.time)
    return Inspect(room.id, request.seq)


def inspected(world: World, state: SessionState, request: mod.DeleteMessage, row: Row | None, now: Moment) -> Decision:
    """Decide `delete_message`, now that it is known whose message it is."""
    room = world.visible(state, request.room)
    if row is None or row.room_id != room.id or row.kind != MESSAGE:
        raise No(ErrorCode.NO_SUCH_MESSAGE, f"there is no message {request.seq} in {room.name!r}")
    user = known(state.user)
    own = row.author == user.author
    world.require(state, room, "delete own messages" if own else "delete messages", now.time)
    whom = writer(world, row.author, row.name)
    if not own:
        require_above(world, state, room, whom, now.time)
    if row.body is None:
        return Reply(m.Nothing())
    changes = _deletion(room, user.author, user.name, row.seq, now)
    if own:
        return Proposal(Together(tuple(changes)))
    act = audited(
        world,
        state,
        now,
        "delete_message",
        room,
        *changes,
        whom=whom.name,
        principal=whom.principal or "",
        reason=request.reason,
        details={"seq": row.seq},
    )
    return Proposal(act, needs="delete messages")


def _deletion(room: Room, author: str, name: str, seq: int, now: Moment) -> list[Append | Fact]:
    body = orjson.dumps({"user": name, "about": seq}).decode()
    told = Append(
        room_id=room.id,
        kind=mod.MessageDeleted.action,
        author=author,
        name=name,
        time=now.time,
        body=body,
        about=seq,
    )
    return [Redact(room_id=room.id, seq=seq), told]


def delete_messages_of(world: World, state: SessionState, request: mod.DeleteMessagesOf, now: Moment) -> Decision:
    """Remove what somebody said in a room."""
    room, whom = world.visible(state, request.room), target(world, request.user)
    own = whom.author == known(state.user).author
    world.require(state, room, "delete own messages" if own else "delete messages", now.time)
    if not own:
        require_above(world, state, room, whom, now.time)
    return Search(room.id, whom.author)


def found(
    world: World,
    state: SessionState,
    request: mod.DeleteMessagesOf,
    seqs: Iterable[int],
    more: bool,
    now: Moment,
) -> Decision:
    """Decide `delete_messages_of`, now that it is known which messages those are."""
    again = delete_messages_of(world, state, request, now)
    if not isinstance(again, Search):
        return again
    room, user, whom = world.rooms[again.room_id], known(state.user), target(world, request.user)
    changes = [change for seq in seqs for change in _deletion(room, user.author, user.name, seq, now)]
    deleted = mod.Deleted(count=len(changes) // 2, more=more)
    if not changes:
        return Reply(deleted)
    act = audited(
        world,
        state,
        now,
        "delete_messages_of",
        room,
        *changes,
        whom=whom.name,
        principal=whom.principal or "",
        reason=request.reason,
        details={"count": deleted.count},
    )
    return Proposal(act, note=deleted)
