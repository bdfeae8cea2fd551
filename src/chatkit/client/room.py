"""A room one is in: what a program does there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeVar

import trio

from chatkit.client.calls import Answer
from chatkit.client.cursor import Cursor
from chatkit.client.message import Message, Pending
from chatkit.client.order import AuditStream, BanInfo, pause_of, seconds_of
from chatkit.client.state import RoomState
from chatkit.client.streams import EntryStream, MessageStream
from chatkit.errors import ProtocolError, RequestFailed, UsageError
from chatkit.protocol import messages as m
from chatkit.protocol import moderation as mod
from chatkit.protocol import times
from chatkit.protocol.positions import Position

if TYPE_CHECKING:
    from chatkit.client.client import Client
    from chatkit.client.following import Following

R = TypeVar("R")
MOST_LISTED = 100_000
"""People in one room, beyond which a server is not believed."""


class Room:
    """A handle on a room that the client has joined. Made by `Client.join` and `Client.create`."""

    def __init__(self, client: Client, following: Following, state: RoomState) -> None:
        self.client = client
        self._following = following
        self.state = state
        """What a frontend shows of the room; see `chatkit.client.state`."""
        self._changed = trio.Event()
        self._entries = EntryStream(self, state.position)

    def __repr__(self) -> str:
        return f"<Room {self.name!r} at {self.state.position.seq}>"

    @property
    def name(self) -> str:
        """What the room is called. It may be given another name; the handle goes on."""
        return self.state.name

    @property
    def role(self) -> str:
        """One's own role here as far as it is known: ``owner``, ``moderator``, or the one on the server."""
        return self.client.state.role_in(self.name)

    @property
    def removed(self) -> mod.RemovedFromRoom | None:
        """By whom and why one was sent out (``banned`` or not); None if one was not. Iterators over the room have ended
        then. It is not known of what happened while the link was down."""
        return self.state.removed

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
        server cannot keep anything, instead of raising ``storage_unavailable``. `UsageError` for anything else.
        """
        if not isinstance(said, str | bytes | bytearray | memoryview):
            raise UsageError(f"text or bytes can be said, not {type(said).__name__}")
        text, binary = (said, None) if isinstance(said, str) else (None, bytes(said))
        op = op or self.client.new_op()
        state = self.client.state
        state.sending(self.name, Pending(op=op, text=text, binary=binary, reply_to=reply_to))
        try:
            answer = await self._as_named(
                lambda name: self.client.say(
                    m.SendMessage(room=name, text=text, binary=binary, op=op, reply_to=reply_to),
                    lambda sent: state.sent(self.name, op, sent),
                )
            )
        except BaseException:
            state.not_sent(self.name, op)
            raise
        return Message(
            room=self.name,
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
        return await self._ask(
            lambda name: m.History(room=name, before=before, after=after, around=around, at=moment, limit=limit)
        )

    async def past_messages(self, *, before: int | None = None, limit: int = 50) -> list[Message]:
        """Fetch up to ``limit`` messages before a seq, or the newest; oldest first. Raises as `history`."""
        page = await self.history(before=before, limit=limit)
        found = (Message.of(entry, page.epoch, self.name) for entry in page.events)
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
            request = partial(_users_after, last)
            page = await self._ask(request, take)
            if not (page.more and page.users):
                return found
            last = page.users[-1].user

    # ── the room itself ──────────────────────────────────────────────────────────────────────────────────────────────

    async def leave(self) -> None:
        """Leave the room; iterators over it end. Raises `RequestFailed`, `Disconnected`."""
        await self._ask(lambda name: m.LeaveRoom(room=name), lambda _: self._following.left(self.name))

    async def delete(self) -> None:
        """Delete the room and its history, for everybody. Raises `RequestFailed` (``forbidden``), `Disconnected`."""
        await self._ask(lambda name: m.DeleteRoom(room=name))

    async def update(
        self,
        *,
        name: str | None = None,
        topic: str | None = None,
        private: bool | None = None,
        read_only: bool | None = None,
        slow: timedelta | float | None = None,
        closed: bool | None = None,
    ) -> None:
        """Change what is given of the room: its name, its topic, whether only members enter it (``private``), only
        moderators speak (``read_only``) or only moderators are let in (``closed``); ``slow`` is the time, or the
        seconds, between two messages of one person, up to a day, and 0 for none.

        Moderators may change the topic, owners the rest. Raises `RequestFailed` (``forbidden``, ``room_exists``,
        ``bad_name``, ``too_large``), `Disconnected`, `UsageError`.
        """
        pause = None if slow is None else pause_of(slow)
        await self._ask(
            lambda now: mod.UpdateRoom(
                room=now, name=name, topic=topic, private=private, read_only=read_only, slow=pause, closed=closed
            ),
            self._updated,
        )

    def _updated(self, reply: m.Summary) -> None:
        self._following.renamed(self.name, reply.room)
        self.client.state.changed(reply)

    # ── keeping order ────────────────────────────────────────────────────────────────────────────────────────────────
    # All raise `RequestFailed` and `Disconnected`: ``forbidden`` for whoever has not the role for it, or acts on
    # somebody of their own standing or above.

    async def set_role(self, user: str, role: Literal["owner", "moderator", "member"]) -> None:
        """Give somebody a role in the room, as its owner; or step down oneself. Raises `RequestFailed` (``forbidden``,
        ``no_such_user``), `Disconnected`."""
        await self._ask(lambda name: mod.SetRole(room=name, user=user, role=role))

    async def invite(self, user: str) -> None:
        """Let somebody into a private room, and tell them. Raises `RequestFailed` (``forbidden``, ``no_such_user``,
        ``banned``), `Disconnected`."""
        await self._ask(lambda name: mod.Invite(room=name, user=user))

    async def withdraw(self, user: str) -> None:
        """Take an invitation back: whoever is in the private room is out. Raises `RequestFailed` (``forbidden``,
        ``no_such_user``), `Disconnected`."""
        await self._ask(lambda name: mod.Withdraw(room=name, user=user))

    async def kick(self, user: str, reason: str = "") -> None:
        """Send somebody out of the room; they may come back. ``reason`` has at most 512 bytes and is shown to them.
        Raises `RequestFailed` (``forbidden``, ``no_such_user``), `Disconnected`."""
        await self._ask(lambda name: mod.Kick(room=name, user=user, reason=reason or None))

    async def ban(self, user: str, *, for_: timedelta | None = None, reason: str = "") -> BanInfo:
        """Keep somebody out of the room, for a term of a second to 68 years or for good; a ban they have already is
        replaced. Raises `RequestFailed` (``forbidden``, ``too_many``), `Disconnected`, `UsageError` (the term)."""
        seconds = seconds_of(for_)
        reply = await self._ask(lambda name: mod.BanUser(room=name, user=user, seconds=seconds, reason=reason or None))
        return BanInfo.of(reply)

    async def unban(self, who: str | BanInfo) -> None:
        """Lift the bans on somebody in the room, or one of `bans`. Raises `RequestFailed` (``forbidden``,
        ``no_such_user``), `Disconnected`."""
        user, id = (None, who.id) if isinstance(who, BanInfo) else (who, None)
        await self._ask(lambda name: mod.Unban(room=name, user=user, ban=id))

    async def mute(self, user: str, *, for_: timedelta | None = None, reason: str = "") -> None:
        """Let somebody read here but not speak, for a term of a second to 68 years or until `unmute`. Raises as
        `ban`."""
        seconds = seconds_of(for_)
        await self._ask(lambda name: mod.Mute(room=name, user=user, seconds=seconds, reason=reason or None))

    async def unmute(self, user: str) -> None:
        """Let somebody speak here again. Raises `RequestFailed` (``forbidden``, ``no_such_user``), `Disconnected`."""
        await self._ask(lambda name: mod.Unmute(room=name, user=user))

    async def bans(self) -> list[BanInfo]:
        """Return the bans and mutes in force here, newest first, at most some hundreds. Raises `RequestFailed`
        (``forbidden``), `Disconnected`."""
        return [BanInfo.of(one) for one in (await self._ask(lambda name: mod.ListBans(room=name))).bans]

    async def delete_message(self, which: int | Message, *, reason: str = "") -> None:
        """Remove what a message says, for everybody and for good: one's own, or as a moderator anybody's. Removing it
        again succeeds. Raises `RequestFailed` (``forbidden``, ``no_such_message``), `Disconnected`."""
        seq = which.seq if isinstance(which, Message) else which
        await self._ask(lambda name: mod.DeleteMessage(room=name, seq=seq, reason=reason or None))

    async def delete_messages_of(self, user: str, *, reason: str = "") -> int:
        """Remove everything somebody said here; return how many messages that were. Cancelling leaves what is not
        removed yet. Raises `RequestFailed` (``forbidden``), `Disconnected`."""
        count = 0
        while True:
            reply = await self._ask(lambda name: mod.DeleteMessagesOf(room=name, user=user, reason=reason or None))
            count += reply.count
            if not (reply.more and reply.count):
                return count

    def audit(self) -> AuditStream:
        """Iterate over what was done here to keep order, newest first; for moderators."""
        return AuditStream(lambda before: self._ask(lambda name: mod.Audit(room=name, before=before)))

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _ask(self, request: Callable[[str], m.Request[R]], on_reply: Callable[[R], object] | None = None) -> R:
        return (await self._as_named(lambda name: self.client.ask(request(name), on_reply))).reply

    async def _as_named(self, ask: Callable[[str], Awaitable[Answer[R]]]) -> Answer[R]:
        """Ask for something here; and again, if the room was renamed while that was under way."""
        while True:
            name = self.name
            try:
                return await ask(name)
            except RequestFailed as error:
                if error.code != "no_such_room" or self.name == name:
                    raise

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


def _users_after(user: str | None, room: str) -> m.ListUsers:
    return m.ListUsers(room=room, after=user)
