"""People who talk beside whatever else happens to a server, and must not notice; with certificates for all bindings."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

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


NAMES = ("b-ws", "b-tcp", "b-wss", "b-tls")


class Bystanders:
    """One member on each binding. They talk in turn, so that each gives signs of life and reads, however long it
    lasts."""

    def __init__(self, members: list[Member]) -> None:
        self.members = members
        self.said: list[str] = []

    async def talk(self) -> None:
        """Say one more thing."""
        speaker = self.members[len(self.said) % len(self.members)]
        self.said.append(f"word {len(self.said)}")
        reply = await speaker.ask("send_message", room="general", text=self.said[-1])
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
                if envelope["action"] == "receive_message" and envelope["data"]["user"] in NAMES:
                    heard.append(envelope["data"]["text"])
            assert heard == self.said


@asynccontextmanager
async def bystanders(server: Server, contexts: Contexts) -> AsyncIterator[Bystanders]:
    """Let members come; they have lost nothing in the end."""
    async with AsyncExitStack() as stack:
        links = zip(server.addresses, NAMES, strict=True)
        here = Bystanders([await stack.enter_async_context(member(url, contexts.client, name)) for url, name in links])
        yield here
        await here.talk()
        await here.check()


async def quiet(server: Server, tasks: int) -> None:
    """Return once nobody is connected, and no more tasks live than these."""
    with trio.fail_after(30):
        while server.statistics().connections or trio.lowlevel.current_statistics().tasks_living > tasks:  # noqa: ASYNC110
            await trio.sleep(0.02)
