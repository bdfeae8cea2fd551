"""The writing half of a connection over a byte stream: all of it passes the connection's `Outlet`."""

from __future__ import annotations

from abc import abstractmethod

import trio

from chatkit.errors import Disconnected
from chatkit.transport.interface import Connection
from chatkit.transport.outlet import Outlet

STREAM_ENDED = (trio.BrokenResourceError, trio.ClosedResourceError)


class WrittenConnection(Connection):
    """A connection that writes through ``outlet``."""

    outlet: Outlet

    @abstractmethod
    def _disconnected(self) -> Disconnected:
        """Return why the link has ended."""

    async def send(self, message: bytes) -> None:
        try:
            await self.outlet.send_all(self.format.frame(message))
        except STREAM_ENDED as error:
            raise self._disconnected() from error

    def push(self, blob: bytes) -> bool:
        return self.outlet.push(blob)

    @property
    def writer(self) -> Outlet:
        return self.outlet

    def push_anyway(self, blob: bytes) -> None:
        self.outlet.push_anyway(blob)

    async def wait_drained(self) -> None:
        try:
            await self.outlet.wait_drained()
        except STREAM_ENDED as error:
            raise self._disconnected() from error

    @property
    def waiting_bytes(self) -> int:
        return self.outlet.waiting_bytes
