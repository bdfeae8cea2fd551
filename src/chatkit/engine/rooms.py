"""Rules about rooms: making, changing and deleting them, going in and out, and who sees which."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import evolve

from chatkit.backend.records import (
    UNCHECKED,
    CreateRoom,
    DeleteRoom,
    Fact,
    Member,
    PutMember,
    RoomRecord,
    UpdateRoom,
)
from chatkit.engine.audit import audited
from chatkit.engine.banning import told_of_mute
from chatkit.engine.decisions import Attach, Decision, Effect, Joining, Proposal, Refusal, Reply
from chatkit.engine.refusal import No
from chatkit.engine.state import GUEST, MEMBER, OWNER, Moment, Room, SessionState
from chatkit.engine.world import World, known
from chatkit.protocol import messages as m
from chatkit.protocol import moderation as mod
from chatkit.protocol.codes import ErrorCode
from chatkit.protocol.names import check_name, name_key

MOST_KEPT = 1000
"""People who are in a room that becomes private: they become its members in one change."""


def create_room(world: World, state: SessionState, request: m.CreateRoom, now: Moment) -> Decision:
    """Create a room, and own it."""
    user = known(state.user)
    if state.role == GUEST and not world.guests_speak:
        raise No(ErrorCode.FORBIDDEN, "guests may only read on this server")
    name = _free_name(world, request.room, "")
    topic = _fitting_topic(world, request.topic or "")
    world.check_one_more(state)
    world.claim_room_name(name, state.id, now.clock)
    record = world.new_room(name, now.time, topic=topic, private=bool(request.private), created_by=user.principal)
    owner = Member(room_id=record.room_id, principal=user.principal, role=OWNER)
    return Proposal(CreateRoom(room=record, owner=owner))


def _free_name(world: World, wanted: str, room_id: str) -> str:
    name = check_name(wanted, "room name")
    holder = world.rooms_by_key.get(name_key(name))
    if holder is not None and holder.id != room_id:
        raise No(ErrorCode.ROOM_EXISTS, f"there is a room {name!r} already")
    if world.rooms_like.others(name, room_id):
        raise No(ErrorCode.ROOM_EXISTS, f"the name {name!r} looks like that of another room")
    return name


def _fitting_topic(world: World, topic: str) -> str:
    if len(topic.encode()) > world.limits.topic_bytes:
        raise No(ErrorCode.TOO_LARGE, f"a topic has at most {world.limits.topic_bytes} bytes")
    return topic


def join_room(world: World, state: SessionState, request: m.JoinRoom, now: Moment) -> Decision:
    """Enter a room."""
    room = world.visible(state, request.room)
    world.require(state, room, "enter", now.time)
    if request.after is not None and request.last is not None:
        raise No(ErrorCode.BAD_REQUEST, "data: give 'after' or 'last', not both")
    if room.id not in state.rooms:
        world.check_one_more(state)
    return Joining(room.id, request.after, request.last)


def join(world: World, state: SessionState | None, room_id: str, now: Moment) -> list[Effect] | Refusal:
    """Let a session in after `Joining`, now that its answer has been read. Does nothing if it is in already."""
    room = world.rooms.get(room_id)
    if state is None or state.user is None or room is None or not world.knows(state, room):
        return Refusal(ErrorCode.NO_SUCH_ROOM, "the room has been deleted meanwhile")
    try:
        world.require(state, room, "enter", now.time)
    except No as no:
        return no.refusal
    if room_id in state.rooms:
        return []
    entering = [effect for effect in world.enter(state, room, now.clock) if not isinstance(effect, Attach)]
    return entering + told_of_mute(world, state, room, now.time)


def leave_room(world: World, state: SessionState, request: m.LeaveRoom, now: Moment) -> Decision:
    """Leave a room."""
    room = world.present_in(state, request.room)
    return Reply(m.Nothing(), tuple(world.exit(state, room, now.clock)))


def delete_room(world: World, state: SessionState, request: m.DeleteRoom, now: Moment) -> Decision:
    """Delete a room and its log."""
    room = world.visible(state, request.room)
    if room.record.permanent:
        raise No(ErrorCode.FORBIDDEN, f"the room {room.name!r} is permanent")
    world.require(state, room, "delete room", now.time)
    return Proposal(audited(world, state, now, "delete_room", room, DeleteRoom(room_id=room.id)), fence=(room.id,))


def update_room(world: World, state: SessionState, request: mod.UpdateRoom, now: Moment) -> Decision:
    """Change a room."""
    room = world.visible(state, request.room)
    others = (request.name, request.private, request.read_only, request.slow, request.closed)
    only_topic = all(value is None for value in others)
    world.require(state, room, "set topic" if only_topic else "change room", now.time)
    record = _changed(world, room, request)
    if record == room.record:
        return Reply(room.summary())
    if record.name != room.name:
        world.claim_room_name(record.name, state.id, now.clock)
    changes: list[Fact] = [UpdateRoom(room=record, was=room.record)]
    if record.private and not room.record.private:
        changes = [*_keeping_those_present(room), *changes]
    details = {
        name: value
        for name in ("name", "topic", "private", "read_only", "slow", "closed")
        if (value := getattr(request, name)) is not None
    }
    return Proposal(audited(world, state, now, "update_room", room, *changes, details=details), fence=(room.id,))


def _changed(world: World, room: Room, request: mod.UpdateRoom) -> RoomRecord:
    record = room.record
    if request.name is not None:
        if record.permanent:
            raise No(ErrorCode.FORBIDDEN, f"the room {room.name!r} is permanent: it keeps its name")
        name = _free_name(world, request.name, room.id)
        record = evolve(record, name=name, key=name_key(name))
    if request.topic is not None:
        record = evolve(record, topic=_fitting_topic(world, request.topic))
    if request.private is not None:
        if record.permanent and request.private:
            raise No(ErrorCode.FORBIDDEN, f"the room {room.name!r} is where everybody starts: it stays public")
        record = evolve(record, private=request.private)
    if request.closed is not None:
        if record.permanent and request.closed:
            raise No(ErrorCode.FORBIDDEN, f"the room {room.name!r} is where everybody starts: it stays open")
        record = evolve(record, closed=request.closed)
    if request.read_only is not None:
        record = evolve(record, read_only=request.read_only)
    return record if request.slow is None else evolve(record, slow=float(request.slow))


def _keeping_those_present(room: Room) -> Iterable[PutMember]:
    if len(room.present) > MOST_KEPT:
        raise No(ErrorCode.TOO_MANY, f"a room with more than {MOST_KEPT} people cannot become private")
    for user in room.present:
        if user.principal not in room.members:
            yield PutMember(member=Member(room_id=room.id, principal=user.principal, role=MEMBER), was=UNCHECKED)


def list_rooms(world: World, state: SessionState, request: m.ListRooms, now: Moment) -> Decision:
    """List the rooms one may know of."""
    seen = {room.record.key: room for room in world.rooms.values() if world.knows(state, room)}
    names, more = _paged(world, seen, request.after, request.limit)
    return Reply(m.Rooms(rooms=tuple(seen[name].summary() for name in names), more=more))


def list_users(world: World, state: SessionState, request: m.ListUsers, now: Moment) -> Decision:
    """List who is present in a room."""
    room = world.visible(state, request.room)
    world.require(state, room, "read", now.time)
    here = {user.key: user for user in room.present}
    names, more = _paged(world, here, request.after, request.limit)
    return Reply(m.Users(users=tuple(room.info(here[name]) for name in names), more=more))


def _paged(world: World, keys: Iterable[str], after: str | None, limit: int | None) -> tuple[list[str], bool]:
    start = "" if after is None else name_key(after)
    following = sorted(key for key in keys if key > start)
    most = limit or world.limits.page
    return following[:most], len(following) > most
