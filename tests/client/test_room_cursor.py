"""Where a room's own cursor begins."""

from __future__ import annotations

import chatkit


async def test_the_cursor_of_a_room_entered_by_the_login_begins_at_the_login() -> None:
    async with (
        chatkit.open_server("memory://", listen=()) as server,
        server.connect(user="ann") as ann,
        server.connect(user="bob") as bob,
    ):
        events = bob.events()
        await ann.rooms["general"].send("before bob looks at his rooms")
        while getattr((await anext(events)).event, "text", None) != "before bob looks at his rooms":
            pass
        message = await anext(bob.rooms["general"].messages())
        assert message.text == "before bob looks at his rooms"
