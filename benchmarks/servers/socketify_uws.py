"""uWebSockets (C++) through socketify: its own topics, which cork."""

from __future__ import annotations

import sys
from typing import Any

from socketify import App, OpCode

app = App()


def opened(link: Any) -> None:
    link.subscribe("general")


def said(link: Any, message: Any, opcode: OpCode) -> None:
    app.publish("general", message, opcode)


app.ws(
    "/*",
    {
        "compression": 0,
        "max_payload_length": 65_536,
        "max_backpressure": 16 * 1024 * 1024,
        "idle_timeout": 960,
        "open": opened,
        "message": said,
    },
)
app.listen({"port": int(sys.argv[1]), "host": "127.0.0.1"}, lambda config: None)
# Not app.run(): it polls without end beside asyncio, which would be counted against uWebSockets.
app.loop.uv_loop.run()
