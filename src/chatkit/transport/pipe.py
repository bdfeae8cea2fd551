"""A pair of byte streams inside one process: bounded, deterministic, without descriptors or threads."""

from __future__ import annotations

from operator import index

import trio
from attrs import Factory, define

from chatkit.transport.stream import Bytes, ByteStream

PIPE_BYTES = 65_536
"""What one direction holds, as a kernel's socket buffers would."""


def memory_pair(capacity: int = PIPE_BYTES, *, peer: str = "memory") -> tuple[ByteStream, ByteStream]:
    """Return the two ends of a new pipe; each direction holds ``capacity`` bytes."""
    there, back = _Lane(capacity), _Lane(capacity)
    return MemoryStream(there, back, peer), MemoryStream(back, there, peer)


@define(eq=False)
class _Lane:
    """One direction of a pipe."""

    capacity: int
    buffer: bytearray = Factory(bytearray)
    ended: bool = False
    """The writer ended it: what is buffered is still read."""
    broken: bool = False
    """The reader is gone, or the pipe was aborted."""
    changed: trio.Event = Factory(trio.Event)

    def wake(self) -> None:
        self.changed.set()
        self.changed = trio.Event()


class MemoryStream(ByteStream):
    """One end of a pipe made by `memory_pair`."""

    def __init__(self, outgoing: _Lane, incoming: _Lane, peer: str) -> None:
        self.peer = peer
        self._out = outgoing
        self._in = incoming
        self._closed = False
        self._sending = False
        self._receiving = False

    def try_send(self, data: Bytes) -> int:
        self._check_writable()
        lane = self._out
        room = lane.capacity - len(lane.buffer)
        if room <= 0 or not data:
            return 0
        if len(data) <= room:
            lane.buffer += data
            taken = len(data)
        else:
            lane.buffer += data[:room]
            taken = room
        lane.wake()
        return taken

    async def send_some(self, data: Bytes) -> int:
        await self.wait_send_all_might_not_block()
        return self.try_send(data)

    async def wait_send_all_might_not_block(self) -> None:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._sending = True
        try:
            await trio.lowlevel.checkpoint()
            self._check_writable()
            while len(self._out.buffer) >= self._out.capacity:
                await self._out.changed.wait()
                self._check_writable()
        finally:
            self._sending = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if max_bytes is not None and index(max_bytes) < 1:
            raise ValueError("max_bytes must be at least 1")
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving on this stream")
        self._receiving = True
        try:
            await trio.lowlevel.checkpoint()
            lane = self._in
            while not self._check_readable() and not lane.ended:
                await lane.changed.wait()
        finally:
            self._receiving = False
        data = bytes(lane.buffer[:max_bytes])
        del lane.buffer[: len(data)]
        lane.wake()
        return data

    def send_eof(self) -> None:
        if not self._closed:
            self._out.ended = True
            self._out.wake()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._out.ended = True
        self._in.broken = True
        self._in.buffer.clear()
        self._out.wake()
        self._in.wake()

    def abort(self) -> None:
        if not self._closed:
            self._out.broken = True
            self._out.buffer.clear()
        self.close()

    def _check_writable(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this stream was closed")
        if self._out.broken:
            raise trio.BrokenResourceError("the other end is gone")
        if self._out.ended:
            raise trio.ClosedResourceError("nothing follows the end")

    def _check_readable(self) -> bool:
        if self._closed:
            raise trio.ClosedResourceError("this stream was closed")
        if self._in.broken:
            raise trio.BrokenResourceError("the other end is gone")
        return bool(self._in.buffer)
