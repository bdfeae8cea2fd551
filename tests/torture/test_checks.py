"""The comparison finds what it is there to find."""

from __future__ import annotations

import pytest
from checks import Log, Witness, compare

LOG = Log("e", [(1, "a"), (2, "b"), (3, "c")])


def witness(**changed: object) -> Witness:
    honest = {
        "sent": {"a", "b", "c"},
        "acked": {"a": ("e", 1), "b": ("e", 2), "c": ("e", 3)},
        "read": [(1, "a"), (2, "b"), (3, "c")],
        "followed": [(2, "b"), (3, "c")],
    }
    return Witness("t", **{**honest, **changed})  # type: ignore[arg-type]


def test_what_is_right_passes() -> None:
    verdict = compare(LOG, [witness()])
    assert verdict.violations == []
    assert (verdict.kept, verdict.acked, verdict.lost, verdict.doubled) == (3, 3, 0, 0)


@pytest.mark.parametrize(
    ("log", "changed"),
    [
        pytest.param(LOG, {"acked": {"d": ("e", 4)}}, id="acknowledged and lost"),
        pytest.param(LOG, {"acked": {"a": ("e", 2)}}, id="acknowledged elsewhere"),
        pytest.param(LOG, {"acked": {"a": ("f", 1)}}, id="another epoch"),
        pytest.param(Log("e", [(1, "a"), (2, "b"), (3, "c"), (4, "b")]), {}, id="doubled"),
        pytest.param(Log("e", [(1, "a"), (3, "c")]), {}, id="a hole in the log"),
        pytest.param(LOG, {"read": [(1, "a"), (3, "c")]}, id="missed"),
        pytest.param(LOG, {"read": [(1, "a"), (2, "b"), (2, "b"), (3, "c")]}, id="heard twice"),
        pytest.param(LOG, {"read": [(2, "b"), (1, "a"), (3, "c")]}, id="another order"),
        pytest.param(LOG, {"followed": [(2, "b")]}, id="not to the end"),
        pytest.param(LOG, {"followed": [(2, "b"), (3, "c"), (4, "d")]}, id="beyond the end"),
        pytest.param(LOG, {"followed": []}, id="nothing heard"),
        pytest.param(LOG, {"sent": {"a", "b"}}, id="said by nobody"),
        pytest.param(LOG, {"surprises": ["it failed"]}, id="a surprise"),
    ],
)
def test_what_is_wrong_does_not(log: Log, changed: dict[str, object]) -> None:
    assert compare(log, [witness(**changed)]).violations


def test_two_who_disagree() -> None:
    other = witness(read=[(1, "a"), (2, "x"), (3, "c")])
    assert compare(LOG, [witness(), other]).violations
