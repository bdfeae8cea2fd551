"""Stores in memory: private, named, repeatable; and the bus."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import trio
from attrs import evolve
from stores import ROOM, bodies, opened, post

from chatkit.backend import open_backend
from chatkit.backend.bus import MAX_SIGNALS, LocalBus
from chatkit.backend.memory import MemoryBackend, drop_memory
from chatkit.backend.records import (
    Account,
    Append,
    Batch,
    Change,
    CreateRoom,
    Member,
    Put,
    PutMember,
    Redact,
    Remove,
    RoomRecord,
    Row,
    Together,
    UpdateRoom,
)
from chatkit.backend.storable import why_not
from chatkit.errors import UsageError


@pytest.fixture(autouse=True)
def _no_leftovers() -> Iterator[None]:
    yield
    drop_memory("here")


async def test_unnamed_stores_are_private() -> None:
    async with opened("memory://", ROOM), opened("memory://") as other:
        assert not other.durable
        assert (await other.directory.snapshot()).rooms == ()


async def test_a_name_is_one_store_with_one_feed_and_bus() -> None:
    async with (
        opened("memory://here", ROOM) as one,
        opened("memory://here") as two,
        opened("memory://there") as three,
        two.log.tail(1) as feed,
        two.bus.subscribe() as signals,
        three.bus.subscribe() as elsewhere,
    ):
        await one.commit([post("hello")])
        batch: Batch = await anext(feed)
        assert [item.body for item in batch.items if isinstance(item, Row)] == ["hello"]
        await one.bus.publish("topic", b"data")
        assert await anext(signals) == ("topic", b"data")
        with trio.move_on_after(0.01) as waited:
            await anext(elsewhere)
        assert waited.cancelled_caught
        await two.aclose()
        assert [batch async for batch in feed] == []
        await one.commit([post("again")])
    drop_memory("there")


async def test_a_named_store_outlives_those_who_opened_it() -> None:
    async with opened("memory://here", ROOM, post("kept")):
        pass
    async with opened("memory://here") as backend:
        assert await bodies(backend) == ["kept"]
    drop_memory("here")
    drop_memory("here")
    async with opened("memory://here") as backend:
        assert (await backend.directory.snapshot()).position == 0


@pytest.mark.parametrize("url", ["memory://x/y", "memory:///x", "memory://x?y", "memory://#x"])
async def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(UsageError, match="expected memory://"):
        await open_backend(url)


async def test_a_commit_takes_effect_at_the_call() -> None:
    called: list[str] = []

    async def call(number: int) -> None:
        called.append(str(number))
        await backend.commit([post(str(number))])

    async with opened("memory://", ROOM) as backend:
        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(call, number)
        assert await bodies(backend) == called


async def test_a_bus_drops_the_oldest_and_ends() -> None:
    bus = LocalBus()
    async with bus.subscribe() as signals:
        for number in range(MAX_SIGNALS + 5):
            await bus.publish("t", b"%d" % number)
        bus.close()
        bus.close()
        await bus.publish("t", b"late")
        assert [data async for _, data in signals] == [b"%d" % number for number in range(5, MAX_SIGNALS + 5)]
    async with bus.subscribe() as signals:
        assert [signal async for signal in signals] == []


async def test_what_is_redacted_is_in_no_journal() -> None:
    async with opened("memory://", ROOM, post("secret 1"), post("open")) as backend:
        await backend.commit([post("secret 2"), Redact(room_id="r", seq=3), post("secret 3"), post("secret 4")])
        await backend.commit([Redact(room_id="r", seq=seq) for seq in (1, 4, 5, 1)])
        async with backend.log.tail(0) as feed:
            items = [item for _ in range(3) for item in (await anext(feed)).items]
        assert [item.body for item in items if isinstance(item, Row)] == [None, "open", None, None, None]
        assert await bodies(backend) == [None, "open", None, None, None]
        assert isinstance(backend, MemoryBackend)
        assert "secret" not in repr(backend.store._journal)


room = RoomRecord(room_id="r", epoch="e", name="R", key="r")
account = Account(id="a", name="Ann", key="ann")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (post("\udfff"), "body: holds half of a surrogate pair"),
        (post(12), "body: expected str or bytes or NoneType"),  # type: ignore[arg-type]
        (post(op="\ud800"), "op: holds half of a surrogate pair"),
        (post(author="\ud800"), "author: holds half"),
        (Append(room_id="r", kind="m", author="a", name="n", time=2**63, body=None), "time: the number is too large"),
        (Append(room_id="r", kind="m", author="a", name="n", time=1.5, body=None), "time: expected int"),  # type: ignore[arg-type]
        (PutMember(member=Member(room_id="r", principal="\ud800")), "principal: holds half"),
        (CreateRoom(room=room, owner=Member(room_id="s", principal="a")), "owner: a member of another room"),
        (CreateRoom(room=RoomRecord(room_id="r", epoch="e", name="\ud800", key="r")), "name: holds half"),
        ("nonsense", "str is no change"),
        (CreateRoom(room=evolve(room, slow=float("nan"))), "slow: the number is too large"),
        (CreateRoom(room=evolve(room, slow=-math.inf)), "slow: the number is too large"),
        (CreateRoom(room=evolve(room, slow=2**53)), "slow: the number is too large"),
        (CreateRoom(room=evolve(room, slow="1")), "slow: expected int or float"),  # type: ignore[arg-type]
        (UpdateRoom(room=evolve(room, epoch="f"), was=room), "epoch: cannot be changed"),
        (UpdateRoom(room=evolve(room, permanent=True), was=room), "permanent: cannot be changed"),
        (UpdateRoom(room=room, was="room"), "UpdateRoom is no change"),  # type: ignore[arg-type]
        (Put(record="ann"), "str is no record"),  # type: ignore[arg-type]
        (Put(record=account, was=room), "RoomRecord is no record"),  # type: ignore[arg-type]
        (Put(record=evolve(account, disabled=1)), "disabled: expected bool"),  # type: ignore[arg-type]
        (Put(record=account, was=evolve(account, created_at=2**63)), "created_at: the number is too large"),
        (Remove(record=evolve(account, password="\ud800")), "password: holds half"),
        (
            PutMember(member=Member(room_id="r", principal="a"), was=Member(room_id="r", principal="\ud800")),
            "principal:",
        ),
        (Redact(room_id="r", seq=-(2**63) - 1), "seq: the number is too large"),
        (Together((post(), Together(()))), "a Together in a Together"),  # type: ignore[arg-type]
        (Together([post()]), "Together is no change"),  # type: ignore[arg-type]
        (Put(record=account, was=evolve(account, key="other")), None),
        (UpdateRoom(room=evolve(room, slow=2**53 - 1, closed=True, head=7), was=room), None),
        (Together((post(), Remove(record=account))), None),
        (post("\U0001f600", op=""), None),
        (CreateRoom(room=room, owner=Member(room_id="r", principal="a")), None),
    ],
)
async def test_what_cannot_be_kept(change: Change, why: str | None) -> None:
    reason = why_not(change)
    assert reason == why if why is None or reason is None else reason.startswith(why)
