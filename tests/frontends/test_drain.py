"""SIGTERM with many people connected: everybody is told, what was acknowledged is kept, and it ends in time with 0."""

from __future__ import annotations

import signal
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trio
from at_work import serving

import chatkit

PEOPLE = 60
SILENT = 60
"""Connections that have logged in nobody, or are in the middle of a handshake."""


async def test_many_are_let_go_gracefully(tmp_path: Path) -> None:
    acknowledged: list[str] = []
    ends: list[chatkit.Disconnected] = []
    async with serving(tmp_path, "--no-rate-limits") as server:
        port = urlsplit(server.ws).port or 0
        silent = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(SILENT)]
        for stream in silent[: SILENT // 2]:
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: half a he")
        here = [0]
        everybody = trio.Event()

        async def talk(number: int) -> None:
            url = server.ws if number % 2 else server.tcp
            async with chatkit.connect(url, user=f"user{number}", reconnect=False) as client:
                here[0] += 1
                if here[0] == PEOPLE:
                    everybody.set()
                try:
                    for count in range(10_000):
                        await client.rooms["general"].send(f"{number}:{count}")
                        acknowledged.append(f"{number}:{count}")
                except chatkit.Disconnected as gone:
                    ends.append(gone)

        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                for number in range(PEOPLE):
                    nursery.start_soon(talk, number)
                await everybody.wait()
                before = trio.current_time()
                server.process.process.send_signal(signal.SIGTERM)
        assert await server.process.wait() == 0
        assert trio.current_time() - before < 12
        with pytest.raises(OSError, match="connect"):
            await trio.open_tcp_stream("127.0.0.1", port)
        for stream in silent:
            await trio.aclose_forcefully(stream)
    assert {(end.code, end.reconnect) for end in ends} == {(1001, True)}
    assert len(ends) == PEOPLE

    async with serving(tmp_path) as server, chatkit.connect(server.tcp, user="ann") as ann:
        kept: list[str] = []
        before_seq = None
        while page := await ann.rooms["general"].past_messages(limit=1000, before=before_seq):
            kept = [message.text or "" for message in page] + kept
            before_seq = page[0].seq
    assert set(acknowledged) <= set(kept)
    assert len(kept) == len(set(kept))
