"""A process that writes beside another: ``beside.py PATH COMMITS [tell]``. With ``tell`` it prints each answer."""

from __future__ import annotations

import sys

import trio
from stores import opened, post

from chatkit.backend.records import Appended


async def main(path: str, commits: int, tell: bool) -> None:
    async with opened(f"sqlite:///{path}") as backend:
        for number in range(commits):
            outcomes = await backend.commit(
                [post(f"beside {number}", op=f"beside {number}"), post(f"beside {number} more")]
            )
            if tell and isinstance(outcomes[0], Appended):
                print(outcomes[0].row.seq, number, flush=True)
    print("done", flush=True)


trio.run(main, sys.argv[1], int(sys.argv[2]), "tell" in sys.argv)
