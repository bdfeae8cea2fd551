"""The link lost after every byte of a conversation, in both directions, over both bindings: everything is kept once."""

from __future__ import annotations

import os
from collections import Counter
from random import Random

import pytest
import trio

import chatkit
from chatkit.client import Backoff
from chatkit.errors import ChatError, ConnectFailed, Disconnected
from chatkit.protocol.messages import ReceiveMessage
from chatkit.server import Server, open_server
from chatkit.testing import Ending, FaultProxy, Plan, Way

STEP = int(os.environ.get("CHATKIT_BYTE_STEP", "17"))
"""1 tries every byte; the normal run every so many, beginning anywhere."""
SAID = ("one", "two", "three")
OPS = tuple(f"op-{text}" for text in SAID)
BACKOFF = Backoff(first=0.002, factor=1.5, most=0.02)
TOKEN = "t" * 48
PATIENCE = 20.0


async def converse(proxy: FaultProxy) -> list[str]:
    """Log in, join, say three things and hear them; return what was heard. The first link may be lost anywhere."""
    heard: list[str] = []
    while True:
        try:
            async with chatkit.connect(proxy.url, user="ann", token=TOKEN, reconnect=BACKOFF) as client:
                room = await client.join("general", history=10)
                for op, text in zip(OPS, SAID, strict=True):
                    await room.send(text, op=op)
                async for message in room.messages():
                    heard.append(message.op or "")
                    if message.op == OPS[-1]:
                        break
            return heard
        except (ConnectFailed, Disconnected):
            # What had no beginning is begun again by the program, under the same token.
            heard.clear()


async def kept(server: Server) -> list[str]:
    """Return the ops in the log."""
    async with server.connect(user="archivist") as client:
        page = await client.rooms["general"].history()
        return [entry.event.op or "" for entry in page.events if isinstance(entry.event, ReceiveMessage)]


async def one_conversation(scheme: str, plan: Plan) -> FaultProxy:
    """Hold a conversation whose first link has this plan, and the others none."""

    def plans(_: Random, number: int) -> Plan:
        return plan if number == 1 else Plan()

    async with open_server("memory://", listen=[f"{scheme}://127.0.0.1:0"]) as server:
        async with FaultProxy(server.addresses[0], plan=plans) as proxy:
            try:
                with trio.fail_after(PATIENCE):
                    heard = await converse(proxy)
            except (ChatError, trio.TooSlowError) as error:
                raise AssertionError(f"{scheme} lost by {plan}: {error!r}") from error
        assert await kept(server) == list(OPS), f"{scheme} lost by {plan}"
        assert Counter(heard) == Counter(OPS), f"{scheme} lost by {plan}: heard {heard}"
        assert heard == list(OPS)
    return proxy


@pytest.mark.timeout(3600 if STEP == 1 else 120)
@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.parametrize("scheme", ["ws", "tcp"])
async def test_a_link_lost_after_any_byte(scheme: str, direction: str, capsys: pytest.CaptureFixture[str]) -> None:
    after = Random(f"{scheme} {direction}").randrange(STEP)
    tried = 0
    while True:
        way = Way(after=after, ending=Ending.CUT if tried % 2 else Ending.RESET)
        plan = Plan(up=way) if direction == "up" else Plan(down=way)
        proxy = await one_conversation(scheme, plan)
        if not proxy.counters.cut + proxy.counters.reset:
            break
        tried += 1
        after += STEP
    with capsys.disabled():
        print(f"\n{scheme} {direction}: lost at {tried} places of {after - STEP} bytes")
    assert tried > 10
