"""Letting go of what is old: rooms are trimmed to what the configuration keeps, in the background.

Laws: a room never holds less than it may keep; a step is one small commit, and the store has most of its time for
everybody else; what cannot be trimmed now is trimmed later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from chatkit.backend.records import Trim
from chatkit.errors import StorageUnavailable
from chatkit.server.history import first_from
from chatkit.server.logbook import log

if TYPE_CHECKING:
    from chatkit.engine.state import Room
    from chatkit.server.core import Core

SHARE = 4.0
"""After each step trimming rests for this many times what the step took: at most a fifth of the store's time."""


async def keep_trimmed(core: Core) -> None:
    """Trim every room to what `ServerConfig.keep_events` and `ServerConfig.keep_for` say, again and again, until
    cancelled. Does nothing if they say nothing."""
    config = core.config
    while config.keep_events is not None or config.keep_for is not None:
        for room in list(core.engine.rooms.values()):
            try:
                await trim_room(core, room)
            except StorageUnavailable as error:
                log.warning("room %r cannot be trimmed now: %s", room.name, error, event="trim_failed")
            except KeyError:
                continue  # it has been deleted meanwhile
        await trio.sleep(config.trim_interval)


async def trim_room(core: Core, room: Room) -> None:
    """Trim one room. Raises `StorageUnavailable`, and KeyError if it is gone."""
    target = await _first_to_keep(core, room)
    trimmed = max(0, target - room.record.first)
    while room.record.first < target and room.id in core.engine.rooms:
        began = trio.current_time()
        await core.commit(Trim(room_id=room.id, first=min(target, room.record.first + core.config.trim_rows)))
        await trio.sleep(max(core.config.trim_pause, SHARE * (trio.current_time() - began)))
    if trimmed:
        log.info("room %r trimmed: %d entries, from %d on", room.name, trimmed, target, event="trimmed")


async def _first_to_keep(core: Core, room: Room) -> int:
    config, target = core.config, room.record.first
    if config.keep_events is not None:
        target = max(target, room.head + 1 - config.keep_events)
    if config.keep_for is not None and room.head >= room.record.first:
        oldest = core.now_ms() - int(config.keep_for * 1000)
        target = max(target, (await first_from(core.backend.log, room.id, oldest))[0])
    return target
