"""Settings of the interpreter that suit a process which is a chat server and nothing else."""

from __future__ import annotations

import gc
import sys

YOUNG, MIDDLE, OLD = 50_000, 20, 1000
"""Allocations between collections. A server holds a great many objects for as long as people are connected; walking
all of them every few hundred logins made each login dearer the more there were (660 to 1,170 µs at 5,000)."""
SWITCH_SECONDS = 0.001
"""How long a busy event loop may keep the interpreter from the thread that commits; Python's own 5 ms is a long wait
for a commit of several steps."""


def tune_process() -> None:
    """Tune garbage collection and thread switching of this process. `chatkit serve` does it; a program that embeds a
    server decides for itself."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
    sys.setswitchinterval(SWITCH_SECONDS)
