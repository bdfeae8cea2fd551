"""The outlet: whoever writes to a link writes through this, so frames never stand inside one another.

Its laws: bytes leave in the order they were given. `Outlet.push` never waits. What the stream does not take at once is
kept, and a writer task exists only while bytes are kept. After the last frame (`Outlet.finish`) none follows. Once the
stream is broken everything vanishes quietly: the reader is what tells of the end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import trio
from attrs import define, field

from chatkit.transport.stream import Bytes, ByteStream

CHUNK_BYTES = 65_536
"""Written at a time by the writer task, so that a slow reader's progress shows."""

NOTHING: deque[Any] = deque()
"""In place of an empty queue: an idle link has none of its own."""

BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError)
BROKEN_AT_ONCE = (*BROKEN, OSError)


@define(eq=False)
class Outlet:
    """Owns every write to ``stream``; the writer task, when one is needed, runs in ``nursery``."""

    # First, and so beside each other in memory: a fan-out touches these two of every idle link, and no more.
    _send: Callable[[bytes], int] = field(init=False)
    _direct: bool = field(default=True, init=False)
    """Nothing waits and more is taken: the one question `push` asks of an idle link."""

    stream: ByteStream
    nursery: trio.Nursery
    bound: int
    """Bytes that may wait; the last blob may overshoot."""
    write_timeout: float
    """Seconds without progress after which the stream is aborted."""

    waiting_bytes: int = field(default=0, init=False)
    """Bytes taken and not yet with the kernel."""
    over: bool = field(default=False, init=False)
    """No more is taken: the last frame was, or the stream broke."""
    broken: bool = field(default=False, init=False)
    timed_out: bool = field(default=False, init=False)

    _queue: deque[memoryview] = field(init=False, default=NOTHING)
    _writing: bool = field(default=False, init=False)
    _taken: int = field(default=0, init=False)
    """Bytes ever kept; a waiter of `send_all` waits until ``_taken - waiting_bytes`` reaches its own mark."""
    _waiters: deque[tuple[int, trio.Event]] = field(init=False, default=NOTHING)
    _drained: trio.Event | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._send = self.stream.sender()

    def push(self, blob: bytes) -> bool:
        """Write ``blob`` or keep it; False, and not taken, when ``bound`` bytes were waiting already."""
        if self._direct:
            try:
                sent = self._send(blob)
            except BlockingIOError:
                sent = 0
            except BROKEN_AT_ONCE:
                self._break()
                return True
            if sent != len(blob):
                self._keep(blob, sent)
            return True
        if self.over:
            return True
        if self.waiting_bytes >= self.bound:
            return False
        self._keep(blob, 0)
        return True

    def push_anyway(self, blob: bytes) -> None:
        """As `push`, over the bound."""
        if self._direct or self.over:
            self.push(blob)
        else:
            self._keep(blob, 0)

    def finish(self, blob: bytes = b"") -> None:
        """Take the last bytes; everything pushed from now on vanishes."""
        if blob:
            self.push_anyway(blob)
        self.over = True
        self._direct = False

    async def send_all(self, data: Bytes) -> None:
        """Take ``data`` and return when it is with the kernel. Cancelled, it is queued whole or not sent at all.

        Raises `trio.BrokenResourceError` once the stream is broken, `trio.ClosedResourceError` after the last frame.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.over:
            await trio.lowlevel.cancel_shielded_checkpoint()
            raise trio.BrokenResourceError if self.broken else trio.ClosedResourceError
        self.push_anyway(bytes(data))  # before any other task runs: what is sent first goes first
        await trio.lowlevel.cancel_shielded_checkpoint()
        await self.flush()

    async def flush(self) -> None:
        """Return when all that waits now is with the kernel. Raises `trio.BrokenResourceError`. Cancelling leaves the
        bytes queued."""
        if self.waiting_bytes:
            mark = (self._taken, trio.Event())
            if self._waiters is NOTHING:
                self._waiters = deque()
            self._waiters.append(mark)
            await mark[1].wait()
        if self.broken:
            raise trio.BrokenResourceError("the link broke")

    async def wait_drained(self) -> None:
        """Return once fewer than half of ``bound`` wait. Raises `trio.BrokenResourceError`."""
        await trio.lowlevel.checkpoint()
        while self.waiting_bytes * 2 >= self.bound and not self.broken:
            if self._drained is None:
                self._drained = trio.Event()
            await self._drained.wait()
        if self.over:
            raise trio.BrokenResourceError("the link ended")

    def abort(self) -> None:
        """Drop what waits and abort the stream."""
        self._break()
        self.stream.abort()

    def _keep(self, blob: bytes, sent: int) -> None:
        rest = memoryview(blob)[sent:]
        if self._queue is NOTHING:
            self._queue = deque()
        self._queue.append(rest)
        self.waiting_bytes += len(rest)
        self._taken += len(rest)
        self._direct = False
        if not self._writing:
            self._start_writer()

    def _start_writer(self) -> None:
        try:
            self.nursery.start_soon(self._write)
        except RuntimeError:  # the nursery is closed: nobody is left who could write
            self.abort()
        else:
            self._writing = True

    async def _write(self) -> None:
        try:
            while self._queue:
                with trio.move_on_after(self.write_timeout) as patience:
                    self._advance(await self.stream.send_some(self._next_chunk()))
                if patience.cancelled_caught:
                    self.timed_out = True
                    return
        except BROKEN:
            self._break()
        finally:
            self._writing = False
            if not self._waiters:
                self._waiters = NOTHING
            if not self._queue:
                self._queue = NOTHING
            else:  # out of time, or cancelled: a frame may be half written, so no byte can follow
                self.abort()

    def _next_chunk(self) -> memoryview:
        """Return the bytes to write next, small pieces joined."""
        queue = self._queue
        head = queue.popleft()
        size, pieces = len(head), [head]
        while queue and size + len(queue[0]) <= CHUNK_BYTES:
            size += len(queue[0])
            pieces.append(queue.popleft())
        queue.appendleft(head if len(pieces) == 1 else memoryview(b"".join(pieces)))
        return queue[0][:CHUNK_BYTES]

    def _advance(self, sent: int) -> None:
        queue = self._queue
        if not queue:  # broken meanwhile
            return
        if sent == len(queue[0]):
            queue.popleft()
        else:
            queue[0] = queue[0][sent:]
        self.waiting_bytes -= sent
        self._direct = not queue and not self.over
        done = self._taken - self.waiting_bytes
        while self._waiters and self._waiters[0][0] <= done:
            self._waiters.popleft()[1].set()
        if self._drained is not None and self.waiting_bytes * 2 < self.bound:
            self._drained.set()
            self._drained = None

    def _break(self) -> None:
        self.over = self.broken = True
        self._direct = False
        self._queue.clear()
        self.waiting_bytes = 0
        while self._waiters:
            self._waiters.popleft()[1].set()
        if self._drained is not None:
            self._drained.set()
            self._drained = None
