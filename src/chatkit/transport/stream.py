"""What a transport needs of a stream of bytes beyond Trio's: a write that never waits, and an end at once."""

from __future__ import annotations

import errno
import socket
import struct
from abc import abstractmethod
from collections.abc import Callable
from contextlib import suppress

import trio

from chatkit.transport.proxied import read_header

CLOSED_ERRNOS = frozenset({errno.EBADF, errno.ENOTSOCK})
AT_ONCE = struct.pack("ii", 1, 0)
"""SO_LINGER for `TcpStream.abort`: do not keep what waits, tell the peer with a reset."""
DISCARD_BYTES = 65_536

Bytes = bytes | bytearray | memoryview


class ByteStream(trio.abc.Stream):
    """A two-way stream whose writer is an `Outlet`. Errors are Trio's; the bindings translate them."""

    peer: str
    """The other end for a log line."""

    @abstractmethod
    def try_send(self, data: Bytes) -> int:
        """Write what fits without waiting and return how many bytes that was, 0 when none fit. Raises
        `trio.BrokenResourceError` or `trio.ClosedResourceError`."""

    def sender(self) -> Callable[[Bytes], int]:
        """Return what `try_send` comes down to, for whoever calls it very often. It may raise BlockingIOError where
        `try_send` returns 0, and OSError where that raises Trio's errors."""
        return self.try_send

    @abstractmethod
    async def send_some(self, data: Bytes) -> int:
        """Wait until some of ``data`` can be written and return how many bytes were, at least one."""

    @abstractmethod
    def send_eof(self) -> None:
        """Say that nothing follows; reading goes on. Never fails."""

    @abstractmethod
    def close(self) -> None:
        """Close; what the kernel took is still delivered. Never fails, and wakes whoever reads or writes."""

    @abstractmethod
    def abort(self) -> None:
        """Close at once, dropping what was not delivered. Never fails."""

    @abstractmethod
    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """As Trio's: at least one byte, or none at the end. A cancelled call loses nothing."""

    async def start(self) -> None:
        """Complete what the stream itself needs before bytes flow (TLS); elsewhere nothing."""
        await trio.lowlevel.checkpoint()

    async def send_all(self, data: Bytes) -> None:
        """Write everything. Only for whoever writes alone: before an `Outlet` owns the stream, and for TLS."""
        with memoryview(data) as view:
            if not view:
                await trio.lowlevel.checkpoint()
                self.try_send(b"")
            sent = 0
            while sent < len(view):
                with view[sent:] as rest:
                    sent += await self.send_some(rest)

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()

    async def discard(self) -> None:
        """Read and forget until the peer ends the stream, in whatever way."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
            while await self.receive_some(DISCARD_BYTES):
                pass

    async def linger(self, seconds: float) -> None:
        """Close so that the last bytes arrive: end our half, discard what still comes, for at most ``seconds``.

        A socket closed with unread bytes resets the link, and the peer may then never read our last words.
        """
        self.send_eof()
        try:
            with trio.move_on_after(seconds):
                await self.discard()
        finally:
            self.close()


class TcpStream(ByteStream):
    """A connected TCP socket. One socket object serves both sides, Trio's waiting and the direct write: once it is
    closed a write fails, and never reaches whoever got the same descriptor next."""

    def __init__(self, sock: socket.socket, peer: str, *, proxied: bool = False) -> None:
        """Take over a connected standard socket; a ``proxied`` one may begin with a PROXY header."""
        sock.setblocking(False)
        self.peer = peer
        self._proxied = proxied
        self._unread = b""
        self._sock = sock
        self._send = sock.send
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))

    def try_send(self, data: Bytes) -> int:
        try:
            return self._send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise _translated(error) from error

    def sender(self) -> Callable[[Bytes], int]:
        return self._send

    async def send_some(self, data: Bytes) -> int:
        try:
            return await self._stream.socket.send(data)
        except OSError as error:
            raise _translated(error) from error

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def start(self) -> None:
        """Take what a proxy says before the conversation. Raises `ProtocolError` for nonsense."""
        await trio.lowlevel.checkpoint()
        if not self._proxied:
            return
        self._proxied = False
        received = b""
        while (header := read_header(received)) is None:
            data = await self._stream.receive_some(DISCARD_BYTES)
            if not data:
                raise trio.BrokenResourceError("the peer left during the handshake")
            received += data
        self.peer = header.source or self.peer
        self._unread = received[header.size :]

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self._unread:
            await trio.lowlevel.checkpoint()
            data, self._unread = self._unread[:max_bytes], self._unread[max_bytes:] if max_bytes else b""
            return data
        # Trio's own stream tries to read before it waits, which is in vain for who reads in a loop, and takes four more
        # calls to wait: a kilobyte and a half for every idle link.
        most = DISCARD_BYTES if max_bytes is None else max_bytes
        while True:
            busy = await self._wait_readable()
            try:
                return self._sock.recv(most)
            except BlockingIOError:
                if busy is not None:
                    raise busy from None
            except OSError as error:
                raise _translated(error) from error

    async def _wait_readable(self) -> trio.BusyResourceError | None:
        """Return once there may be something to read, or at once, with the error, while another task waits for it."""
        try:
            await trio.lowlevel.wait_readable(self._sock)
        except trio.BusyResourceError as busy:
            return busy
        except (OSError, ValueError) as error:  # a closed socket has no descriptor to wait for
            await trio.lowlevel.checkpoint()
            raise trio.ClosedResourceError("this stream was closed") from error
        return None

    def send_eof(self) -> None:
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._stream.socket.close()

    def abort(self) -> None:
        with suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        self._stream.socket.close()


def _translated(error: OSError) -> Exception:
    if error.errno in CLOSED_ERRNOS:
        return trio.ClosedResourceError("this stream was closed")
    return trio.BrokenResourceError(f"the link broke: {error}")
