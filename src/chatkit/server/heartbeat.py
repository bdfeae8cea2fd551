"""Telling dead links from silent ones: one task for all sessions."""

from __future__ import annotations

import trio

from chatkit.server.core import Core
from chatkit.server.logbook import log
from chatkit.server.session import Session


async def keep_heartbeat(core: Core) -> None:
    """Ping links that are silent and end those that stay silent, until cancelled."""
    config = core.config
    pinged: dict[Session, float] = {}
    while True:
        await trio.sleep(config.heartbeat_grace / 2)
        now = trio.current_time()
        for session in list(core.sessions.values()):
            heard = session.connection.last_heard
            if now - heard < config.heartbeat:
                pinged.pop(session, None)
            elif session not in pinged:
                pinged[session] = now
                await session.connection.ping()
            elif now - pinged[session] >= config.heartbeat_grace:
                log.info("%r is dead: silent for %.0f s", session, now - heard, event="dead", extra=session.fields)
                session.connection.abort()
        for session in [gone for gone in pinged if gone.id not in core.sessions]:
            del pinged[session]
