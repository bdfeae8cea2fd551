"""Saying things: each once, and in many rooms at a time.

The client keeps to the rates a server announces, and waits when it is told to; see `chatkit.client.pacing`. Laws here:
a message whose outcome is unknown is said again under the same op; what was said under an op before counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import trio
from attrs import frozen

from chatkit.client import Client, Message, Room
from chatkit.errors import ChatError, Disconnected, RequestFailed, UsageError

TRIES = 6
"""Times a message whose outcome is unknown is said, before the handler is told."""
FIRST_WAIT = 0.25
"""Seconds before the second of those tries; twice as long before each further one."""
SEARCHED = 10
"""Pages of history in which an earlier message of the same op is looked for."""
PAGE = 200
AT_ONCE = 8
"""Messages of a broadcast that are under way at a time."""


@frozen(kw_only=True)
class Broadcast:
    """How a broadcast went: the messages that were kept, and why the others were not, by room."""

    sent: tuple[Message, ...]
    failed: Mapping[str, ChatError]


class Speaker:
    """Says what one bot says."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def say(
        self, room: Room, said: str | bytes, *, reply_to: int | None = None, op: str, after: int | None = None
    ) -> Message:
        """Say something; return it as it is kept.

        What was said before under this op counts, even if the words were others: a handler that is run again after a
        crash may throw another die. It is looked for behind ``after``. Raises `RequestFailed`, `Disconnected`,
        `UsageError` for what is neither text nor bytes.
        """
        if not isinstance(said, str | bytes):
            raise UsageError(f"a bot says text or bytes, not {type(said).__name__}")
        wait = FIRST_WAIT
        for tries_left in reversed(range(TRIES)):
            try:
                return await room.send(said, reply_to=reply_to, op=op)
            except RequestFailed as error:
                if error.code == "op_conflict":
                    return await self._earlier(room, op, after, error)
                if error.code != "storage_unavailable" or not tries_left:
                    raise
            await trio.sleep(wait)
            wait *= 2
        raise AssertionError("unreachable")

    async def _earlier(self, room: Room, op: str, after: int | None, error: RequestFailed) -> Message:
        """Return what was said under this op: from ``after`` on, or else from the newest back. Raises the error if it
        is not found."""
        before: int | None = None
        for _ in range(SEARCHED):
            page = await room.history(after=after, before=before, limit=PAGE)
            seqs = [getattr(entry.event, "seq", 0) for entry in page.events]
            for entry in page.events:
                message = Message.of(entry, page.epoch)
                if message is not None and message.op == op and message.user == self._client.user:
                    return message
            if not seqs or not (page.more_before if after is None else page.more_after):
                break
            if after is None:
                before = min(seqs)
            else:
                after = max(seqs)
        raise error

    async def broadcast(
        self, rooms: Iterable[Room], said: str | bytes, op: str, on_progress: Callable[[int, int], object]
    ) -> Broadcast:
        """Say something in many rooms; ``on_progress(done, of)`` is called after each. Raises `Disconnected`."""
        todo = list(rooms)
        sent: list[Message] = []
        failed: dict[str, ChatError] = {}
        limiter = trio.CapacityLimiter(AT_ONCE)

        async def say_in(room: Room) -> None:
            async with limiter:
                try:
                    sent.append(await self.say(room, said, op=op))
                except ChatError as error:
                    failed[room.name] = error
            on_progress(len(sent) + len(failed), len(todo))

        async with trio.open_nursery() as nursery:
            for room in todo:
                nursery.start_soon(say_in, room)
        for error in failed.values():
            if isinstance(error, Disconnected):
                raise error
        return Broadcast(sent=tuple(sent), failed=failed)
