"""All the checks, in the order that a transport is held to them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from chatkit.testing.transport.cancelling import cancelled_close, cancelled_handshake, cancelled_receive, cancelled_send
from chatkit.testing.transport.closing import listener_closes, says_why, wakes_receivers
from chatkit.testing.transport.limits import lags_in_bounds, stuck_close, stuck_writer, too_long
from chatkit.testing.transport.rig import Connect, Listen, Rig
from chatkit.testing.transport.traffic import arrives_whole, pings, pushes_whole
from chatkit.transport import Encoding, TransportOptions, open_connection, open_listener

GRACE = 20.0
"""Seconds after which something that should have happened is said not to."""


async def check_transport(
    url: str,
    *,
    encoding: Encoding = "json",
    server_options: TransportOptions | None = None,
    client_options: TransportOptions | None = None,
    listen: Listen = open_listener,
    connect: Connect = open_connection,
) -> None:
    """Check a listener and a connector against the laws of `chatkit.transport.interface`.

    ``url`` is listened on anew for each law, so its port is 0 or its name empty. ``listen`` and ``connect`` replace
    what the URL's scheme names. The options' limits are replaced by smaller ones; give what else they need, such as a
    TLS context. Raises AssertionError, its note naming the law.
    """
    rig = Rig(
        url=url,
        encoding=encoding,
        server_options=server_options or TransportOptions(),
        client_options=client_options or TransportOptions(),
        listen=listen,
        connect=connect,
    )
    for law in LAWS:
        try:
            with trio.fail_after(GRACE):
                await law(rig)
        except BaseException as error:
            error.add_note(f"the law: {(law.__doc__ or law.__name__).strip()}")
            if isinstance(error, trio.TooSlowError):
                raise AssertionError(f"nothing happened for {GRACE:g} seconds") from error
            raise


LAWS: tuple[Callable[[Rig], Awaitable[None]], ...] = (
    arrives_whole,
    pushes_whole,
    lags_in_bounds,
    cancelled_receive,
    cancelled_send,
    cancelled_close,
    says_why,
    wakes_receivers,
    too_long,
    stuck_close,
    stuck_writer,
    pings,
    cancelled_handshake,
    listener_closes,
)
"""The checks; the docstring of each is the law that a failure names."""
