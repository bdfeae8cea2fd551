"""Worlds from seeds: no law is broken in any, the interesting paths are gone, and a seed replays exactly.

``CHATKIT_SEEDS`` says how many worlds there are, 300 in CI unless it does; a broken one names its seed.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from met import MUST_MEET, Met
from world import live_through

SEEDS = int(os.environ.get("CHATKIT_SEEDS") or (300 if os.environ.get("CI") else 100))
TOGETHER = 100
REPLAYED = range(8)
OVER = 16_384
"""What may wait for a link beyond its bound here: a portion and a page that overshoot together (4 KiB of entries each,
more in JSON), and the replies to 32 requests under way."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(0, SEEDS, TOGETHER))
def test_no_law_is_broken_in_any_world(first: int) -> None:
    met = Met()
    with met.counting():
        for seed in range(first, min(first + TOGETHER, SEEDS)):
            live_through(seed)
            assert met.most_over <= OVER, f"seed {seed}: {met.most_over} bytes beyond the bound wait for a link"

    if first + TOGETHER <= SEEDS:
        assert [path for path in MUST_MEET if not met.times[path]] == []


def test_a_seed_replays_exactly() -> None:
    for seed in REPLAYED:
        assert live_through(seed).trace == live_through(seed).trace


def test_another_seed_is_another_world() -> None:
    assert len({fingerprint(seed) for seed in REPLAYED}) == len(REPLAYED)


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_a_seed_replays_exactly_in_another_process(hash_seed: str) -> None:
    here = Path(__file__)
    program = f"import logging; logging.disable(50); from {here.stem} import *; print(*map(fingerprint, REPLAYED))"
    environment = os.environ | {
        "PYTHONHASHSEED": hash_seed,
        "PYTHONPATH": os.pathsep.join([str(here.parent), *sys.path]),
    }
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == [fingerprint(seed) for seed in REPLAYED]


def fingerprint(seed: int) -> str:
    return hashlib.sha256("\n".join(live_through(seed).trace).encode()).hexdigest()
