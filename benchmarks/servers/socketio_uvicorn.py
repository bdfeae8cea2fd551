"""python-socketio on uvicorn and uvloop: ``emit`` to a room."""

from __future__ import annotations

import sys
from typing import Any

import socketio
import uvicorn

server = socketio.AsyncServer(async_mode="asgi", ping_interval=3600, ping_timeout=3600)


async def connect(sid: str, environ: dict[str, Any]) -> None:
    await server.enter_room(sid, "general")


async def msg(sid: str, data: str) -> None:
    await server.emit("msg", data, room="general")


server.on("connect", connect)
server.on("msg", msg)
uvicorn.run(
    socketio.ASGIApp(server),
    host="127.0.0.1",
    port=int(sys.argv[1]),
    loop="uvloop",
    log_level="error",
    ws_per_message_deflate=False,
    ws_ping_interval=None,
    backlog=4096,
)
