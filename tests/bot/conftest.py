"""A chat for tests of bots over every binding: in memory, and over WebSocket."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from party import Party

from chatkit.testing import open_chat


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that takes `chat` over both bindings, but those that say otherwise."""
    if "chat" in metafunc.fixturenames and not any(
        mark.args[0] == "chat" for mark in metafunc.definition.iter_markers("parametrize")
    ):
        metafunc.parametrize("chat", ["memory", "ws"], indirect=True)


@pytest.fixture(params=["memory", "ws"])
async def party(request: pytest.FixtureRequest) -> AsyncIterator[Party]:
    over = None if request.param == "memory" else request.param
    async with open_chat(listen=[f"{over}://127.0.0.1:0"] if over else []) as chat:
        yield Party(chat, over)
