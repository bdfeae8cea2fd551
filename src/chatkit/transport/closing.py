"""How a link says why it ends: the Disconnected a code means, and the ``closing`` event of bindings without codes."""

from __future__ import annotations

import time

import orjson

from chatkit.errors import Disconnected
from chatkit.protocol.codes import may_reconnect
from chatkit.protocol.times import to_wire

NORMAL = 1000
PROTOCOL_ERROR = 1002
NO_CODE = 1005
BROKEN = 1006
NOT_UTF8 = 1007
TOO_LARGE = 1009
SERVER_FAILED = 1011
GARBAGE = 4400
TOO_SLOW = 4408
FLOODING = 4429

LINGER_SECONDS = 1.0
"""How long the last words may take to be read before a closed link is let go."""


def ended(code: int, reason: str = "", *, reconnect: bool | None = None) -> Disconnected:
    """Return the `Disconnected` a close code means; ``reconnect`` None asks the table."""
    return Disconnected(code, reason, reconnect=may_reconnect(code) if reconnect is None else reconnect)


def closing_event(code: int, reason: str, *, reconnect: bool) -> bytes:
    """Encode the event a link without close codes ends with."""
    return orjson.dumps(
        {
            "action": "closing",
            "data": {"code": code, "reason": reason, "reconnect": reconnect},
            "timestamp": to_wire(time.time_ns() // 1_000_000),
        }
    )


def read_closing(message: bytes) -> Disconnected | None:
    """Return what a ``closing`` event says, or None if the message is another."""
    if b'"closing"' not in message:
        return None
    try:
        event = orjson.loads(message)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(event, dict) or event.get("action") != "closing":
        return None
    data = event.get("data")
    data = data if isinstance(data, dict) else {}
    code, reason, reconnect = data.get("code"), data.get("reason"), data.get("reconnect")
    return ended(
        code if type(code) is int else BROKEN,
        reason if isinstance(reason, str) else "",
        reconnect=reconnect if isinstance(reconnect, bool) else None,
    )
