"""Somebody who says something all the time: ``talker_program.py URL``.

For every line on standard input it prints how long it took since the last one until they heard what they said: the
median, the 99th percentile, and of how many. The line ``begin`` is answered once they have caught up with the room.
"""

from __future__ import annotations

import sys
from statistics import quantiles

import trio

from chatkit import Room, connect


async def talk(room: Room, took: list[float]) -> None:
    heard = room.messages()
    while True:
        began = trio.current_time()
        sent = await room.send("live")
        while (await anext(heard)).seq < sent.seq:
            pass
        took.append((trio.current_time() - began) * 1000)
        await trio.sleep(0.01)


async def main(url: str) -> None:
    took: list[float] = []
    async with connect(url, user="bob") as client, trio.open_nursery() as nursery:
        nursery.start_soon(talk, client.rooms["general"], took)
        print("talking", flush=True)
        while line := await trio.to_thread.run_sync(sys.stdin.readline):
            while "begin" in line:
                await trio.sleep(0.05)
                if len(took) >= 3 and max(took[-3:]) < 100:
                    break
            cuts = quantiles(took, n=100) if len(took) > 1 else [0.0] * 99
            print(f"p50 {cuts[49]:.1f} ms, p99 {cuts[98]:.1f} ms of {len(took)}", flush=True)
            took.clear()
        nursery.cancel_scope.cancel()


trio.run(main, sys.argv[1])
