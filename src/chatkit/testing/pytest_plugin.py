"""What chatkit brings to pytest: the fixture ``chat``, for tests of bots. Registered by the package itself.

It needs pytest-trio; without it there is no fixture, and nothing else of pytest is touched.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chatkit.testing.bots import Chat

try:
    from pytest_trio import trio_fixture  # type: ignore[import-untyped]
except ImportError:  # a program may have chatkit and pytest for other reasons
    pass
else:

    @trio_fixture  # type: ignore[untyped-decorator]
    async def chat(autojump_clock: Any) -> AsyncIterator[Chat]:
        """Give a `chatkit.testing.Chat`: a server in memory, people and bots; time passes when nothing happens."""
        from chatkit.testing.bots import open_chat  # pytest loads this module wherever chatkit is installed

        async with open_chat() as opened:
            yield opened
