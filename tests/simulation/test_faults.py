"""The judge finds what it is there for: each planted fault within a hundred worlds."""

from __future__ import annotations

import pytest
from faults import FAULTS, planted
from world import WorldBroken, live_through

from chatkit.testing.history import HistoryViolated

ENOUGH = 100

LAWS = {
    "ack before commit": {"lost", "two_ops"},
    "no dedupe": {"twice"},
    "off-by-one resume": {"hole"},
    "drop on kick": {"hole", "caught_up", "two_ops"},
    "reorder": {"order", "hole"},
    "double apply": {"twice"},
    "leak after leave": {"stranger"},
    "lost on slow": {"hole"},
    "epoch ignored": {"resume"},
    "rollback acked": {"lost", "two_ops"},
}
"""The laws a fault breaks first of all; any of them is its discovery."""


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault: str) -> None:
    with planted(fault):
        for seed in range(ENOUGH):
            try:
                live_through(seed)
            except HistoryViolated as error:
                if LAWS[fault] & {violation.law for violation in error.violations}:
                    return
            except (WorldBroken, AssertionError):
                continue  # found as well, but not by the judge of histories
    pytest.fail(f"{fault!r} was not found in {ENOUGH} worlds")


def test_there_are_ten_faults_and_they_are_gone_afterwards() -> None:
    before = {fault: owner.__dict__[name] for fault, (owner, name, _) in FAULTS.items()}
    for fault in FAULTS:
        with planted(fault):
            owner, name, _ = FAULTS[fault]
            assert owner.__dict__[name] is not before[fault]
    assert {fault: owner.__dict__[name] for fault, (owner, name, _) in FAULTS.items()} == before
    assert len(FAULTS) == len(LAWS) == 10
