"""What chatkit brings to pytest: the fixture ``chat``, for tests of bots. Registered by the package itself.

A test that takes it is run by Trio, under a clock that jumps, whatever pytest's settings say. It needs pytest-trio;
without it there is no fixture, and nothing else of pytest is touched.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

    from chatkit.testing.bots import Chat

# Pytest loads this module wherever chatkit is installed: what is heavy is imported when it is used.
try:
    import pytest
    from pytest_trio import trio_fixture  # type: ignore[import-untyped]
except ImportError:  # a program may have chatkit and pytest for other reasons
    pass
else:

    @pytest.fixture
    def _chat_clock() -> None:
        """Mark the tests that take `chat`, whatever other fixtures they take it through."""

    def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
        """Have those tests run under a clock that jumps, unless they take a clock of their own."""
        for item in items:
            if "_chat_clock" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.trio(run=_run), append=False)  # before the one that trio_mode gives

    @trio_fixture  # type: ignore[untyped-decorator]
    async def chat(request: pytest.FixtureRequest, _chat_clock: None) -> AsyncIterator[Chat]:
        """Give a `chatkit.testing.Chat`: a server, people and bots; time passes when nothing happens.

        Everybody comes in memory; ``parametrize("chat", ["memory", "ws"], indirect=True)`` runs a test over a real
        WebSocket too.
        """
        from chatkit.testing.bots import open_chat

        way = getattr(request, "param", "memory")
        async with open_chat(over=None if way == "memory" else way) as opened:
            yield opened


def _run(function: Any, *, clock: Any = None, **options: Any) -> Any:
    import trio
    from trio.testing import MockClock

    return trio.run(function, clock=clock or MockClock(autojump_threshold=0), **options)
