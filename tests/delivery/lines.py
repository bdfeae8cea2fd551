"""A client of the bare protocol over TCP: what any program could be."""

from __future__ import annotations

from typing import Any

import orjson
import trio


class Lines:
    """JSON lines over a stream."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._rest = b""

    async def say(self, message: dict[str, Any]) -> None:
        """Send a message."""
        await self.stream.send_all(orjson.dumps(message) + b"\n")

    async def next(self) -> dict[str, Any]:
        """Return the next message."""
        while b"\n" not in self._rest:
            data = await self.stream.receive_some(65_536)
            if not data:
                raise EOFError(self._rest)
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        message: dict[str, Any] = orjson.loads(line)
        return message

    async def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request and return its reply; what comes before it is dropped."""
        await self.say(request)
        while (message := await self.next()).get("ref") != request["ref"]:
            pass
        return message
