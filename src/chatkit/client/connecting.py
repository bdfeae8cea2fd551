"""The beginning and the end of a session: `connect` puts a client together and runs what keeps it connected.

Law: however the block ends, the link is closed and nothing runs on.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random, SystemRandom

import trio

from chatkit.client.asking import Asking
from chatkit.client.backoff import Backoff
from chatkit.client.client import Client
from chatkit.client.dial import Dial, codec_for
from chatkit.client.entrance import Entrance, registration_of
from chatkit.client.following import Following
from chatkit.client.lifeline import Lifeline
from chatkit.client.outbox import Outbox
from chatkit.client.room import Room
from chatkit.client.state import ClientState
from chatkit.client.status import Standing
from chatkit.errors import Disconnected
from chatkit.private import private_nursery
from chatkit.protocol import messages as m
from chatkit.protocol.converter import Encoding
from chatkit.transport.interface import TransportOptions

DEFAULT_URL = "ws://127.0.0.1:8765"
LARGEST_FROM_SERVER = 4_194_304
"""Bytes of the largest message a client takes; a page of history in JSON is well below it."""


@asynccontextmanager
async def connect(
    url: str = DEFAULT_URL,
    # who
    *,
    user: str,
    password: str | None = None,
    token: str | None = None,
    on_token: Callable[[str], object] | None = None,
    register: bool = False,
    invitation: str | None = None,
    device: str = "",
    # how
    encoding: Encoding = "json",
    ssl_context: ssl.SSLContext | None = None,
    connect_timeout: float = 10.0,
    # when the link is lost
    reconnect: bool | Backoff = True,
    outbox: str | Path | None = None,
    # what it understands and keeps
    events: Iterable[type[m.Event]] = (),
    keep: int = 1000,
    # randomness
    entropy: Random | None = None,
) -> AsyncIterator[Client]:
    """Connect to a chat server, log in, and be there for as long as the block lasts.

    ``url`` is ``ws://``, ``wss://``, ``tcp://`` or ``tls://`` with host and port (``memory://`` within a process).
    ``user`` is one's name: a guest's, or with ``password`` an account's. ``token`` is that of an earlier `Client`, to
    be the same person again; an account's is replaced at every login, and ``on_token``, which must not raise, is called
    with each new one (empty after a `Client.logout`), so that a program can keep it. ``register`` opens an account with
    the ``password``, of 8 to 1,024 bytes, and logs in with it; ``invitation`` is a code to do so where one is needed.
    ``device``, up to 128 bytes, is what `Client.sessions` calls this login. ``ssl_context`` is for ``wss://`` and
    ``tls://``; without it the system's authorities verify the server. ``connect_timeout`` bounds connecting, and
    logging in, in seconds each.

    A lost link is made anew by itself: every room goes on from its position, and what was being sent is sent again,
    once; the password is not used again, but the newest token. Whoever is not let in any more (``bad_credentials``,
    ``banned``, ``forbidden``) is disconnected for good. ``reconnect`` takes a `Backoff` to say how patiently, or False
    to be told of the first loss instead.
    ``outbox`` names a file in which messages wait until the server keeps them, also across a restart of the program.
    ``events`` are event classes of a program's own. ``keep`` entries of each room are held. ``entropy`` is
    where ops and waits come from, for tests that are to run the same way twice.

    Raises `ConnectFailed` (nobody there, no chatkit server, too slow), `RequestFailed` (``name_taken``, ``bad_name``,
    ``bad_credentials``, ``banned``, ``forbidden``, ``rate_limited``), `Disconnected`, `UsageError`,
    `StorageUnreadable` (the outbox). Leaving the block says goodbye and closes the link; cancelling closes it at once.
    """
    options = TransportOptions(
        max_message_bytes=LARGEST_FROM_SERVER, ssl_context=ssl_context, handshake_timeout=connect_timeout
    )
    backoff = Backoff() if reconnect is True else reconnect or None
    entropy = entropy or SystemRandom()
    dial = Dial(url, codec_for(encoding, tuple(events)), options, backoff, entropy)
    login = m.Login(user=user, password=password, token=token, device=device or None)
    registration = registration_of(login, invitation) if register or invitation is not None else None
    run = f"{entropy.getrandbits(64):016x}"
    entrance = Entrance(login, registration, on_token or (lambda _: None), run)
    standing = Standing()
    asking = Asking(dial.codec, standing)
    following = Following(ClientState(keep), asking, lambda following, state: Room(client, following, state))
    client = Client(dial, entrance, standing, asking, following, None if outbox is None else Outbox(outbox))
    lifeline = Lifeline(dial, entrance, standing, asking, following)

    def stop(nursery: trio.Nursery) -> None:
        nursery.start_soon(_leave, client, nursery)

    try:
        async with private_nursery(stop) as nursery:
            await nursery.start(lifeline.run)
            if client.outbox is not None:
                nursery.start_soon(_empty_outbox, client)
            yield client
    finally:
        if client.outbox is not None:
            await client.outbox.aclose()


async def _leave(client: Client, nursery: trio.Nursery) -> None:
    try:
        await client.leave()
    finally:
        nursery.cancel_scope.cancel()


async def _empty_outbox(client: Client) -> None:
    with suppress(Disconnected):
        await client.empty_outbox()
