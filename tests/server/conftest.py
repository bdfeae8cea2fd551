"""Links of every kind."""

from __future__ import annotations

import pytest
from wires import KINDS


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """A binding with an encoding."""
    return str(request.param)
