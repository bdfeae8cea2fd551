"""A session at a server: connect, join, talk, follow; and connect again when the link is lost.

Laws: events and replies take effect on `Client.state` in the order the server sent them; requests of several tasks
may be under way at once and go out in the order they were made; after a lost link every room goes on from its
position, and what is safe to repeat is sent again; however the block ends, the link is closed and nothing runs on.
"""

from __future__ import annotations

import itertools
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from random import Random, SystemRandom
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import trio
from attrs import evolve

from chatkit.client.backoff import Backoff
from chatkit.client.calls import Answer, Call
from chatkit.client.devices import Device
from chatkit.client.dial import Dial, codec_for
from chatkit.client.link import Link
from chatkit.client.order import AuditStream, BanInfo, seconds_of
from chatkit.client.outbox import Outbox, Unsent
from chatkit.client.pacing import Pacing
from chatkit.client.room import Room
from chatkit.client.state import MOST_ROOMS, ClientState
from chatkit.client.status import Closed, Connected, Reconnecting, Status, StatusStream
from chatkit.client.streams import EventStream
from chatkit.client.window import room_of, seq_of
from chatkit.errors import ChatError, ConnectFailed, Disconnected, RequestFailed, UsageError
from chatkit.private import private_nursery
from chatkit.protocol import accounts as acc
from chatkit.protocol import messages as m
from chatkit.protocol import moderation as mod
from chatkit.protocol.converter import Encoding
from chatkit.protocol.positions import Position, Step
from chatkit.transport.interface import TransportOptions

R = TypeVar("R")
DEFAULT_URL = "ws://127.0.0.1:8765"
LARGEST_FROM_SERVER = 4_194_304
"""Bytes of the largest message a client takes; a page of history in JSON is well below it."""
REFETCHED = 50
"""Entries fetched anew for a room whose log is another one after a reconnect."""
STABLE = 1.0
"""A conversation of at least this many seconds makes the backoff begin anew."""
LONGEST_REF = 2**53
"""Stands in for a request's ref where its size is reckoned."""
LEAST_REST = 0.05
"""Seconds before a request that was refused for its rate is made again, whatever the server says."""
HEARTBEATS = (1.0, 300.0)
"""The shortest and the longest heartbeat a client believes, in seconds."""
OUTBOX_BACKOFF = Backoff()
"""How patiently a message in the outbox is tried again while the server cannot keep it."""
LOGGED_OUT = 4403
"""The close code of a link whose login was given up."""
TRY_AGAIN = frozenset({"storage_unavailable", "rate_limited", "internal_error"})
"""Refusals that say nothing about the request itself: worth another try later."""


