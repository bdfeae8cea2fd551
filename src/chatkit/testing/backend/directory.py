"""Checks of rooms and members."""

from __future__ import annotations

from secrets import token_hex

from attrs import evolve

from chatkit.backend.interface import Backend
from chatkit.backend.records import (
    Appended,
    Applied,
    CreateRoom,
    DeleteRoom,
    Member,
    PutMember,
    RemoveMember,
    UpdateRoom,
)
from chatkit.testing.backend.tools import (
    about,
    all_rows,
    codes,
    collect,
    expect,
    expect_error,
    followed,
    kept_room,
    make_room,
    new_post,
    new_room,
    rows_of,
)


async def the_directory_is_kept(backend: Backend) -> None:
    """The snapshot holds rooms and members as the changes left them."""
    room = new_room(topic="ž", private=True, permanent=True, created_by="ann", created_at=2**41)
    gone = await make_room(backend, "x")

    def member(who: str, role: str = "member") -> Member:
        return Member(room_id=room.room_id, principal=who, role=role)

    outcomes = await backend.commit(
        [
            CreateRoom(room=evolve(room, head=5, first=3), owner=member("ann", "owner")),
            PutMember(member=member("bob")),
            PutMember(member=member("cid")),
            PutMember(member=member("bob", "moderator")),
            PutMember(member=Member(room_id=gone.room_id, principal="ann")),
            RemoveMember(room_id=room.room_id, principal="cid"),
            RemoveMember(room_id=room.room_id, principal="nobody"),
            new_post(room),
            DeleteRoom(room_id=gone.room_id),
        ]
    )
    expect("the outcomes", codes(outcomes), ["ok"] * 9)
    snapshot = await backend.directory.snapshot()
    for outcome in outcomes:
        if isinstance(outcome, Applied) and outcome.position > snapshot.position:
            raise AssertionError("the snapshot is older than a commit that returned")
    expect("the room", [r for r in snapshot.rooms if r.room_id == room.room_id], [evolve(room, head=1, first=1)])
    expect(
        "the members",
        sorted((m.principal, m.role) for m in snapshot.members if m.room_id == room.room_id),
        [("ann", "owner"), ("bob", "moderator")],
    )
    ids = {r.room_id for r in snapshot.rooms} | {m.room_id for m in snapshot.members}
    expect("the deleted room is in the snapshot", gone.room_id in ids, False)


async def a_deleted_room_is_gone(backend: Backend) -> None:
    """Deleting a room removes its log and its ops; its name is free for a room with a log of its own."""
    room = await make_room(backend)
    await backend.commit([new_post(room, "x", op="o"), PutMember(member=Member(room_id=room.room_id, principal="bob"))])
    await backend.commit([DeleteRoom(room_id=room.room_id)])
    await expect_error(KeyError, "the deleted log", lambda: backend.log.read(room.room_id, after=0))
    expect("an append to it", codes(await backend.commit([new_post(room)])), ["no_such_room"])
    again = evolve(room, epoch=token_hex(8))  # even of the same id
    _, outcome = await backend.commit([CreateRoom(room=again), new_post(again, "y", op="o")])
    (row,) = rows_of([outcome])
    expect("the first row of the new log", outcome, Appended(row, again.epoch, False))
    expect("its seq", row.seq, 1)
    members = [m for m in (await backend.directory.snapshot()).members if m.room_id == room.room_id]
    expect("its members", members, [])


