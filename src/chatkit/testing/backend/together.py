"""Checks of changes that are made together or not at all."""

from __future__ import annotations

from secrets import token_hex

from attrs import evolve

from chatkit.backend.interface import Backend
from chatkit.backend.records import (
    Applied,
    Ban,
    CreateRoom,
    DeleteRoom,
    Fact,
    Member,
    Put,
    PutMember,
    Redact,
    Remove,
    RemoveMember,
    Row,
    Together,
    TokenRecord,
    Trim,
    UpdateRoom,
)
from chatkit.testing.backend.tools import (
    all_rows,
    codes,
    expect,
    expect_no_change,
    followed,
    kept_records,
    kept_room,
    make_room,
    new_account,
    new_post,
    new_room,
    rows_of,
)


async def together_is_all_or_nothing(backend: Backend) -> None:
    """Of changes made together none is kept if one is refused, whatever they did, and others do not notice."""
    room, doomed, new = await make_room(backend, "1", "2"), await make_room(backend, "1"), new_room()
    ann, bob = new_account(), new_account()
    ban = Ban(id=token_hex(8), room_id=doomed.room_id, kind="name", value="v", by="b")
    member = Member(room_id=room.room_id, principal="ann")
    await backend.commit([Put(record=ann), Put(record=ban), PutMember(member=member)])
    parts: tuple[Fact, ...] = (
        Put(record=bob),
        Put(record=evolve(ann, key=f"{ann.key} new"), was=ann),
        UpdateRoom(room=evolve(room, key=f"{room.key} new"), was=room),
        RemoveMember(room_id=room.room_id, principal="ann"),
        Redact(room_id=room.room_id, seq=1),
        Trim(room_id=room.room_id, first=2),
        DeleteRoom(room_id=doomed.room_id),
        CreateRoom(room=evolve(new, key=doomed.key), owner=evolve(member, room_id=new.room_id)),
    )
    posts = (new_post(room, "3", op="o"), new_post(room, "4"))
    refused = Together((*posts, *parts, new_post(new, "x"), Remove(record=bob), Remove(record=bob), new_post(doomed)))
    async with expect_no_change(backend, "after refused changes only"):
        expect("the outcome", codes(await backend.commit([refused])), ["conflict"])
    outcomes = await backend.commit(
        [
            new_post(room, "before"),
            refused,
            new_post(room, "else", op="o"),
            Together((new_post(room, "5"), new_post(new_room()), Put(record=ann))),
            Together((new_post(room, "6"), Together(()))),  # type: ignore[arg-type]
            Together((new_post(room, "7"), new_post(room, "\ud800"))),
            Put(record=evolve(bob, key=ann.key)),
            PutMember(member=member, was=member),
            CreateRoom(room=new_room(key=room.key)),
            CreateRoom(room=new_room(key=doomed.key)),
            new_post(doomed, "2"),
            Put(record=ban, was=ban),
        ]
    )
    wanted = ["ok", "conflict", "ok", "no_such_room", "bad_request", "bad_request", "name_taken", "ok"]
    expect("the outcomes", codes(outcomes), [*wanted, "room_exists", "room_exists", "ok", "ok"])
    expect("the bodies", [row.body for row in await all_rows(backend, room)], ["1", "2", "before", "else"])
    expect("the seqs", [row.seq for row in await all_rows(backend, room)], [1, 2, 3, 4])
    expect("the records", await kept_records(backend, ann.id, bob.id, ban.id), [ann, ban])
    expect("the room not made", await kept_room(backend, new), None)
    expect("the room", await kept_room(backend, room), evolve(room, head=4))


async def together_the_later_see_the_earlier(backend: Backend) -> None:
    """Changes made together see each other and what came before; the feed has them one by one, in one batch."""
    room, gone = await make_room(backend, "1", "2"), await make_room(backend, "1")
    new = new_room(key=gone.key)
    ann = new_account()
    anna = evolve(ann, key=f"{ann.key} new")
    post = new_post(room, "3", op="o")
    made = CreateRoom(room=new, owner=Member(room_id=new.room_id, principal="ann", role="owner"))
    facts: list[Fact] = [
        Put(record=ann),
        Put(record=anna, was=ann),
        Put(record=evolve(ann, id=token_hex(8))),
        Put(record=TokenRecord(id=token_hex(8), account_id=ann.id, digest=token_hex(8))),
        DeleteRoom(room_id=gone.room_id),
        made,
        PutMember(member=Member(room_id=new.room_id, principal="bob"), was=None),
        Redact(room_id=room.room_id, seq=3),
        Trim(room_id=room.room_id, first=2),
    ]
    async with followed(backend) as feed:
        outcomes = await backend.commit(
            [
                post,
                Together((*facts[:6], new_post(new, "a"), *facts[6:], post, new_post(room, "4"), new_post(new, "b"))),
                Together(()),
                new_post(new, "c"),
                new_post(room, "5"),
                Put(record=evolve(anna, role="admin"), was=anna),
                Together((Put(record=ann, was=anna),)),
            ]
        )
        expect("the outcomes", codes(outcomes), ["ok"] * 6 + ["conflict"])
        if not isinstance(outcomes[1], Applied):
            raise AssertionError(f"changes made together gave {outcomes[1]!r}")
        items: list[Row | Fact] = []
        while not items:
            batch = await anext(feed)
            items += batch.items if post.room_id in [getattr(item, "room_id", None) for item in batch.items] else ()
    if outcomes[1].position > batch.position:
        raise AssertionError(f"applied at {outcomes[1].position}, but the batch ends at {batch.position}")
    expect("the items that are no rows", [item for item in items if not isinstance(item, Row)][:9], facts)
    bodies = [item.body if isinstance(item, Row) else None for item in items]
    expect("where the rows are", bodies, ["3", *[None] * 6, "a", *[None] * 3, "4", "b", "c", "5", None])
    expect("the log", [(row.seq, row.body) for row in await all_rows(backend, new)], [(1, "a"), (2, "b"), (3, "c")])
    expect("the other", (await backend.log.read(room.room_id, after=0)).first, 2)
    expect("a repeat", rows_of(await backend.commit([post]))[0].seq, 3)
