"""A connection that ends is gone at once: the collector of cycles is not needed for it, and hardly ever runs over what
has lived long."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Iterator
from itertools import product

import pytest
import trio
from neighbours import LISTEN, Contexts
from raw import Member, member
from wire_frames import close, frame

from chatkit.server import ServerConfig, open_server

FAREWELL = b'{"action":"closing","data":{"code":1000,"reason":"","reconnect":false}}\n'


@pytest.fixture
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def leave(here: Member, how: str) -> None:
    raw = here.raw
    if how == "reset":
        raw.reset()
    elif how == "goodbye":
        await raw.send(FAREWELL if here.lines else close(1000))
        await raw.rest()
    elif how == "garbage":
        for _ in range(20):
            await here.say_raw(b"{}")
        await raw.rest()
    elif how == "half a message":
        await raw.send(b'{"action"' if here.lines else frame(1, b'{"action":"list_rooms"}')[:9])
        raw.end()
        await raw.rest()
    else:
        raw.close()


@pytest.mark.usefixtures("_no_collector")
@pytest.mark.parametrize(
    ("kind", "how"),
    [
        *product(("ws", "tcp"), ("close", "reset", "goodbye", "garbage", "half a message")),
        ("wss", "close"),
        ("tls", "reset"),
    ],
)
async def test_nothing_of_a_connection_waits_for_the_collector(
    kind: str, how: str, contexts: Contexts, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "chatkit")  # what is captured knows who it was about
    config = ServerConfig(rate_limits=False, ssl_context=contexts.server, linger=0.01)
    async with open_server("memory://", listen=LISTEN, config=config) as server:
        kept: list[weakref.ref[object]] = []
        for number in range(2):  # a task that waits may still know the last one
            async with member(
                server.addresses[("ws", "tcp", "wss", "tls").index(kind)], contexts.client, f"ann{number}"
            ) as ann:
                for request in ({"room": "general", "text": "x"}, {"room": "nowhere", "text": "x"}):
                    await ann.ask("send_message", 1, **request)
                await ann.ask("history", room="general")
                (session,) = server._core.sessions.values()
                kept += [weakref.ref(one) for one in (session, session.connection)] if number < 1 else []
                del session
                await leave(ann, how)
            with trio.fail_after(5):
                while server._core.sessions or server.statistics().connections:  # noqa: ASYNC110
                    await trio.sleep(0.01)
        with trio.move_on_after(1):
            while any(one() is not None for one in kept):  # noqa: ASYNC110
                await trio.sleep(0.01)
        assert [type(one()).__name__ for one in kept if one() is not None] == []
