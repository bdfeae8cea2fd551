"""Checks of what is refused, repeated, and seen within a commit."""

from __future__ import annotations

from attrs import evolve

from chatkit.backend.interface import Backend
from chatkit.backend.records import Appended, CreateRoom, DeleteRoom, Member, PutMember, RemoveMember
from chatkit.testing.backend.tools import all_rows, codes, expect, make_room, new_post, new_room, rows_of


async def a_refusal_harms_nobody(backend: Backend) -> None:
    """A refused change, or one that cannot be kept at all, leaves the others of its commit alone."""
    room, nowhere = await make_room(backend), new_room()
    await backend.commit([new_post(room, "first", op="taken")])
    outcomes = await backend.commit(
        [
            new_post(room, "a"),
            new_post(nowhere),
            new_post(room, "b"),
            new_post(room, "other", op="taken"),
            new_post(room, "first", op="taken"),
            PutMember(member=Member(room_id=nowhere.room_id, principal="ann")),
            RemoveMember(room_id=nowhere.room_id, principal="ann"),
            DeleteRoom(room_id=nowhere.room_id),
            CreateRoom(room=new_room(key=room.key)),
            CreateRoom(room=new_room(room_id=room.room_id)),
            new_post(room, "c"),
        ]
    )
    none = "no_such_room"
    exists = "room_exists"
    wanted = ["ok", none, "ok", "op_conflict", "ok", none, none, none, exists, exists, "ok"]
    expect("the outcomes", codes(outcomes), wanted)
    expect("the bodies", [row.body for row in await all_rows(backend, room)], ["first", "a", "b", "c"])
    outcomes = await backend.commit([new_post(room, "d"), new_post(room, "\ud800"), new_post(room, time=2**70)])
    expect("what cannot be kept", codes(outcomes), ["ok", "bad_request", "bad_request"])


async def a_repeat_is_kept_once(backend: Backend) -> None:
    """The same op by the same author in the same room is one row: inside a commit, and in a later one."""
    room, other = await make_room(backend), await make_room(backend)
    post = new_post(room, "once", op="o", about=None, thread=7)
    first, again = await backend.commit([post, post])
    later, *rest = await backend.commit(
        [
            evolve(post, name="Anna", time=post.time + 1),
            evolve(post, body=b"once"),
            evolve(post, kind="topic"),
            evolve(post, about=1),
            evolve(post, thread=None),
            evolve(post, author="bob"),
            evolve(post, room_id=other.room_id),
            evolve(post, op=None),
            evolve(post, op=None),
        ]
    )
    (row,) = rows_of([first])
    expect("the first", first, Appended(row, room.epoch, False))
    expect("a repeat in the same commit", again, Appended(row, room.epoch, True))
    expect("a repeat in a later commit", later, Appended(row, room.epoch, True))
    conflict = ["op_conflict"] * 4
    expect("other content, author, room, no op", codes(rest), [*conflict, "ok", "ok", "ok", "ok"])
    expect("the rows kept", len(await all_rows(backend, room)), 4)


async def changes_see_those_before(backend: Backend) -> None:
    """Within a commit each change sees what those before it did."""
    room = new_room()
    successor = new_room(key=room.key)
    post = new_post(room, "x", op="o")
    outcomes = await backend.commit(
        [
            new_post(room),
            CreateRoom(room=room, owner=Member(room_id=room.room_id, principal="ann", role="owner")),
            post,
            DeleteRoom(room_id=room.room_id),
            post,
            CreateRoom(room=successor),
            new_post(successor, "y", op="o"),
            CreateRoom(room=new_room(key=room.key)),
            CreateRoom(room=evolve(room, key=f"{room.key} again")),
            evolve(post, body="z"),
            post,
        ]
    )
    wanted = ["no_such_room", "ok", "ok", "ok", "no_such_room", "ok", "ok", "room_exists", "ok", "ok", "op_conflict"]
    expect("the outcomes", codes(outcomes), wanted)
    expect("the rows of the room made again", [row.body for row in await all_rows(backend, room)], ["z"])
    expect("the successor's rows", [row.body for row in await all_rows(backend, successor)], ["y"])
