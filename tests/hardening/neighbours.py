"""People who talk beside whatever else happens to a server, and must not notice; with certificates for all bindings."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from attrs import frozen
from raw import Member, member

from chatkit.server import Server

LISTEN = ("ws://127.0.0.1:0", "tcp://127.0.0.1:0", "wss://127.0.0.1:0", "tls://127.0.0.1:0")


@frozen
class Contexts:
    """TLS for both ends."""

    server: ssl.SSLContext
    client: ssl.SSLContext


class Bystanders:
    """One member on each binding; whoever is first talks."""

    def __init__(self, members: list[Member]) -> None:
        self.members = members
        self.said: list[str] = []

    async def talk(self) -> None:
        """Say one more thing."""
        self.said.append(f"word {len(self.said)}")
        reply = await self.members[0].ask("send_message", room="general", text=self.said[-1])
        assert reply["action"] == "success", reply

    async def check(self) -> None:
        """Everybody has heard everything that was said, in order, and nobody's link was lost."""
        for here in self.members:
            heard: list[str] = []
            events = iter([event for event in here.events if event["action"] == "receive_message"])
            here.events = []
            while heard[-1:] != self.said[-1:]:
                envelope = next(events, None) or await here.hear()
                assert envelope is not None, "a bystander's link was lost"
                assert envelope["action"] not in ("closing", "error"), envelope
                if envelope["action"] == "receive_message" and envelope["data"]["user"] == "talker":
                    heard.append(envelope["data"]["text"])
            assert heard == self.said


@asynccontextmanager
async def bystanders(server: Server, contexts: Contexts) -> AsyncIterator[Bystanders]:
    """Let members come; they have lost nothing in the end."""
    async with (
        member(server.addresses[0], contexts.client, "talker") as talker,
        member(server.addresses[1], contexts.client, "b-tcp") as tcp,
        member(server.addresses[2], contexts.client, "b-wss") as wss,
        member(server.addresses[3], contexts.client, "b-tls") as tls,
    ):
        here = Bystanders([talker, tcp, wss, tls])
        yield here
        await here.talk()
        await here.check()


async def quiet(server: Server, tasks: int) -> None:
    """Return once nobody is connected, and no more tasks live than these."""
    with trio.fail_after(30):
        while server.statistics().connections or trio.lowlevel.current_statistics().tasks_living > tasks:  # noqa: ASYNC110
            await trio.sleep(0.02)
