"""Keeping order from a program: a room of one's own, a moderator, a mute with a term, and what was done."""

from __future__ import annotations

import sys
from datetime import timedelta

import trio

import chatkit


async def keep_order(ann: chatkit.Client) -> None:
    """Open a room, make bob its moderator, and deal with a troll."""
    room = await ann.create("tea", topic="green or black?")
    await room.set_role("bob", "moderator")
    await room.update(slow=timedelta(seconds=5))

    await room.mute("troll", for_=timedelta(minutes=10), reason="calm down")
    ban = await room.ban("troll", for_=timedelta(hours=1), reason="that was enough")
    print(f"{ban.value} is out until {ban.until:%H:%M} UTC")
    removed = await room.delete_messages_of("troll")
    print(f"{removed} messages removed")

    async for entry in room.audit():
        print(f"{entry.by}: {entry.act} {entry.whom}")


async def main() -> None:
    async with chatkit.connect(*sys.argv[1:], user="ann", password="correct horse") as ann:
        await keep_order(ann)


if __name__ == "__main__":
    try:
        trio.run(main)
    except chatkit.ConnectFailed as error:
        sys.exit(str(error))
