"""The laws of a backend, over memory and SQLite; and that the suite notices a backend that breaks them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import trio
from attrs import evolve

from chatkit.backend import open_backend
from chatkit.backend.interface import Backend
from chatkit.backend.memory import MemoryBackend, drop_memory
from chatkit.backend.memory_store import MemoryStore
from chatkit.backend.records import Append, Appended, Change, Outcome, Put, Redact, Refused, Together, Trim
from chatkit.errors import StorageUnavailable
from chatkit.testing.backend import check_backend


async def test_memory() -> None:
    await check_backend(lambda: open_backend("memory://"))


async def test_named_memory() -> None:
    try:
        await check_backend(lambda: open_backend("memory://conformance"))
    finally:
        drop_memory("conformance")


async def test_sqlite(tmp_path: Path) -> None:
    await check_backend(lambda: open_backend(f"sqlite:///{tmp_path}/store.db"))


class Faulty(MemoryBackend):
    def __init__(self) -> None:
        super().__init__(MemoryStore())


class Deaf(Faulty):
    """Forgets to tell its feeds."""

    def __init__(self) -> None:
        super().__init__()
        self._store.openings.clear()


class Doubling(Faulty):
    """Does not look at ops."""

    async def commit(self, changes: Sequence[Change]) -> list[Outcome]:
        stripped = [evolve(c, op=None) if isinstance(c, Append) else c for c in changes]
        return await super().commit(stripped)


class AllOrNothing(Faulty):
    """Fails a commit for one bad change."""

    async def commit(self, changes: Sequence[Change]) -> list[Outcome]:
        if any(isinstance(change, Append) and change.time > 2**63 for change in changes):
            raise StorageUnavailable("the whole commit failed")
        return await super().commit(changes)


class Unordered(Faulty):
    """Lets commits overtake each other."""

    async def commit(self, changes: Sequence[Change]) -> list[Outcome]:
        for _ in range(len(self._store._journal) % 3):
            await trio.lowlevel.checkpoint()
        return await super().commit(changes)


class Torn(Faulty):
    """Keeps one half of a cancelled commit."""

    async def commit(self, changes: Sequence[Change]) -> list[Outcome]:
        return [outcome for change in changes for outcome in await super(Torn, self).commit([change])]


class OffByOne(Faulty):
    """Counts from nought."""

    async def commit(self, changes: Sequence[Change]) -> list[Outcome]:
        outcomes = await super().commit(changes)
        return [
            Appended(evolve(outcome.row, seq=outcome.row.seq - 1), outcome.epoch, outcome.duplicate)
            if isinstance(outcome, Appended)
            else outcome
            for outcome in outcomes
        ]


class Piecemeal(Faulty):
    """Makes changes one by one that should be made together."""

    async def commit(self, changes: Sequence[Change]) -> list[Outcome]:
        parts = [len(change.changes) if isinstance(change, Together) else 1 for change in changes]
        flat = [part for change in changes for part in (change.changes if isinstance(change, Together) else (change,))]
        outcomes = iter(await super().commit(flat))
        grouped = [[next(outcomes) for _ in range(count)] for count in parts]
        return [next((one for one in group if isinstance(one, Refused)), group[-1]) for group in grouped if group]


class Careless(Faulty):
    """Does not look at what was there."""

    async def commit(self, changes: Sequence[Change]) -> list[Outcome]:
        return await super().commit([self._careless(change) for change in changes])

    def _careless(self, change: Change) -> Change:
        if isinstance(change, Put):
            return evolve(change, was=self._store.record(change.record.KIND, change.record.id))
        return change


class Indelible(Faulty):
    """Keeps what is redacted."""

    async def commit(self, changes: Sequence[Change]) -> list[Outcome]:
        return await super().commit(
            [Trim(room_id=change.room_id, first=0) if isinstance(change, Redact) else change for change in changes]
        )


class Forgetful(Faulty):
    """Says it is durable and is not."""

    durable = True


@pytest.mark.parametrize(
    ("kind", "law"),
    [
        (Deaf, "law 4"),
        (Doubling, "law [13]"),
        (AllOrNothing, "law 3"),
        (Unordered, "law 2"),
        (Torn, "law [45]"),
        (OffByOne, "law 1"),
        (Piecemeal, "law 3, together"),
        (Careless, "records are compared"),
        (Indelible, "law 4, redacting"),
        (Forgetful, "law 1"),
    ],
)
async def test_a_broken_law_is_noticed(kind: type[Faulty], law: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatkit.testing.backend.suite.PATIENCE", 0.5)

    async def open_() -> Backend:
        return kind()

    with pytest.raises(AssertionError, match=f"^{law}"):
        await check_backend(open_)
