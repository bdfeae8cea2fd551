"""A question to somebody else than the person a handler runs for: their next message behind it is its answer.

Laws: from before the question is said until it is answered, what the person says in the room is held; the first
message behind the question is the answer, and what was held besides goes the ordinary way afterwards, in order.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import trio

from chatkit.bot.incoming import Incoming
from chatkit.errors import ConversationEnded

if TYPE_CHECKING:
    from chatkit.bot.intake import Intake


class Question:
    """A question that is open. Made by `Running.question_to`."""

    __slots__ = ("_arrived", "_ended", "_held", "intake", "key", "since", "user")

    def __init__(self, key: tuple[str, str], user: str, intake: Intake) -> None:
        self.key = key
        """The room, and the person's name in small letters; it changes with the name."""
        self.user = user
        """The person, as they are shown."""
        self.intake = intake
        self.since = intake.at
        """What the room's reader had taken before: what it takes from here on is held."""
        self._held: deque[Incoming] = deque()
        self._ended: str | None = None
        self._arrived = trio.Event()

    def hold(self, incoming: Incoming) -> None:
        """Keep what the person says."""
        self._held.append(incoming)
        self._arrived.set()

    def end(self, reason: str) -> None:
        """Let it end without an answer, unless one is held."""
        self._ended = reason
        self._arrived.set()

    async def answer(self, after: int) -> Incoming:
        """Wait for the first message behind a seq, and take it out. Raises `ConversationEnded`."""
        await trio.lowlevel.checkpoint()  # not where an answer could get lost
        while True:
            for index, incoming in enumerate(self._held):
                if incoming.seq > after:
                    del self._held[index]
                    self.intake.count(-1)
                    return incoming
            if self._ended is not None:
                raise ConversationEnded(self._ended, self.user)
            self._arrived = trio.Event()
            await self._arrived.wait()

    def held(self) -> list[Incoming]:
        """Return what is still held."""
        return list(self._held)
