"""The laws of a transport as checks that anybody's transport can be held to.

::

    async def test_my_transport():
        await check_transport("carrier-pigeon://127.0.0.1:0")

Nothing here needs pytest; a broken law is an AssertionError that says which.
"""

from __future__ import annotations

from chatkit.testing.transport.rig import Connect, Listen, Pair
from chatkit.testing.transport.suite import check_transport

__all__ = ["Connect", "Listen", "Pair", "check_transport"]