async def rooms_are_updated(backend: Backend) -> None:
    """A room is changed by who knows how it is; its log goes on, its old name is free, and no two share a name."""
    room, other = await make_room(backend, "one"), await make_room(backend)
    new = evolve(room, name="Žnew", key=f"{room.key} new", topic="t\0", private=True, read_only=True, closed=True)
    slow = evolve(new, slow=0.25)
    successor = new_room(key=room.key)
    async with followed(backend) as feed:
        outcomes = await backend.commit(
            [
                new_post(room, "two"),
                UpdateRoom(room=new, was=evolve(room, topic="else")),
                UpdateRoom(room=evolve(new, head=9, first=4), was=evolve(room, head=7)),
                UpdateRoom(room=new, was=room),
                UpdateRoom(room=evolve(new, key=other.key), was=new),
                UpdateRoom(room=slow, was=new),
                CreateRoom(room=successor),
                UpdateRoom(room=evolve(slow, key=room.key), was=slow),
                UpdateRoom(room=successor, was=successor),
                CreateRoom(room=new_room(key=new.key)),
                new_post(room, "three"),
                UpdateRoom(room=evolve(slow, epoch="x"), was=slow),
                UpdateRoom(room=evolve(slow, created_at=2), was=slow),
                UpdateRoom(room=evolve(slow, slow=float("nan")), was=slow),
                UpdateRoom(room=new_room(), was=new_room()),
                UpdateRoom(room=successor, was=evolve(successor, room_id=slow.room_id)),
            ]
        )
        taken, bad = "room_exists", "bad_request"
        wanted = ["ok", "conflict", "ok", "conflict", taken, "ok", "ok", taken, "ok", taken, "ok", *[bad] * 5]
        expect("the outcomes", codes(outcomes), wanted)
        expect("the room", await kept_room(backend, room), evolve(slow, head=3))
        items = [item for batch in await collect(feed, 4, room) for item in about(room, batch)]
    updates = [(evolve(new, head=2), evolve(room, head=2)), (evolve(slow, head=2), evolve(new, head=2))]
    expect("the updates in the feed", items[1:3], [UpdateRoom(room=now, was=was) for now, was in updates])
    outcomes = await backend.commit(
        [
            UpdateRoom(room=slow, was=new),
            DeleteRoom(room_id=successor.room_id),
            UpdateRoom(room=evolve(room, name="back"), was=slow),
            UpdateRoom(room=evolve(other, key=new.key), was=other),
            UpdateRoom(room=successor, was=successor),
            new_post(room, "four"),
        ]
    )
    expect("the outcomes later", codes(outcomes), ["conflict", "ok", "ok", "ok", "no_such_room", "ok"])
    expect("the room later", await kept_room(backend, room), evolve(room, name="back", head=4))
    expect("the other", await kept_room(backend, other), evolve(other, key=new.key))
    expect("the log", [row.body for row in await all_rows(backend, room)], ["one", "two", "three", "four"])


async def memberships_are_compared(backend: Backend) -> None:
    """A membership may be put on condition that it is what it was, or that there was none."""
    room = await make_room(backend)
    plain, owner = (Member(room_id=room.room_id, principal="ann", role=role) for role in ("member", "owner"))
    outcomes = await backend.commit(
        [
            PutMember(member=owner, was=plain),
            PutMember(member=plain, was=None),
            PutMember(member=plain, was=None),
            PutMember(member=owner, was=owner),
            PutMember(member=owner, was=plain),
            RemoveMember(room_id=room.room_id, principal="ann"),
            PutMember(member=plain, was=owner),
            PutMember(member=plain),
        ]
    )
    no = "conflict"
    expect("the outcomes", codes(outcomes), [no, "ok", no, no, "ok", "ok", no, "ok"])
    outcomes = await backend.commit(
        [
            PutMember(member=owner, was=None),
            PutMember(member=owner, was=plain),
            DeleteRoom(room_id=room.room_id),
            CreateRoom(room=room),
            PutMember(member=plain, was=owner),
            PutMember(member=plain, was=None),
        ]
    )
    expect("the outcomes around a deletion", codes(outcomes), [no, "ok", "ok", "ok", no, "ok"])
    members = [member for member in (await backend.directory.snapshot()).members if member.room_id == room.room_id]
    expect("the members", members, [plain])
    changes = [PutMember(member=owner, was=plain), PutMember(member=plain)]
    async with followed(backend) as feed:
        await backend.commit(changes)
        expect("the feed", [about(room, batch) for batch in await collect(feed, 2, room)], [changes])
