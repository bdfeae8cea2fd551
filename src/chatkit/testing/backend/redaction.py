"""The check of redacting."""

from __future__ import annotations

from attrs import evolve

from chatkit.backend.interface import Backend
from chatkit.backend.records import Appended, CreateRoom, DeleteRoom, Outcome, Redact, Row, Together, Trim
from chatkit.testing.backend.tools import (
    about,
    all_rows,
    codes,
    collect,
    expect,
    followed,
    make_room,
    new_post,
    new_room,
    rows_of,
)


async def redacting_empties_bodies(backend: Backend) -> None:
    """A redacted row keeps its place and its op and loses its body: in the log, and for feeds that are behind."""
    room, other = await make_room(backend), await make_room(backend, "untouched")

    def redact(seq: int) -> Redact:
        return Redact(room_id=room.room_id, seq=seq)

    def duplicates(outcomes: list[Outcome]) -> list[int | str]:
        return [
            one.row.seq if isinstance(one, Appended) and one.duplicate else code
            for one, code in zip(outcomes, codes(outcomes), strict=True)
        ]

    start = (await backend.directory.snapshot()).position
    async with followed(backend) as feed:
        posts = [new_post(room, body, op=f"o{seq}") for seq, body in enumerate(("1", b"2", "3" * 9_000, None, "5"), 1)]
        rows = rows_of(await backend.commit(posts))
        outcomes = await backend.commit(
            [
                redact(2),
                redact(3),
                redact(4),
                redact(2),
                *posts[1:],
                new_post(room, "6", op="o6"),
                redact(6),
                new_post(room, "6", op="o6"),
                Together((redact(1), redact(9))),
                Redact(room_id=new_room().room_id, seq=1),
                *map(redact, (0, 7, -1, 2**70)),
            ]
        )
        none = "no_such_message"
        wanted = ["ok"] * 4 + [2, 3, 4, 5, "ok", "ok", 6, none, "no_such_room", none, none, none, "bad_request"]
        expect("the outcomes", duplicates(outcomes), wanted)
        bodies = [row.body for row in await all_rows(backend, room)]
        expect("the bodies", bodies, ["1", None, None, None, "5", None])
        live = [item for batch in await collect(feed, 11, room) for item in about(room, batch)]
        redactions = [redact(2), redact(3), redact(4), redact(2)]
        expect("the feed", live[5:9] + live[10:], [*redactions, redact(6)])
        expect("the rows in the feed", live[:5], rows)
    outcomes = await backend.commit([*posts, new_post(room, "else", op="o2"), new_post(room, "else", op="o1")])
    expect("repeats in a later commit", duplicates(outcomes), [1, 2, 3, 4, 5, 2, "op_conflict"])
    expect("another room", [row.body for row in await all_rows(backend, other)], ["untouched"])
    async with backend.log.tail(start) as feed:
        items = [item for batch in await collect(feed, 11, room) for item in about(room, batch)]
    bodies = [item.body for item in items if isinstance(item, Row)]
    expect("the bodies in a feed that was behind", bodies, ["1", None, None, None, "5", None])
    expect("the redactions in it", [item for item in items if isinstance(item, Redact)], [*redactions, redact(6)])
    again = evolve(room, epoch="again")
    outcomes = await backend.commit(
        [
            Trim(room_id=room.room_id, first=4),
            redact(3),
            redact(5),
            DeleteRoom(room_id=room.room_id),
            redact(5),
            CreateRoom(room=again),
            redact(1),
            *posts[4:],
            *posts[:2],
        ]
    )
    wanted = ["ok", none, "ok", "ok", "no_such_room", "ok", none, "ok", "ok", "ok"]
    expect("the outcomes around a trim and a deletion", codes(outcomes), wanted)
    expect("the bodies in the new log", [row.body for row in await all_rows(backend, again)], ["5", "1", b"2"])
