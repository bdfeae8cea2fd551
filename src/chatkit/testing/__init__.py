"""For tests of programs built on chatkit: a server in memory, scripted people, and suites for parts of one's own.

`open_test_server` runs a server without sockets, clocks or files, and `TestServer.person` brings people who talk and
say what they expect to hear. `check_backend` and `check_transport` hold a part of one's own to the laws that ours
keep. `FaultProxy` makes the network bad, by a seed. `simulate` runs a program so that a seed decides everything, with
`Network` and `FaultyBackend` for what goes wrong in it and `History` to judge what everybody saw.
`cancel_at_each_checkpoint` finds what a cancelled task leaves behind. `chatkit.testing.strategies` draws messages and
their bytes for Hypothesis.

Nothing here needs pytest, and all of it but `FaultProxy` works under Trio's autojump clock: its sockets are real.
Names are loaded when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chatkit.testing import strategies
    from chatkit.testing.backend import check_backend
    from chatkit.testing.bots import BotRun, Chat, open_chat
    from chatkit.testing.cancellation import cancel_at_each_checkpoint
    from chatkit.testing.history import History, HistoryViolated
    from chatkit.testing.people import NotAsExpected, Person
    from chatkit.testing.proxy import Ending, FaultProxy, Plan, Way, mixed_faults
    from chatkit.testing.server import TestServer, open_test_server
    from chatkit.testing.simulation import simulate
    from chatkit.testing.simulation_links import LinkWeather, Network
    from chatkit.testing.simulation_store import FaultyBackend, StoreWeather
    from chatkit.testing.simulation_tap import TappedConnection
    from chatkit.testing.transport import Pair, check_transport

_HOMES = {
    "chatkit.testing.backend": ("check_backend",),
    "chatkit.testing.bots": ("BotRun", "Chat", "open_chat"),
    "chatkit.testing.cancellation": ("cancel_at_each_checkpoint",),
    "chatkit.testing.history": ("History", "HistoryViolated"),
    "chatkit.testing.people": ("NotAsExpected", "Person"),
    "chatkit.testing.proxy": ("Ending", "FaultProxy", "Plan", "Way", "mixed_faults"),
    "chatkit.testing.server": ("TestServer", "open_test_server"),
    "chatkit.testing.simulation": ("simulate",),
    "chatkit.testing.simulation_links": ("LinkWeather", "Network"),
    "chatkit.testing.simulation_store": ("FaultyBackend", "StoreWeather"),
    "chatkit.testing.simulation_tap": ("TappedConnection",),
    "chatkit.testing.transport": ("Pair", "check_transport"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "BotRun",
    "Chat",
    "Ending",
    "FaultProxy",
    "FaultyBackend",
    "History",
    "HistoryViolated",
    "LinkWeather",
    "Network",
    "NotAsExpected",
    "Pair",
    "Person",
    "Plan",
    "StoreWeather",
    "TappedConnection",
    "TestServer",
    "Way",
    "cancel_at_each_checkpoint",
    "check_backend",
    "check_transport",
    "mixed_faults",
    "open_chat",
    "open_test_server",
    "simulate",
    "strategies",
]


def __getattr__(name: str) -> Any:
    """Load a public name from where it lives (PEP 562)."""
    if name == "strategies":
        return import_module("chatkit.testing.strategies")
    try:
        home = _HOME_OF[name]
    except KeyError:
        raise AttributeError(f"module 'chatkit.testing' has no attribute {name!r}") from None
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
