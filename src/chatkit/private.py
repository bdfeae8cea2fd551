"""A nursery that nobody outside sees: what a context manager of ours runs in the background of a user's block."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from chatkit.errors import ChatError


@asynccontextmanager
async def private_nursery(stop: Callable[[trio.Nursery], None]) -> AsyncIterator[trio.Nursery]:
    """Open a nursery round a user's block.

    When the block ends, ``stop`` is called and the nursery's tasks are waited for; when it is cancelled, so are they.
    What the block raised comes out as it was raised, outside any group; a `ChatError` of a background task comes out
    bare, with the group as cause.
    """
    raised: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            except trio.Cancelled:
                raise
            except BaseException as error:
                raised = error
            stop(nursery)
    except BaseExceptionGroup as group:
        ours, others = group.split(ChatError)
        if ours is None or others is not None:
            raise
        raise first_of(ours) from group
    if raised is not None:
        raise raised


def first_of(group: BaseExceptionGroup[Any]) -> BaseException:
    """Return the first exception in a group that is no group itself."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
