"""The scheme ``memory://``: the line binding inside one process, for tests and embedding."""

from __future__ import annotations

from itertools import count

import trio
from attrs import Factory, define

from chatkit.errors import ConnectFailed, ListenFailed, UsageError
from chatkit.registry import scheme_of
from chatkit.transport.interface import Arrival, Connection, Encoding, Listener, TransportOptions
from chatkit.transport.lines import LineArrival, open_client_lines
from chatkit.transport.pipe import memory_pair
from chatkit.transport.stream import ByteStream

BACKLOG = 1024
"""Connections that may wait to be accepted."""


@define(eq=False)
class _Names:
    """The memory listeners of one Trio run."""

    listeners: dict[str, MemoryListener] = Factory(dict)
    fresh: count[int] = Factory(lambda: count(1))


_names: trio.lowlevel.RunVar[_Names] = trio.lowlevel.RunVar("chatkit memory listeners")


def _names_here() -> _Names:
    try:
        return _names.get()
    except LookupError:
        names = _Names()
        _names.set(names)
        return names


class MemoryListener(Listener):
    """Listens under a name inside this Trio run."""

    def __init__(self, name: str, options: TransportOptions) -> None:
        self.url = f"memory://{name}"
        self._name = name
        self._options = options
        self._arrived, self._arrivals = trio.open_memory_channel[ByteStream](BACKLOG)

    async def accept(self) -> Arrival:
        try:
            stream = await self._arrivals.receive()
        except trio.EndOfChannel:
            raise trio.ClosedResourceError from None
        return LineArrival(stream, self._options, self.url)

    def close(self) -> None:
        _names_here().listeners.pop(self._name, None)
        while True:
            try:
                self._arrivals.receive_nowait().abort()
            except (trio.WouldBlock, trio.EndOfChannel, trio.ClosedResourceError):
                break
        self._arrived.close()
        self._arrivals.close()

    async def connect(self) -> ByteStream:
        """Knock: return the client's end of a new pipe."""
        near, far = memory_pair()
        await self._arrived.send(far)
        return near


async def listen_memory(url: str, options: TransportOptions) -> Listener:
    """Listen on ``memory://NAME``, or on a fresh name for ``memory://``. Raises `ListenFailed` if the name is taken."""
    name = _name_of(url)
    names = _names_here()
    await trio.lowlevel.checkpoint()
    if not name:
        name = next(fresh for number in names.fresh if (fresh := str(number)) not in names.listeners)
    elif name in names.listeners:
        raise ListenFailed(f"memory://{name}: the name is already in use; is another server running?")
    listener = names.listeners[name] = MemoryListener(name, options)
    return listener


async def connect_memory(nursery: trio.Nursery, url: str, options: TransportOptions, encoding: Encoding) -> Connection:
    """Connect to ``memory://NAME`` in the same Trio run. JSON only. Raises `ConnectFailed` if nobody listens there."""
    name = _name_of(url)
    if encoding != "json":
        raise UsageError(f"{url}: lines carry JSON only, not {encoding}")
    listener = _names_here().listeners.get(name)
    if listener is None:
        raise ConnectFailed(f"{url}: nobody listens there")
    try:
        with trio.fail_after(options.handshake_timeout):
            stream = await listener.connect()
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        raise ConnectFailed(f"{url}: nobody listens there any more") from error
    except trio.TooSlowError as error:
        raise ConnectFailed(f"{url}: nobody accepts there") from error
    return open_client_lines(nursery, stream, url, options, encoding)


def _name_of(url: str) -> str:
    scheme_of(url, "address")
    name = url.partition("://")[2].rstrip("/")
    if any(char in name for char in "/?#@ "):
        raise UsageError(f"address {url!r}: the name of a memory listener is one plain word")
    return name
