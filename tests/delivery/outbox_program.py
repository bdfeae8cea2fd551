"""A program with an outbox. ``outbox_program.py URL OUTBOX TEXT …`` puts texts in it, connects, and waits to be killed;
``outbox_program.py URL OUTBOX`` sends what waits there, then says "the end"."""

from __future__ import annotations

import sys

import trio

from chatkit import connect
from chatkit.client import Outbox, Unsent

TOKEN = "t" * 48


async def main(url: str, path: str, *texts: str) -> None:
    outbox = Outbox(path)
    for text in texts:
        await outbox.put(Unsent(op=f"op {text}", room="general", said=text))
    await outbox.aclose()
    async with connect(url, user="ann", token=TOKEN, outbox=path) as client:
        print("connected", flush=True)
        if texts:
            await trio.sleep_forever()
        await client.rooms["general"].send("the end")


trio.run(main, *sys.argv[1:])
