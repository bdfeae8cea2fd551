"""Opening stores and making small changes, for the tests of this folder and the processes they start."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chatkit.backend import open_backend
from chatkit.backend.interface import Backend
from chatkit.backend.records import Append, Body, Change, CreateRoom, RoomRecord, Row

ROOM = CreateRoom(room=RoomRecord(room_id="r", epoch="e", name="R", key="r"))


def post(body: Body = "hello", op: str | None = None, room_id: str = "r", author: str = "ann") -> Append:
    return Append(room_id=room_id, kind="message", author=author, name="Ann", time=1, body=body, op=op)


@asynccontextmanager
async def opened(url: object, *changes: Change) -> AsyncIterator[Backend]:
    """Open a URL, or the database at a path; commit changes first."""
    backend = await open_backend(url if isinstance(url, str) else f"sqlite:///{url}")
    try:
        if changes:
            await backend.commit(changes)
        yield backend
    finally:
        await backend.aclose()


async def bodies(backend: Backend, room_id: str = "r") -> list[Body]:
    rows: list[Row] = []
    while page := (await backend.log.read(room_id, after=len(rows), limit=1000)).rows:
        rows += page
    return [row.body for row in rows]
