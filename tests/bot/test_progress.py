"""How far a bot has got: against a plain set."""

from __future__ import annotations

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from chatkit.bot.memory import RamMemory
from chatkit.bot.progress import Progress


@given(st.lists(st.integers(1, 60)), st.integers(0, 10))
def test_it_knows_what_is_done(seqs: list[int], start: int) -> None:
    progress = Progress("e", start)
    done = set(range(1, start + 1))
    for seq in seqs:
        progress.done(seq)
        done.add(seq)
        assert [one for one in range(1, 70) if progress.is_done(one)] == sorted(done)
        assert progress.seq == next(seq for seq in range(70) if seq + 1 not in done)
        stretches = [range(first, last + 1) for first, last in progress.ahead]
        assert math.fsum(map(len, stretches)) == len([seq for seq in done if seq > progress.seq])
        assert all(first.stop < second.start for first, second in pairwise(stretches))
    assert Progress("e", progress.seq, progress.ahead) == progress == progress.copy()


async def test_a_copy_is_kept() -> None:
    memory, progress = RamMemory(), Progress("e", 1)
    await memory.save_progress("bot", {"r": progress})
    progress.done(2)
    assert (await memory.progress("bot"))["r"].seq == 1
    assert await memory.progress("other") == {}
