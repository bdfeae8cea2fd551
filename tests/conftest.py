"""What every test may use: how hard Hypothesis tries, and tools of the system."""

from __future__ import annotations

import os
import shutil
import warnings

import pytest
from hypothesis import HealthCheck, settings

IN_CI = os.environ.get("CI") == "true"

# `pytest --hypothesis-profile=long` is the long form, a nox session of its own.
_common = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.register_profile("normal", _common, max_examples=60, derandomize=IN_CI)
settings.register_profile("long", _common, max_examples=200_000)
settings.load_profile("normal")


def require_tool(*names: str) -> None:
    """Skip the calling test, loudly, where a tool of the system is missing; in continuous integration, fail it."""
    missing = [name for name in names if shutil.which(name) is None]
    if not missing:
        return
    why = f"this test needs {' and '.join(missing)} on the PATH"
    if IN_CI:
        pytest.fail(why)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.warn(f"skipped: {why}", stacklevel=2)
    pytest.skip(why)


@pytest.fixture(name="require_tool")
def require_tool_fixture() -> object:
    """`require_tool`, for tests that do not import this file: ``require_tool("tmux")``."""
    return require_tool
