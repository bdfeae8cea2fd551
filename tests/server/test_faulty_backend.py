"""A store that fails: said so to whoever asked, and harming nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from wires import Site, site

from chatkit.backend import open_backend
from chatkit.backend.interface import Backend, Follower, Log
from chatkit.backend.records import Change, Outcome, Page
from chatkit.errors import StorageUnavailable


class Faulty(Backend, Log):
    """A store in memory that fails when told to."""

    durable = False

    def __init__(self, inner: Backend) -> None:
        self.inner = inner
        self.log: Log = self
        self.directory = inner.directory
        self.bus = inner.bus
        self.on_read: Exception | None = None
        self.on_commit: Exception | None = None
        self.keeps_anyway = False

    async def read(self, room_id: str, **bounds: Any) -> Page:
        if self.on_read is not None:
            raise self.on_read
        return await self.inner.log.read(room_id, **bounds)

    def tail(self, after: int) -> AbstractAsyncContextManager[Follower]:
        return self.inner.log.tail(after)

    async def commit(self, changes: Sequence[Change]) -> list[Outcome]:
        if self.on_commit is None:
            return await self.inner.commit(changes)
        if self.keeps_anyway:
            await self.inner.commit(changes)
        raise self.on_commit

    async def aclose(self) -> None:
        await self.inner.aclose()


@asynccontextmanager
async def faulty_site() -> AsyncIterator[tuple[Site, Faulty]]:
    backend = Faulty(await open_backend("memory://"))
    async with site(backend) as here:
        yield here, backend
    await backend.aclose()


async def test_a_failed_commit_is_told_to_every_sender_in_it_and_may_be_repeated(kind: str) -> None:
    async with faulty_site() as (here, backend):
        ann, bob = await here.user("ann", kind), await here.user("bob")
        backend.on_commit = StorageUnavailable("disk full")
        for wire in (ann, bob):
            assert await wire.code("send_message", room="general", text="hi", op="x") == "storage_unavailable"
            assert await wire.code("create_room", room="tea") == "storage_unavailable"
            assert (await wire.data("history", room="general"))["events"] == []
        backend.on_commit = None
        for seq, wire in enumerate((ann, bob), start=1):
            sent = await wire.data("send_message", room="general", text="hi", op="x")
            assert (sent["seq"], sent["duplicate"]) == (seq, False)
        assert (await ann.data("create_room", room="tea"))["room"] == "tea"


async def test_what_was_kept_in_spite_of_the_failure_is_seen_and_repeated_once() -> None:
    async with faulty_site() as (here, backend):
        ann, bob = await here.user("ann"), await here.user("bob")
        backend.on_commit, backend.keeps_anyway = StorageUnavailable("timed out"), True
        assert await ann.code("send_message", room="general", text="hi", op="x") == "storage_unavailable"
        assert await bob.texts("hi") == [(1, "hi")]
        backend.on_commit = None
        sent = await ann.data("send_message", room="general", text="hi", op="x")
        assert (sent["seq"], sent["duplicate"]) == (1, True)


async def test_a_backend_that_breaks_its_contract_in_a_commit_is_a_failed_commit() -> None:
    async with faulty_site() as (here, backend):
        ann = await here.user("ann")
        backend.on_commit = RuntimeError("a bug")
        assert await ann.code("send_message", room="general", text="hi") == "storage_unavailable"
        backend.on_commit = None
        assert (await ann.data("send_message", room="general", text="hi"))["seq"] == 1


async def test_what_cannot_be_read_is_told_and_the_link_lives(kind: str) -> None:
    async with faulty_site() as (here, backend):
        ann = await here.user("ann", kind)
        backend.on_read = StorageUnavailable("locked")
        assert await ann.code("history", room="general") == "storage_unavailable"
        assert await ann.code("join_room", room="general", last=5) == "storage_unavailable"
        backend.on_read = None
        assert (await ann.data("history", room="general"))["events"] == []


async def test_an_unexpected_error_ends_the_link_it_happens_in_and_no_other(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with faulty_site() as (here, backend):
        ann, bob = await here.user("ann", kind), await here.user("bob")
        backend.on_read = RuntimeError("a bug")
        await ann.send("history", room="general")
        assert (await ann.wait_end())[0] == 1011
        assert (await bob.event("user_left"))["data"]["user"] == "ann"
        backend.on_read = None
        assert (await bob.data("send_message", room="general", text="still here"))["seq"] == 1
        await (await here.user("ann", kind)).sync()
    (failed,) = [line for line in caplog.text.splitlines() if "failed unexpectedly" in line]
    assert " ann] failed unexpectedly" in failed
    assert "RuntimeError: a bug" in caplog.text
