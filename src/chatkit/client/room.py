"""A room one is in: what a program does there."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import trio

from chatkit.client.cursor import Cursor
from chatkit.client.message import Message, Pending
from chatkit.client.state import RoomState
from chatkit.client.streams import EntryStream, MessageStream
from chatkit.errors import ProtocolError
from chatkit.protocol import messages as m
from chatkit.protocol import times
from chatkit.protocol.positions import Position

if TYPE_CHECKING:
    from chatkit.client.client import Client


MOST_LISTED = 100_000
"""People in one room, beyond which a server is not believed."""


class Room:
    """A handle on a room that the client has joined. Made by `Client.join` and `Client.create`."""

    def __init__(self, client: Client, state: RoomState) -> None:
        self.client = client
        self.state = state
        """What a frontend shows of the room; see `chatkit.client.state`."""
        self._changed = trio.Event()
        self._entries = EntryStream(self, state.position)

    def __repr__(self) -> str:
        return f"<Room {self.name!r} at {self.state.position.seq}>"

    @property
    def name(self) -> str:
        """What the room is called."""
        return self.state.name

    @property
    def position(self) -> Position:
        """How far the room's log has been received."""
        return self.state.position

    # ── talking ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def send(self, said: str | bytes, *, reply_to: int | None = None, op: str | None = None) -> Message:
        """Say something, text or bytes; return once it is kept, with the message as everybody gets it.

        ``reply_to`` is the seq of a message it answers. ``op``, up to 64 bytes, is drawn at random when not given; a
        repeat with the same ``op`` and content is kept once. At most about 48 KiB of bytes or 64 KiB of text fit (the
        server announces its limit).

        While the link is down this waits, and sends again under the same op until the server has answered. Raises
        `RequestFailed` (``empty_message``, ``too_large``, ``not_in_room``, ``op_conflict``, ``storage_unavailable``:
        kept or not, repeat it with the same op), `Disconnected` when the link is gone for good. Cancelling waits no
        longer: it may be kept all the same, and with an outbox it will be. With an outbox this also waits while the
        server cannot keep anything, instead of raising ``storage_unavailable``.
        """
        text, binary = (said, None) if isinstance(said, str) else (None, bytes(said))
        op = op or self.client.new_op()
        name, state = self.name, self.client.state
        request = m.SendMessage(room=name, text=text, binary=binary, op=op, reply_to=reply_to)
        state.sending(name, Pending(op=op, text=text, binary=binary, reply_to=reply_to))
        try:
            answer = await self.client.say(request, lambda sent: state.sent(name, op, sent))
        except BaseException:
            state.not_sent(name, op)
            raise
        return Message(
            room=name,
            epoch=answer.reply.epoch,
            seq=answer.reply.seq,
            user=state.user,
            text=text,
            binary=binary,
            op=op,
            reply_to=reply_to,
            timestamp=answer.timestamp,
        )

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def messages(self, *, after: Position | int | None = None, cursor: Cursor | None = None) -> MessageStream:
        """Iterate over the messages, without a gap or a repeat, for as long as one is in the room.

        Without arguments this is the room's own reader: it begins with the history asked for at `Client.join`, and a
        later call goes on where the last one stopped. With ``after`` it is an independent reader from behind that
        position. With ``cursor`` it goes on where the program stopped, also in an earlier run; the first time it
        begins as without arguments. However slow the reader, nothing is lost and memory stays bounded.

        Iterating raises `Disconnected` when the link is gone for good, `PositionLost` when what follows is no longer
        kept, `RequestFailed` if missed messages cannot be fetched. Cancelling loses nothing.
        """
        return MessageStream(self, self.entries(after=after, cursor=cursor))

    def entries(self, *, after: Position | int | None = None, cursor: Cursor | None = None) -> EntryStream:
        """As `messages`, for every durable event of the room: messages, and a program's own events."""
        if after is None and cursor is None:
            return self._entries
        if after is None:
            after = self._entries.position
        elif isinstance(after, int):
            after = Position(self.state.summary.epoch, after)
        return EntryStream(self, after, cursor)

    async def history(
        self,
        *,
        before: int | None = None,
        after: int | None = None,
        around: int | None = None,
        at: datetime | None = None,
        limit: int = 50,
    ) -> m.HistoryPage:
        """Fetch a page of the log: up to ``limit`` (1 to 1,000) entries before, after or around a seq, or around a
        time (an aware `datetime`); without any of these, the newest. A page also ends at 256 KiB. Raises
        `RequestFailed`, `Disconnected`, `UsageError` (a time without a time zone)."""
        moment = None if at is None else times.to_wire(times.from_datetime(at))
        request = m.History(room=self.name, before=before, after=after, around=around, at=moment, limit=limit)
        return await self.client.request(request)

    async def past_messages(self, *, before: int | None = None, limit: int = 50) -> list[Message]:
        """Fetch up to ``limit`` messages before a seq, or the newest; oldest first. Raises as `history`."""
        page = await self.history(before=before, limit=limit)
        found = (Message.of(entry, page.epoch) for entry in page.events)
        return [message for message in found if message is not None]

    async def users(self) -> list[m.UserInfo]:
        """Fetch everybody who is present, by name. Raises `RequestFailed`, `Disconnected`."""
        found: list[m.UserInfo] = []
        moves = self.state.moves

        def take(page: m.Users) -> None:
            nonlocal moves
            moves = moves if found else self.state.moves
            if page.more and (len(found) > MOST_LISTED or (page.users and page.users[-1].user == last)):
                raise ProtocolError("the list of people does not end")
            found.extend(page.users)
            if not (page.more and page.users):
                self.client.state.listed_users(self.name, found, moves=moves)

        last: str | None = None
        while True:
            page = (await self.client.ask(m.ListUsers(room=self.name, after=last), take)).reply
            if not (page.more and page.users):
                return found
            last = page.users[-1].user

    # ── the room itself ──────────────────────────────────────────────────────────────────────────────────────────────

    async def leave(self) -> None:
        """Leave the room; iterators over it end. Raises `RequestFailed`, `Disconnected`."""
        name = self.name
        await self.client.ask(m.LeaveRoom(room=name), lambda _: self.client.forget(name))

    async def delete(self) -> None:
        """Delete the room and its history, for everybody. Raises `RequestFailed` (``forbidden``), `Disconnected`."""
        await self.client.request(m.DeleteRoom(room=self.name))

    # ── for the streams ──────────────────────────────────────────────────────────────────────────────────────────────

    def changed(self) -> None:
        """Wake whoever waits for the room to change."""
        self._changed.set()
        self._changed = trio.Event()

    async def wait_change(self) -> None:
        """Return at the room's next change. Raises `Disconnected` when the link is gone for good."""
        self.client.check_alive()
        await self._changed.wait()
        self.client.check_alive()

    def begin_at(self, position: Position) -> None:
        """Let the room's own reader begin behind a position."""
        self._entries.move(position)
