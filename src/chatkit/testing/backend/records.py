"""Checks of records: accounts, tokens, bans, invitations."""

from __future__ import annotations

from secrets import token_hex

import trio
from attrs import evolve

from chatkit.backend.interface import Backend
from chatkit.backend.records import (
    Ban,
    CreateRoom,
    DeleteRoom,
    Fact,
    Invitation,
    Put,
    Record,
    Remove,
    Row,
    TokenRecord,
)
from chatkit.testing.backend.tools import codes, expect, followed, kept_records, make_room, new_account, new_room


async def records_are_kept(backend: Backend) -> None:
    """Records come back as they were put, whatever they hold, in the snapshot and in the feed."""
    records: list[Record] = [
        new_account(),
        new_account(name="Žofie ☃", password="$argon2id$…", role="owner", disabled=True, created_at=2**53),
        TokenRecord(id=token_hex(8), account_id="a\0b", digest=token_hex(8)),
        TokenRecord(
            id=token_hex(8),
            account_id="",
            digest=token_hex(8),
            kind="api",
            label="\U0001f600\n\"'",
            role="member",
            created_at=-1,
            used_at=1,
            expires_at=2**63 - 1,
        ),
        Ban(id=token_hex(8), kind="address", value="::1", by="x"),
        Ban(id=token_hex(8), kind="name", value="ß", by="y", reason="…", at=7, until=0),
        Invitation(id=token_hex(8), digest=token_hex(8), by="x"),
        Invitation(id=token_hex(8), digest=token_hex(8), by="x", role="admin", uses=0, created_at=5, expires_at=6),
    ]
    ids = [record.id for record in records]
    changes: list[Fact] = [Put(record=record) for record in records]
    async with followed(backend) as feed:
        expect("the outcomes", codes(await backend.commit(changes)), ["ok"] * len(records))
        expect("the records", await kept_records(backend, *ids), records)
        removals: list[Fact] = [Remove(record=record) for record in records[1::2]]
        expect("the outcomes of removing", codes(await backend.commit(removals)), ["ok"] * len(removals))
        expect("the records that stay", await kept_records(backend, *ids), records[::2])
        items: list[Row | Fact] = []
        while len(items) < len(changes) + len(removals):
            items += [item for item in (await anext(feed)).items if isinstance(item, Put | Remove)]
        expect("the feed", items, changes + removals)


async def records_are_compared(backend: Backend) -> None:
    """A record is put or removed by who knows what is there, else it is refused with ``conflict``."""
    old = new_account()
    new, stale = evolve(old, role="admin"), evolve(old, name="other")
    namesake = Invitation(id=old.id, digest=old.key, by="x")
    outcomes = await backend.commit(
        [
            Put(record=new, was=old),
            Remove(record=old),
            Put(record=old),
            Put(record=new),
            Put(record=new, was=stale),
            Put(record=new, was=namesake),
            Put(record=new, was=old),
            Put(record=new, was=old),
            Remove(record=old),
            Remove(record=namesake),
            Put(record=namesake),
        ]
    )
    wanted = ["conflict", "conflict", "ok", *["conflict"] * 3, "ok", "conflict", "conflict", "conflict", "ok"]
    expect("the outcomes in one commit", codes(outcomes), wanted)
    outcomes = await backend.commit([Put(record=old, was=old), Put(record=old), Put(record=new, was=new)])
    expect("the outcomes in a later one", codes(outcomes), ["conflict", "conflict", "ok"])
    expect("what is kept", await _kept_of(backend, "account", old.id), [new])
    outcomes = await backend.commit(
        [Remove(record=new), Remove(record=new), Put(record=old, was=new), Remove(record=namesake)]
    )
    expect("the outcomes of removing", codes(outcomes), ["ok", "conflict", "conflict", "ok"])
    expect("what is left", await kept_records(backend, old.id), [])
    outcomes = await backend.commit(
        [Put(record=old), Put(record=new_account(name="\ud800")), Put(record=new_account(created_at=2**70))]
    )
    expect("what cannot be kept", codes(outcomes), ["ok", "bad_request", "bad_request"])


async def _kept_of(backend: Backend, kind: str, id_: str) -> list[Record]:
    return [record for record in await kept_records(backend, id_) if kind == record.KIND]


async def keys_have_one_holder(backend: Backend) -> None:
    """A unique key belongs to one record of its kind at a time, and is free once that has another or is gone."""
    ann, bob, cid = new_account(), new_account(), new_account()
    expect("making them", codes(await backend.commit([Put(record=ann), Put(record=bob)])), ["ok", "ok"])
    anna = evolve(ann, key=f"{ann.key} anew")
    outcomes = await backend.commit(
        [
            Put(record=evolve(cid, key=ann.key)),
            Put(record=evolve(bob, key=ann.key), was=bob),
            Put(record=anna, was=ann),
            Put(record=evolve(bob, key=anna.key), was=bob),
            Put(record=evolve(bob, key=ann.key), was=bob),
            Put(record=evolve(cid, key=bob.key)),
            Put(record=evolve(anna, key=bob.key), was=anna),
            Remove(record=evolve(cid, key=bob.key)),
            Put(record=evolve(anna, key=bob.key), was=anna),
            Put(record=TokenRecord(id=token_hex(8), account_id=ann.id, digest=ann.key)),
            Put(record=TokenRecord(id=token_hex(8), account_id=ann.id, digest=ann.key)),
        ]
    )
    taken = "name_taken"
    expect("the outcomes", codes(outcomes), [taken, taken, "ok", taken, "ok", "ok", taken, "ok", "ok", "ok", taken])
    keys = [getattr(record, "key", None) for record in await kept_records(backend, ann.id, bob.id, cid.id)]
    expect("the keys", keys, [bob.key, ann.key])
    key, answers = token_hex(8), []

    async def claim() -> None:
        answers.extend(codes(await backend.commit([Put(record=new_account(key=key))])))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(claim)
    expect("the answers to many at once", sorted(answers), ["name_taken"] * 4 + ["ok"])


async def bans_go_with_their_room(backend: Backend) -> None:
    """Deleting a room removes its bans and no others; there is none of a room that does not exist."""
    room, other, nowhere = await make_room(backend), await make_room(backend), new_room()

    def ban(room_id: str | None) -> Ban:
        return Ban(id=token_hex(8), room_id=room_id, kind="account", value="x", by="y")

    here, there, everywhere, late = ban(room.room_id), ban(other.room_id), ban(None), ban(room.room_id)
    outcomes = await backend.commit(
        [
            Put(record=here),
            Put(record=there),
            Put(record=everywhere),
            Put(record=ban(nowhere.room_id)),
            Put(record=evolve(there, room_id=nowhere.room_id), was=there),
        ]
    )
    expect("the outcomes", codes(outcomes), ["ok", "ok", "ok", "no_such_room", "no_such_room"])
    outcomes = await backend.commit(
        [
            Put(record=late),
            DeleteRoom(room_id=room.room_id),
            Remove(record=here),
            Put(record=late),
            CreateRoom(room=room),
            Put(record=evolve(here, reason="again"), was=here),
            Remove(record=late),
            Put(record=late),
        ]
    )
    wanted = ["ok", "ok", "conflict", "no_such_room", "ok", "conflict", "conflict", "ok"]
    expect("the outcomes around the deletion", codes(outcomes), wanted)
    ids = [one.id for one in (here, there, everywhere, late)]
    expect("the bans", await kept_records(backend, *ids), [there, everywhere, late])
