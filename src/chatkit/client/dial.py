"""How a client reaches its server: what stays the same from link to link."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from random import Random

import trio

from chatkit.client.backoff import Backoff
from chatkit.client.link import Link
from chatkit.errors import ConnectFailed
from chatkit.protocol import messages as m
from chatkit.protocol.codec import Codec
from chatkit.protocol.converter import Encoding
from chatkit.protocol.vocabulary import STANDARD
from chatkit.transport import open_connection
from chatkit.transport.interface import TransportOptions


class Dial:
    """How to reach the server: everything about the link that stays the same from try to try."""

    def __init__(
        self,
        url: str,
        codec: Codec,
        options: TransportOptions,
        backoff: Backoff | None,
        entropy: Random,
    ) -> None:
        self.url = url
        self.codec = codec
        self.options = options
        self.backoff = backoff
        self.entropy = entropy

    async def connect(self, nursery: trio.Nursery, on_event: Callable[[m.Event, int], None]) -> Link:
        """Open a connection, whose tasks run in the nursery. Raises `ConnectFailed`."""
        with self.patience() as patience:
            connection = await open_connection(nursery, self.url, self.options, self.codec.encoding)
        if patience.cancelled_caught:
            raise self.too_slow()
        return Link(connection, self.codec, on_event)

    def patience(self) -> trio.CancelScope:
        """Return a scope for one step of connecting."""
        return trio.move_on_after(self.options.handshake_timeout)

    def too_slow(self) -> ConnectFailed:
        """Return the error of a server that does not answer."""
        return ConnectFailed(f"{self.url} did not answer within {self.options.handshake_timeout:g} seconds")


def codec_for(encoding: Encoding, events: tuple[type[m.Event], ...]) -> Codec:
    """Return the codec of an encoding that knows a program's own events besides."""
    return Codec(encoding, STANDARD.including(events=events)) if events else _standard_codec(encoding)


@cache
def _standard_codec(encoding: Encoding) -> Codec:
    """Return the one all links share: it holds no state, and takes some ten milliseconds to warm up."""
    return Codec(encoding)
