"""What a server's configuration refuses, in words for whoever wrote it."""

from __future__ import annotations

import math

import pytest

from chatkit.engine.limits import EngineLimits
from chatkit.errors import UsageError
from chatkit.server import ServerConfig


@pytest.mark.parametrize("life", [0.0, -1.0, math.inf, math.nan])
def test_a_login_lives_for_a_time(life: float) -> None:
    with pytest.raises(UsageError, match="session_life must be more than 0"):
        ServerConfig(engine=EngineLimits(session_life=life))
