"""What one person does in one room, waiting for its turn.

Laws: what is in a lane is handled one after the other, in order; a handler that has asked a question takes its answer
out of the lane itself: the first message behind the question. Messages before it stay where they are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

from chatkit.bot.incoming import Incoming
from chatkit.errors import ConversationEnded, UsageError
from chatkit.protocol.messages import UserLeft


class Lane:
    """The queue of one person in one room.

    ``changed`` is told by how much less there is to do: 1 when an answer is taken out, or begins to be waited for, -1
    when it is waited for no longer.
    """

    __slots__ = ("_arrived", "_changed", "_ended", "_gone", "_waiting", "key", "questioned", "queue")

    def __init__(self, key: tuple[str, str], changed: Callable[[int], None]) -> None:
        self.key = key
        """The room, and the person's name in small letters; it changes with the name."""
        self.queue: deque[Incoming] = deque()
        self.questioned = False
        """Whether its handler waits for an answer of this person."""
        self._waiting = 0
        self._ended: str | None = None
        self._gone = False
        self._arrived = trio.Event()
        self._changed = changed

    @property
    def asking(self) -> bool:
        """Whether its handler waits for an answer, of whomever."""
        return self._waiting > 0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Say that the handler waits for an answer, for as long as the block lasts."""
        self._waiting += 1
        if self._waiting == 1:
            self._changed(1)
        try:
            yield
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._changed(-1)

    def put(self, incoming: Incoming) -> None:
        """Add what happened. Somebody who leaves answers no question, until they do something here again."""
        self.queue.append(incoming)
        self._gone = isinstance(incoming.event, UserLeft)
        if self._gone:
            self.end_conversation("left")  # also if they are back before this is noticed
        self._arrived.set()

    def end_conversation(self, reason: str) -> None:
        """Let a waiting question end without an answer."""
        if self.questioned:
            self._ended = reason
            self._arrived.set()

    async def answer(self, after: int) -> Incoming:
        """Wait for the first message behind a seq, and take it out.

        Raises `ConversationEnded` when the person leaves, or left before and has not come back; `UsageError` if a
        question is open already.
        """
        if self.questioned:
            raise UsageError("a question to this person is open already")
        self.questioned, self._ended = True, None
        try:
            with self.waiting():
                await trio.lowlevel.checkpoint()  # not where an answer could get lost
                while True:
                    for index, incoming in enumerate(self.queue):
                        if incoming.message is not None and incoming.seq > after:
                            del self.queue[index]
                            self._changed(1)
                            return incoming
                    if self._gone or self._ended is not None:
                        raise ConversationEnded(self._ended or "left")
                    self._arrived = trio.Event()
                    await self._arrived.wait()
        finally:
            self.questioned = False