class Client:
    """A session at a chat server. Made by `connect`."""

    def __init__(
        self,
        dial: Dial,
        login: m.Login,
        registration: acc.Register | None,
        on_token: Callable[[str], object],
        keep: int,
        outbox: Outbox | None,
    ) -> None:
        self.state = ClientState(keep)
        """What a frontend shows: rooms, members, messages; kept up to date by itself."""
        self.hello: m.Hello
        """What the server said of itself: its version, limits and ways to log in."""
        self.status: Status = Connected()
        """Whether the link is there; `statuses` follows it."""
        self.outbox = outbox
        """The messages that wait to be sent, if `connect` was given a file for them."""
        self._dial = dial
        self._login = login
        self._registration = registration
        self._on_token = on_token
        self._link: Link | None = None
        self._waiting: deque[Call] = deque()
        self._rooms: dict[str, Room] = {}
        self._streams: WeakValueDictionary[int, EventStream] = WeakValueDictionary()
        self._stream_numbers = itertools.count()
        self._status_changed = trio.Event()
        self._emptied = trio.Event()
        self._leaving = False
        self._pacing = Pacing()
        self._talked_for = 0.0

    def __repr__(self) -> str:
        return f"<Client {self.state.user!r} at {self._dial.url}>"

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
        return self._login.token or ""

    # ── rooms ────────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def rooms(self) -> dict[str, Room]:
        """The rooms one is in, by name."""
        return {room.name: self._handle(room.name) for room in self.state.joined}

    def room(self, name: str) -> Room | None:
        """Return one room that one is in, by its name as the server keeps it; None if one is not in it."""
        state = self.state.rooms.get(name)
        return self._handle(name) if state is not None and state.joined else None

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
        room = self._handle(state.name)
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
        return self._handle(answer.reply.room)

    def _handle(self, name: str) -> Room:
        room = self._rooms.get(name)
        if room is None or room.state is not self.state.rooms[name]:
            room = self._rooms[name] = Room(self, self.state.rooms[name])
        return room

    def forget(self, name: str) -> None:
        """Take in that one is no longer in a room; iterators over it end."""
        self.state.left(name)
        room = self._rooms.pop(name, None)
        if room is not None:
            room.changed()

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

    async def change_password(self, old: str, new: str) -> None:
        """Change one's password, of 8 to 1,024 bytes; every other device is logged out. Raises `RequestFailed`
        (``bad_credentials`` if ``old`` is wrong, ``rate_limited``), `Disconnected`."""
        await self.request(acc.ChangePassword(password=old, new_password=new))

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
            await self.ask(acc.Logout(), lambda _: self._take_token(""))
        except Disconnected as error:
            if error.code != LOGGED_OUT:
                raise
            self._take_token("")

    def _take_token(self, token: str) -> None:
        if token != self._login.token:
            self._login = evolve(self._login, token=token or None)
            if self.role != "guest":
                self._on_token(token)

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
            if self._link is not None:
                await self._wait_turn(request)
            try:
                return await self._ask_once(request, on_reply)
            except RequestFailed as error:
                if error.code != "rate_limited" or error.retry_after is None:
                    raise
                await trio.sleep(max(error.retry_after, LEAST_REST))

    async def _wait_turn(self, request: m.Request[Any]) -> None:
        size = 0
        if self._pacing.counts_bytes:
            with suppress(UsageError):  # which sending it will tell
                size = len(self._dial.codec.encode_request(request, LONGEST_REF))
        await self._pacing.wait_turn(request, size)

    async def _ask_once(self, request: m.Request[R], on_reply: Callable[[R], object] | None) -> Answer[R]:
        call = Call(request, on_reply)
        try:
            if self._link is None:
                self.check_alive()
                self._waiting.append(call)
            else:
                with suppress(Disconnected):
                    await self._link.send(call)
            return await call.wait()
        finally:
            self._forget(call)

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

    def _forget(self, call: Call) -> None:
        if call.done:
            return
        with suppress(ValueError):
            self._waiting.remove(call)
        if self._link is not None:
            self._link.forget(call)

    def events(self) -> EventStream:
        """Iterate over everything that happens from now on: messages, notices, comings and goings.

        Raises `Disconnected` when the link is gone for good. A reader 10,000 events behind misses ephemeral ones;
        durable ones are fetched for it.
        """
        stream = EventStream(self._rooms.get, self._failure)
        self._streams[next(self._stream_numbers)] = stream
        return stream

    # ── the link ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def check_alive(self) -> None:
        """Raises `Disconnected` if the link is gone for good, else does nothing."""
        failure = self._failure()
        if failure is not None:
            raise failure

    def _failure(self) -> ChatError | None:
        return self.status.again() if isinstance(self.status, Closed) else None

    def statuses(self) -> StatusStream:
        """Iterate over what `status` is now and becomes; ends after `Closed`. A slow reader sees the latest."""
        return StatusStream(lambda: (self.status, self._status_changed))

    async def wait_closed(self) -> ChatError:
        """Return once the link is gone for good, with why."""
        while not isinstance(self.status, Closed):
            await self._status_changed.wait()
        return self.status.why

    def _become(self, status: Status) -> None:
        self.status = status
        self._status_changed.set()
        self._status_changed = trio.Event()
        if isinstance(status, Closed):
            while self._waiting:
                self._waiting.popleft().finish(status.again())
            for room in self._rooms.values():
                room.changed()
            for stream in self._streams.values():
                stream.wake()

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Stay connected until `leave`, or until the link is gone for good. Raises what the first try raises."""
        try:
            why = await self._stay_connected(await self._converse(task_status.started))
        except BaseException:
            self._become(Closed(Disconnected(1006, "the client was cancelled", reconnect=False)))
            raise
        self._become(Closed(why))

    async def _stay_connected(self, why: ChatError) -> ChatError:
        """Begin one conversation after the other; return why there is no sense in another try."""
        backoff = self._dial.backoff
        tries: Iterator[tuple[int, float]] = iter(())
        tried = False
        while backoff is not None and not self._leaving and _worth_a_try(why):
            if self._talked_for >= STABLE or not tried:
                tried = True
                tries = enumerate(backoff.delays(self._dial.entropy.random), start=1)
            attempt, delay = next(tries, (0, 0.0))
            if not attempt:
                break
            self._become(Reconnecting(why=why, attempt=attempt, next_try=trio.current_time() + delay))
            await trio.sleep(delay)
            try:
                why = await self._converse(lambda: None)
            except ChatError as error:
                why = error
        return why

    async def _converse(self, begun: Callable[[], None]) -> Disconnected:
        """Connect, log in, say that it has begun, and return why the link ended. Raises `ConnectFailed`,
        `RequestFailed`, `Disconnected` if it did not begin."""
        async with private_nursery(lambda nursery: nursery.cancel_scope.cancel()) as nursery:
            link = await self._dial.connect(nursery, self._happened)
            ended: list[Disconnected] = []
            over = trio.Event()
            self._talked_for = 0.0
            try:
                with self._dial.patience() as patience:
                    self.hello = await link.hello()
                    self._pacing.announce(self.hello.limits)
                    nursery.start_soon(_receive, link, ended, over)
                    await self._log_in(link)
                if patience.cancelled_caught:
                    raise self._dial.too_slow()
                nursery.start_soon(_keep_heartbeat, link, self.hello.heartbeat)
                began_at = trio.current_time()
                self._become(Connected())
                begun()
                await self._send_waiting(link)
                await over.wait()
                self._talked_for = trio.current_time() - began_at
            finally:
                self._link = None
                self._carry_over(link)
                link.connection.abort()
            return ended[0]
        raise AssertionError("unreachable")

    async def _log_in(self, link: Link) -> None:
        anew: list[str] = []
        await _ask(link, Call(self._entrance(), lambda reply: anew.extend(self._logged_in(reply)), once=True))
        await self._list_rooms(link)
        for name in anew:
            room = self.state.rooms.get(name)
            if room is not None and room.joined:
                page = await _ask(link, Call(m.History(room=name, limit=REFETCHED), None, once=True))
                self.state.fetched(room, page.events)
        for handle in list(self._rooms.values()):
            handle.changed()

    def _entrance(self) -> m.Login | acc.Register:
        if self._registration is not None:
            return self._registration
        if not self.state.user:
            return self._login
        resume = {room.name: room.position for room in self.state.joined}
        return evolve(self._login, user=self.state.user, resume=resume)

    def _logged_in(self, reply: m.LoggedIn) -> list[str]:
        before = self.state.joined
        anew = self.state.logged_in(reply)
        self._registration = None
        self._login = evolve(self._login, user=reply.user, password=None)
        self._take_token(reply.token)
        for room in before:
            if not room.joined:
                self.forget(room.name)
        self._follow_names()
        for state in self.state.joined:
            self._handle(state.name)  # so that its cursor begins at the login, not when it is first asked for
        return anew

    def rename_room(self, was: str, name: str) -> None:
        """Take in that a room has another name; if it is known already, nothing happens."""
        self.state.room_renamed(was, name)
        self._follow_names()

    def _follow_names(self) -> None:
        """Let handles, and requests that wait for a link, follow rooms that have another name now."""
        names = {was: room.name for was, room in self._rooms.items() if room.name != was}
        if not names:
            return
        handles = list(self._rooms.values())
        self._rooms.clear()
        for handle in handles:
            if self.state.rooms.get(handle.name) is handle.state:
                self._rooms[handle.name] = handle
            handle.changed()
        for call in self._waiting:
            request: Any = call.request
            if getattr(request, "room", None) in names:
                call.request = evolve(request, room=names[request.room])

    async def _list_rooms(self, link: Link) -> None:
        asked = 0
        last: str | None = None

        def goes_on(page: m.Rooms) -> bool:
            return page.more and bool(page.rooms) and page.rooms[-1].room != last and asked < MOST_ROOMS

        def take(page: m.Rooms) -> None:
            nonlocal asked
            asked += len(page.rooms)
            self.state.listed(page.rooms, first=last is None, more=goes_on(page))

        while True:
            page: m.Rooms = await _ask(link, Call(m.ListRooms(after=last), take, once=True))
            if not goes_on(page):
                return
            last = page.rooms[-1].room

    async def _send_waiting(self, link: Link) -> None:
        with suppress(Disconnected):
            while self._waiting:
                await self._wait_turn(self._waiting[0].request)
                if self._waiting:  # nobody may wait any more for what was first
                    await link.send(self._waiting.popleft())
            self._link = link

    def _carry_over(self, link: Link) -> None:
        """What the link left unanswered waits for the next one if it is safe to repeat, before what waits already."""
        left = link.left_over()
        for call in left:
            if not call.repeatable:
                call.finish(Disconnected())
        self._waiting.extendleft(reversed([call for call in left if call.repeatable]))

    def _happened(self, event: m.Event, timestamp: int) -> None:
        step = self.state.apply(event, timestamp)
        if isinstance(event, mod.RoomRenamed):
            self._follow_names()
        room = self._rooms.get(room_of(event) or "")
        if isinstance(event, m.RoomDeleted | mod.RemovedFromRoom):
            self._rooms.pop(event.room, None)
        if room is not None:
            room.changed()
        if step is not Step.SKIP:
            for stream in self._streams.values():
                stream.put(event, timestamp)

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
        self._leaving = True
        link = self._link
        if link is not None:
            try:
                await link.connection.aclose(1000, "goodbye", reconnect=False)
            finally:
                link.connection.abort()


@asynccontextmanager
async def connect(
    url: str = DEFAULT_URL,
    # who
    *,
    user: str,
    password: str | None = None,
    token: str | None = None,
    on_token: Callable[[str], object] | None = None,
    register: bool = False,
    invitation: str | None = None,
    device: str = "",
    # how
    encoding: Encoding = "json",
    ssl_context: ssl.SSLContext | None = None,
    connect_timeout: float = 10.0,
    # when the link is lost
    reconnect: bool | Backoff = True,
    outbox: str | Path | None = None,
    # what it understands and keeps
    events: Iterable[type[m.Event]] = (),
    keep: int = 1000,
    # randomness
    entropy: Random | None = None,
) -> AsyncIterator[Client]:
    """Connect to a chat server, log in, and be there for as long as the block lasts.

    ``url`` is ``ws://``, ``wss://``, ``tcp://`` or ``tls://`` with host and port (``memory://`` within a process).
    ``user`` is one's name: a guest's, or with ``password`` an account's. ``token`` is that of an earlier `Client`, to
    be the same person again; an account's is replaced at every login, and ``on_token``, which must not raise, is called
    with each new one (empty after a `Client.logout`), so that a program can keep it. ``register`` opens an account with
    the ``password``, of 8 to 1,024 bytes, and logs in with it; ``invitation`` is a code to do so where one is needed.
    ``device``, up to 128 bytes, is what `Client.sessions` calls this login. ``ssl_context`` is for ``wss://`` and
    ``tls://``; without it the system's authorities verify the server. ``connect_timeout`` bounds connecting, and
    logging in, in seconds each.

    A lost link is made anew by itself: every room goes on from its position, and what was being sent is sent again,
    once; the password is not used again, but the newest token. Whoever is not let in any more (``bad_credentials``,
    ``banned``, ``forbidden``) is disconnected for good. ``reconnect`` takes a `Backoff` to say how patiently, or False
    to be told of the first loss instead.
    ``outbox`` names a file in which messages wait until the server keeps them, also across a restart of the program.
    ``events`` are event classes of a program's own. ``keep`` entries of each room are held. ``entropy`` is
    where ops and waits come from, for tests that are to run the same way twice.

    Raises `ConnectFailed` (nobody there, no chatkit server, too slow), `RequestFailed` (``name_taken``, ``bad_name``,
    ``bad_credentials``, ``banned``, ``forbidden``, ``rate_limited``), `Disconnected`, `UsageError`,
    `StorageUnreadable` (the outbox). Leaving the block says goodbye and closes the link; cancelling closes it at once.
    """
    options = TransportOptions(
        max_message_bytes=LARGEST_FROM_SERVER, ssl_context=ssl_context, handshake_timeout=connect_timeout
    )
    backoff = Backoff() if reconnect is True else reconnect or None
    dial = Dial(url, codec_for(encoding, tuple(events)), options, backoff, entropy or SystemRandom())
    login = m.Login(user=user, password=password, token=token, device=device or None)
    registration = _registration(login, invitation) if register or invitation is not None else None
    kept = None if outbox is None else Outbox(outbox)
    client = Client(dial, login, registration, on_token or (lambda _: None), keep, kept)

    def stop(nursery: trio.Nursery) -> None:
        nursery.start_soon(_leave, client, nursery)

    try:
        async with private_nursery(stop) as nursery:
            await nursery.start(client.run)
            if client.outbox is not None:
                nursery.start_soon(_empty_outbox, client)
            yield client
    finally:
        if client.outbox is not None:
            await client.outbox.aclose()


def _registration(login: m.Login, invitation: str | None) -> acc.Register:
    if login.password is None or login.token is not None:
        raise UsageError("to register takes a password, and no token")
    return acc.Register(user=login.user, password=login.password, invitation=invitation, device=login.device)


async def _leave(client: Client, nursery: trio.Nursery) -> None:
    try:
        await client.leave()
    finally:
        nursery.cancel_scope.cancel()


async def _empty_outbox(client: Client) -> None:
    with suppress(Disconnected):
        await client.empty_outbox()


async def _receive(link: Link, ended: list[Disconnected], over: trio.Event) -> None:
    ended.append(await link.run())
    for call in link.left_over():
        if not call.repeatable:
            call.finish(Disconnected(ended[0].code, ended[0].reason, reconnect=ended[0].reconnect))
    over.set()


async def _keep_heartbeat(link: Link, interval: float) -> None:
    """End a link on which the server has been silent for too long, though it was asked for a sign of life."""
    connection, asked = link.connection, False
    interval = min(max(interval, HEARTBEATS[0]), HEARTBEATS[1])
    while True:
        await trio.sleep(interval / 3)
        silent = trio.current_time() - connection.last_heard
        if silent < interval:
            asked = False
        elif asked and silent > interval * 4 / 3:
            connection.abort()
        else:
            await connection.ping()
            asked = True


async def _ask(link: Link, call: Call) -> Any:
    """Make a call of logging in, on this link or not at all."""
    try:
        await link.send(call)
        return (await call.wait()).reply
    finally:
        link.forget(call)


def _worth_a_try(why: ChatError) -> bool:
    if isinstance(why, Disconnected):
        return why.reconnect
    return isinstance(why, ConnectFailed) or (isinstance(why, RequestFailed) and why.code in TRY_AGAIN)
