"""A session at a server, as a program sees it: join, talk, follow, ask.

Laws: events and replies take effect on `Client.state` in the order the server sent them; requests of several tasks
may be under way at once and go out in the order they were made.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import TypeVar

import trio

from chatkit.client.asking import Asking
from chatkit.client.backoff import Backoff
from chatkit.client.calls import TRY_AGAIN, Answer
from chatkit.client.devices import Device
from chatkit.client.dial import Dial
from chatkit.client.entrance import Entrance
from chatkit.client.following import Following
from chatkit.client.order import AuditStream, BanInfo, seconds_of
from chatkit.client.outbox import Outbox, Unsent
from chatkit.client.room import Room
from chatkit.client.status import Closed, Standing, Status, StatusStream
from chatkit.client.streams import EventStream
from chatkit.client.window import seq_of
from chatkit.errors import ChatError, Disconnected, RequestFailed
from chatkit.protocol import accounts as acc
from chatkit.protocol import messages as m
from chatkit.protocol import moderation as mod
from chatkit.protocol.positions import Position

R = TypeVar("R")
LEAST_REST = 0.05
"""Seconds before a request that was refused for its rate is made again, whatever the server says."""
OUTBOX_BACKOFF = Backoff()
"""How patiently a message in the outbox is tried again while the server cannot keep it."""
LOGGED_OUT = 4403
"""The close code of a link whose login was given up."""


class Client:
    """A session at a chat server. Made by `connect`."""

    def __init__(
        self,
        dial: Dial,
        entrance: Entrance,
        standing: Standing,
        asking: Asking,
        following: Following,
        outbox: Outbox | None,
    ) -> None:
        self.state = following.state
        """What a frontend shows: rooms, members, messages; kept up to date by itself."""
        self.outbox = outbox
        """The messages that wait to be sent, if `connect` was given a file for them."""
        self._dial = dial
        self._entrance = entrance
        self._standing = standing
        self._asking = asking
        self._following = following
        self._emptied = trio.Event()

    def __repr__(self) -> str:
        return f"<Client {self.state.user!r} at {self._dial.url}>"

    @property
    def hello(self) -> m.Hello:
        """What the server said of itself: its version, limits and ways to log in."""
        return self._standing.hello

    @property
    def status(self) -> Status:
        """Whether the link is there; `statuses` follows it."""
        return self._standing.status

    @property
    def user(self) -> str:
        """One's name, as the server keeps it."""
        return self.state.user

    @property
    def role(self) -> str:
        """What one is on the server: ``admin``, ``member``, ``bot`` or ``guest``."""
        return self.state.role

    @property
    def token(self) -> str:
        """Give this to `connect` to be the same person again. It is another one after every login to an account,
        and the one before is soon worth nothing: ``on_token`` of `connect` is told of each."""
        return self._entrance.login.token or ""

    # ── rooms ────────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def rooms(self) -> dict[str, Room]:
        """The rooms one is in, by name."""
        return {room.name: self._following.room(room.name) for room in self.state.joined}

    def room(self, name: str) -> Room | None:
        """Return one room that one is in, by its name as the server keeps it; None if one is not in it."""
        state = self.state.rooms.get(name)
        return self._following.room(name) if state is not None and state.joined else None

    async def join(self, name: str, *, history: int = 0, after: int | None = None) -> Room:
        """Enter a room; joining one that one is in already succeeds.

        ``history`` asks for that many (at most 1,000) of the newest entries, ``after`` for everything behind a seq;
        `Room.messages` then begins with them, and raises `PositionLost` first if what follows ``after`` is no longer
        kept. Raises `RequestFailed` (``no_such_room``, ``banned``), `Disconnected`.
        """
        request = m.JoinRoom(room=name, after=after, last=history if history and after is None else None)
        joined: list[Room] = []
        await self.ask(request, lambda reply: joined.append(self._joined(reply, after)))
        return joined[0]

    def _joined(self, reply: m.Joined, after: int | None) -> Room:
        state = self.state.entered(reply)
        room = self._following.room(state.name)
        if after is not None:
            room.begin_at(Position(reply.epoch, after))  # if that is not in the log, the reader is told so
        elif reply.events:
            room.begin_at(Position(reply.epoch, seq_of(reply.events[0]) - 1))
        room.changed()
        return room

    async def create(self, name: str, *, topic: str = "", private: bool = False) -> Room:
        """Create a room; one is in it and owns it. Raises `RequestFailed` (``room_exists``, ``bad_name``),
        `Disconnected`."""
        request = m.CreateRoom(room=name, topic=topic or None, private=private or None)
        answer = await self.ask(request, self.state.created)
        return self._following.room(answer.reply.room)

    # ── people ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def rename(self, name: str) -> None:
        """Change one's own name; an account stays the same under it. Raises `RequestFailed` (``name_taken``,
        ``bad_name``), `Disconnected`."""
        await self.ask(m.Rename(user=name), lambda reply: self.state.renamed(reply.user))

    # ── one's account ────────────────────────────────────────────────────────────────────────────────────────────────
    # A guest, who has none, is refused: ``forbidden``.

    async def sessions(self) -> list[Device]:
        """Return where one's account is logged in, the last used first. Raises `RequestFailed` (``forbidden``),
        `Disconnected`."""
        return [Device.of(one) for one in (await self.request(acc.Sessions())).sessions]

    async def revoke(self, session: Device | str | None = None) -> None:
        """Log a device out, or make a program's token worthless, by its id; without one, every device but this. Whoever
        is connected with it is disconnected at once. Raises `RequestFailed` (``bad_request`` for an id that is none),
        `Disconnected`."""
        await self.request(acc.Revoke(session=session.id if isinstance(session, Device) else session))

    async def change_password(self, old: str, new: str, *, revoke_tokens: bool = False) -> None:
        """Change one's password, of 8 to 1,024 bytes; every other device is logged out. Tokens for programs stay good;
        with ``revoke_tokens`` they are worth nothing any more either. Raises `RequestFailed` (``bad_credentials`` if
        ``old`` is wrong, ``rate_limited``), `Disconnected`."""
        await self.request(acc.ChangePassword(password=old, new_password=new, revoke_tokens=revoke_tokens or None))

    async def create_token(self, label: str, *, role: str | None = None, life: timedelta | None = None) -> acc.ApiToken:
        """Make a token with which a program logs in as this account; it is shown this once. ``label``, up to 128 bytes,
        tells it apart in `sessions`; ``role`` (``bot``, ``member``, ``admin``) bounds what it may, ``life`` is a second
        to 68 years, without it for good. Raises `RequestFailed` (``forbidden``, ``too_many``), `Disconnected`,
        `UsageError` (the life)."""
        return await self.request(acc.CreateToken(label=label, role=role, seconds=seconds_of(life)))

    async def logout(self) -> None:
        """Give up this login: its token is worth nothing any more, and the link is closed for good. Raises
        `RequestFailed` (``forbidden`` for a guest or a program's token), `Disconnected`."""
        try:
            await self.ask(acc.Logout(), lambda _: self._entrance.take_token("", role=self.role))
        except Disconnected as error:
            if error.code != LOGGED_OUT:
                raise
            self._entrance.take_token("", role=self.role)

    # ── keeping order on the server, for its admins ──────────────────────────────────────────────────────────────────

    async def kick(self, user: str, reason: str = "") -> None:
        """Send somebody off the server; they may come back. ``reason`` has at most 512 bytes and is shown to them.
        Raises `RequestFailed` (``forbidden``, ``no_such_user``), `Disconnected`."""
        await self.request(mod.Kick(user=user, reason=reason or None))

    async def ban(
        self, user: str | None = None, *, address: str | None = None, for_: timedelta | None = None, reason: str = ""
    ) -> BanInfo:
        """Keep somebody, or an IP address or network, off the server, for a term of a second to 68 years or for good.
        Raises `RequestFailed` (``forbidden``, ``too_many``, ``bad_request`` if it is one's own address),
        `Disconnected`, `UsageError` (the term)."""
        seconds = seconds_of(for_)
        request = mod.BanUser(user=user, address=address, seconds=seconds, reason=reason or None)
        return BanInfo.of(await self.request(request))

    async def unban(self, who: str | BanInfo) -> None:
        """Lift the server's bans on somebody or on an address, or one of `bans`. Raises `RequestFailed` (``forbidden``,
        ``no_such_user``), `Disconnected`."""
        user, id = (None, who.id) if isinstance(who, BanInfo) else (who, None)
        await self.request(mod.Unban(user=user, ban=id))

    async def bans(self) -> list[BanInfo]:
        """Return the server's bans in force, newest first, at most some hundreds. Raises `RequestFailed`
        (``forbidden``), `Disconnected`."""
        return [BanInfo.of(one) for one in (await self.request(mod.ListBans())).bans]

    def audit(self) -> AuditStream:
        """Iterate over what was done on the server and in all its rooms to keep order, newest first."""
        return AuditStream(lambda before: self.request(mod.Audit(before=before)))

    # ── anything ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def request(self, request: m.Request[R]) -> R:
        """Send any request, a program's own ones too, and return its reply.

        While the link is down this waits for it. A request that was under way when the link was lost is sent again if
        it is safe to repeat (it has an ``op``, or only reads, or joins); else `Disconnected` is raised and the server
        may have done what was asked. Raises `RequestFailed`, `Disconnected`. Cancelling waits no longer.
        """
        return (await self.ask(request)).reply

    async def ask(self, request: m.Request[R], on_reply: Callable[[R], object] | None = None) -> Answer[R]:
        """As `request`, with the reply's time; ``on_reply`` sees the reply before any later event takes effect."""
        self.check_alive()
        while True:
            try:
                return await self._asking.ask(request, on_reply)
            except RequestFailed as error:
                if error.code != "rate_limited" or error.retry_after is None:
                    raise
                await trio.sleep(max(error.retry_after, LEAST_REST))

    async def say(self, request: m.SendMessage, on_reply: Callable[[m.Sent], object]) -> Answer[m.Sent]:
        """As `ask`, through the outbox if there is one: behind what waits there, and kept there until answered."""
        if self.outbox is None or request.op is None:
            return await self.ask(request, on_reply)
        said = request.text if request.text is not None else request.binary or b""
        unsent = Unsent(op=request.op, room=request.room or "", said=said, reply_to=request.reply_to)
        await self.outbox.put(unsent)
        await self._emptied.wait()
        return await self._deliver(request, on_reply, self.outbox)

    async def _deliver(
        self, request: m.SendMessage, on_reply: Callable[[m.Sent], object] | None, outbox: Outbox
    ) -> Answer[m.Sent]:
        op = request.op or ""
        for delay in OUTBOX_BACKOFF.delays(self._dial.entropy.random):
            try:
                answer = await self.ask(request, on_reply)
            except RequestFailed as error:
                if error.code not in TRY_AGAIN:
                    await outbox.refuse(op, error.code)
                    raise
                await trio.sleep(delay)
            else:
                await outbox.sent(op)
                return answer
        raise AssertionError("unreachable")

    def new_op(self) -> str:
        """Return a fresh mark for a message. It begins with the time, so that a database finds the newest together."""
        return f"{time.time_ns() // 1_000_000:012x}{self._dial.entropy.getrandbits(64):016x}"

    def events(self) -> EventStream:
        """Iterate over everything that happens from now on: messages, notices, comings and goings.

        Raises `Disconnected` when the link is gone for good. A reader 10,000 events behind misses ephemeral ones;
        durable ones are fetched for it.
        """
        return self._following.events(self._standing.failure)

    # ── the link ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def check_alive(self) -> None:
        """Raises `Disconnected` if the link is gone for good, else does nothing."""
        self._standing.check_alive()

    def statuses(self) -> StatusStream:
        """Iterate over what `status` is now and becomes; ends after `Closed`. A slow reader sees the latest."""
        return StatusStream(lambda: (self._standing.status, self._standing.changed))

    async def wait_closed(self) -> ChatError:
        """Return once the link is gone for good, with why."""
        while not isinstance(self.status, Closed):
            await self._standing.changed.wait()
        return self.status.why

    # ── beginning and end ────────────────────────────────────────────────────────────────────────────────────────────

    async def empty_outbox(self) -> None:
        """Send what an earlier run of the program left in the outbox, in order; then let new messages go."""
        for unsent in await self.outbox.waiting() if self.outbox else ():
            with suppress(RequestFailed):
                await self._send_unsent(unsent)
        self._emptied.set()

    async def _send_unsent(self, unsent: Unsent) -> None:
        if self.outbox is None:
            return
        room = self.state.rooms.get(unsent.room)
        if room is None or not room.joined:
            try:
                await self.join(unsent.room)
            except RequestFailed as error:
                if error.code not in TRY_AGAIN:
                    await self.outbox.refuse(unsent.op, error.code)
                raise
        text, binary = (unsent.said, None) if isinstance(unsent.said, str) else (None, unsent.said)
        request = m.SendMessage(room=unsent.room, text=text, binary=binary, op=unsent.op, reply_to=unsent.reply_to)
        await self._deliver(request, None, self.outbox)

    async def leave(self) -> None:
        """Say goodbye and end the link, for good; bounded by the transport's ``close_timeout``."""
        self._standing.leaving = True
        link = self._asking.link
        if link is not None:
            try:
                await link.connection.aclose(1000, "goodbye", reconnect=False)
            finally:
                link.connection.abort()
