"""Mutated handshakes by the thousand: none raises anything unexpected, none ends the server, no bystander notices."""

from __future__ import annotations

import logging
import os
from collections import Counter
from contextlib import suppress
from itertools import count
from random import Random

import pytest
import trio
import wsproto
from mutations import mutated_handshake, mutated_lines
from neighbours import LISTEN, Contexts, bystanders, quiet
from raw import BROKEN, dial

from chatkit.errors import ProtocolError
from chatkit.server import ServerConfig, open_server
from chatkit.transport.stream import ByteStream
from chatkit.transport.upgrade import judge, parse_head, read_head, retold

SANS_IO = int(os.environ.get("TORTURE_HANDSHAKES", "20000"))
LOOPBACK = int(os.environ.get("TORTURE_LOOPBACK", "3000"))
WORKERS = 40


class Fed(ByteStream):
    """A stream of bytes that are there already. Nothing of it waits, so it needs no Trio."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = [piece for piece in pieces if piece]

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    def try_send(self, data: object) -> int:
        raise NotImplementedError

    async def send_some(self, data: object) -> int:
        raise NotImplementedError

    async def wait_send_all_might_not_block(self) -> None:
        raise NotImplementedError

    def send_eof(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def abort(self) -> None:
        raise NotImplementedError


def shake(*pieces: bytes) -> bytes:
    """Judge a handshake as a listener does; return what the library is told of it. Raises what that raises."""
    reading = read_head(Fed(*pieces))
    try:
        reading.send(None)
    except StopIteration as done:
        head = parse_head(done.value[0])
        return retold(head, judge(head))
    raise AssertionError("reading waits for something")


def test_sans_io() -> None:
    """What is let through the WebSocket library takes."""
    random = Random(6455)
    outcomes: Counter[str] = Counter()
    for _ in range(SANS_IO):
        data = mutated_handshake(random)
        cut = random.randrange(len(data) + 1)
        try:
            told = shake(data[:cut], data[cut:])
        except (ProtocolError, trio.BrokenResourceError) as error:
            outcomes[type(error).__name__] += 1
            continue
        library = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
        library.receive_data(told)
        assert [type(event) for event in library.events()] == [wsproto.events.Request], data
        outcomes["accepted"] += 1
    assert outcomes["accepted"] > SANS_IO / 50, outcomes
    assert outcomes["Refused"] > SANS_IO / 50, outcomes
    print(dict(outcomes))


# ── over loopback, beside people who talk ────────────────────────────────────────────────────────────────────────────


async def bother(url: str, contexts: Contexts, random: Random) -> None:
    """Send something mutated in some pieces, and leave in some way at some time."""
    secure = url.startswith(("wss", "tls")) and random.random() < 0.7  # else plain bytes where TLS is expected
    try:
        raw = await dial(url, contexts.client if secure else None)
    except BROKEN:
        return
    try:
        data = mutated_handshake(random) if url.startswith("ws") or random.random() < 0.2 else mutated_lines(random)
        with suppress(*BROKEN), trio.move_on_after(5):
            for start in range(0, len(data), step := random.choice((len(data) or 1, len(data) or 1, 100, 7))):
                await raw.stream.send_all(data[start : start + step])
            how = random.randrange(5)
            if how == 0:
                raw.reset()
            elif how == 1:
                raw.end()
                await raw.rest()
            elif how == 2:
                with trio.move_on_after(0.02):
                    await raw.rest()
    finally:
        raw.close()


async def test_over_loopback(contexts: Contexts, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "chatkit")
    config = ServerConfig(rate_limits=False, ssl_context=contexts.server, origins=("http://127.0.0.1",))
    async with open_server("memory://", listen=LISTEN, config=config) as server:
        baseline = trio.lowlevel.current_statistics().tasks_living
        numbers = count()

        async def work(worker: int) -> None:
            random = Random(f"{worker}")
            while (number := next(numbers)) < LOOPBACK:
                await bother(server.addresses[number % 4], contexts, random)
                if number % 20 == 0:
                    async with talking:
                        await here.talk()

        talking = trio.Lock()
        async with bystanders(server, contexts) as here, trio.open_nursery() as nursery:
            for worker in range(WORKERS):
                nursery.start_soon(work, worker)
        await quiet(server, baseline)
    failed = [record.getMessage() for record in caplog.records if getattr(record, "event", "") == "failed"]
    assert not failed, failed[:3]
