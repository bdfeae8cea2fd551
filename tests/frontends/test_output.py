"""What tasks write to standard output at the same time."""

from __future__ import annotations

import sys

import trio

SEVERAL_AT_ONCE = """
import trio
from chatkit.frontends.output import write

order = []

async def say(letter):
    order.append(letter)
    await write(letter * 200_000 + "\\n")

async def main():
    async with trio.open_nursery() as nursery:
        for letter in "abcdef":
            nursery.start_soon(say, letter)
    await write("".join(order))

trio.run(main)
"""


async def test_lines_stay_whole_and_in_the_order_they_were_written_in() -> None:
    with trio.fail_after(20):
        done = await trio.run_process([sys.executable, "-c", SEVERAL_AT_ONCE], capture_stdout=True)
    *lines, order = done.stdout.decode().splitlines()
    assert [set(line) for line in lines] == [{letter} for letter in order]
