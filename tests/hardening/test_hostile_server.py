"""A server that means harm: it cannot hang a client, fill its memory, or raise in it anything but a ChatError."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
from hosts import GENERAL, HELLO, Behaviour, Host, entry, envelope, hosting, said
from raw import HEAD_END, PATIENCE, agree
from wire_frames import BINARY, PING, TEXT, close, fragments, frame

import chatkit
from chatkit.client import Backoff
from chatkit.client.state import MOST_MEMBERS, MOST_ROOMS
from chatkit.client.window import Window
from chatkit.errors import ChatError, ConnectFailed, Disconnected, RequestFailed
from chatkit.protocol import messages as m

SOON = 0.2
"""Seconds that a client is given to connect here."""
MIB = 1_048_576
QUICK = Backoff(first=0.01, factor=2.0, most=0.1)


@pytest.fixture(params=["ws", "tcp"])
def kind(request: pytest.FixtureRequest) -> str:
    """A binding."""
    return str(request.param)


# ── before anybody is logged in ──────────────────────────────────────────────────────────────────────────────────────


async def says_nothing(host: Host) -> None:
    await trio.sleep_forever()


async def hangs_up(host: Host) -> None:
    pass


async def resets(host: Host) -> None:
    host.raw.reset()


async def reads_and_hangs_up(host: Host) -> None:
    await host.raw.more()


async def garbage(host: Host) -> None:
    await host.raw.send(bytes(range(256)) * 40)
    await host.raw.rest()


async def endless_bytes(host: Host) -> None:
    while True:
        await host.raw.stream.send_all(b"x" * 65_536)


async def endless_head(host: Host) -> None:
    await host.raw.send(b"HTTP/1.1 101 Switching Protocols\r\n")
    while True:
        await host.raw.stream.send_all(b"X-More: x\r\n" * 1000)


async def dripping_head(host: Host) -> None:
    await host.raw.send(b"HTTP/1.1 101 Switching Protocols\r\n")
    while True:
        await host.raw.stream.send_all(b"X")
        await trio.sleep(0.01)


async def refuses_at_length(host: Host) -> None:
    await host.raw.until(HEAD_END)
    await host.raw.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 1000000000\r\n\r\n")
    while True:
        await host.raw.stream.send_all(b"x" * 65_536)


async def redirects(host: Host) -> None:
    await host.raw.until(HEAD_END)
    await host.raw.send(b"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
    await host.stay()


async def wrong_accept(host: Host) -> None:
    await host.raw.until(HEAD_END)
    answer = b"HTTP/1.1 101 Hi\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: no\r\n\r\n"
    await host.raw.send(answer)
    await host.stay()


async def strange_subprotocol(host: Host) -> None:
    await agree(host.raw, protocol=b"soap")
    await host.stay()


async def strange_extension(host: Host) -> None:
    await agree(host.raw, protocol=b"chatkit.v1.json\r\nSec-WebSocket-Extensions: permessage-deflate")
    await host.stay()


async def silent_after_shaking(host: Host) -> None:
    await host.shake()
    await trio.sleep_forever()


async def oversize_hello(host: Host) -> None:
    await host.shake()
    await host.tell("hello", **HELLO, padding="x" * (5 * MIB))
    await host.stay()


async def endless_message(host: Host) -> None:
    await host.shake()
    if not host.lines:
        await host.raw.send(frame(TEXT, b"", mask=False, length=b"\x7f" + (2**62).to_bytes(8, "big")))
    while True:
        await host.raw.stream.send_all(b"[" * 65_536)


async def dripping_hello(host: Host) -> None:
    await host.shake()
    for byte in host.framed(envelope("hello", HELLO | {"server": "x" * 1000})):
        await host.raw.stream.send_all(bytes((byte,)))
        await trio.sleep(0.01)


def says(*messages: bytes) -> Behaviour:
    async def behave(host: Host) -> None:
        await host.shake()
        await host.tell_raw(*messages)
        await host.stay()

    return behave


def greets(**hello: Any) -> Behaviour:
    async def behave(host: Host) -> None:
        await host.welcome(**hello)
        await host.stay()

    return behave


def answers_login(**data: Any) -> Behaviour:
    async def behave(host: Host) -> None:
        await host.welcome()
        while True:
            await host.answer(**data)

    return behave


LOGGED_IN = {"user": "ann", "role": "guest", "token": "t"}


async def lists_for_ever(host: Host) -> None:
    await host.welcome()
    await host.answer(**LOGGED_IN, rooms=[])
    page = 0
    while True:
        page += 1
        await host.answer(rooms=[GENERAL | {"room": f"r{page}-{number}"} for number in range(500)], more=True)


async def lists_the_same_for_ever(host: Host) -> None:
    await host.welcome()
    await host.answer(**LOGGED_IN, rooms=[])
    while True:
        await host.answer(rooms=[GENERAL], more=True)


async def refuses_login(host: Host) -> None:
    await host.welcome()
    while True:
        request = await host.hear()
        await host.tell("error", ref=request["ref"], code="\x1b[2J" * 100, message="\x1b]0;owned\x07" * 1000)


async def talks_over_login(host: Host) -> None:
    await host.welcome()
    message = host.framed(envelope("system", {"text": "x"})) * 1000
    while True:
        await host.raw.stream.send_all(message)


async def closes_as_hello(host: Host) -> None:
    await host.shake()
    await host.tell("closing", code=4403, reason="no", reconnect=False)
    await host.stay()


HOSTS: dict[str, Behaviour] = {
    behave.__name__: behave
    for behave in (
        says_nothing,
        hangs_up,
        resets,
        reads_and_hangs_up,
        garbage,
        endless_bytes,
        endless_head,
        dripping_head,
        refuses_at_length,
        redirects,
        wrong_accept,
        strange_subprotocol,
        strange_extension,
        silent_after_shaking,
        oversize_hello,
        endless_message,
        dripping_hello,
        refuses_login,
        talks_over_login,
        closes_as_hello,
    )
}
HOSTS |= {
    "first word is a reply": says(envelope("success", {}, 1)),
    "first word is another event": says(envelope("system", {"text": "x"})),
    "first word is deep": says(b"[" * 100_000),
    "first word is no JSON": says(b"\xff\xfe\xfd"),
    "first word is a list": says(b"[]"),
    "first word is null": says(b"null"),
    "two hellos": says(envelope("hello", HELLO), envelope("hello", HELLO)),
    "protocol 2": greets(protocol=2),
    "protocol text": greets(protocol="1"),
    "limits text": greets(limits="no"),
    "limits of text": greets(limits={"messages_burst": "many"}),
    "limits below nothing": greets(limits={"reads_burst": -(2**63), "reads_per_second": -1}),
    "heartbeat text": greets(heartbeat="often"),
    "login: nothing": answers_login(),
    "login: wrong types": answers_login(user=1, role=[], token={}, rooms="x"),
    "login: rooms of wrong types": answers_login(**LOGGED_IN, rooms=[{"room": 1}]),
    "login: a head below nothing": answers_login(**LOGGED_IN, rooms=[GENERAL | {"head": -1}]),
    "login: a name without end": answers_login(**LOGGED_IN, rooms=[GENERAL | {"room": "x" * MIB}]),
    "login: many rooms": answers_login(**LOGGED_IN, rooms=[GENERAL | {"room": f"r{n}"} for n in range(40_000)]),
}


@pytest.mark.parametrize("name", HOSTS)
async def test_nobody_gets_in(name: str, kind: str) -> None:
    async with hosting(HOSTS[name], kind) as host:
        with trio.fail_after(PATIENCE):
            with pytest.raises((ConnectFailed, Disconnected, RequestFailed)) as caught:
                async with chatkit.connect(host.url, user="ann", connect_timeout=SOON, reconnect=False):
                    raise AssertionError("it got in")
        assert len(str(caught.value)) < 100_000


@pytest.mark.parametrize("behave", [lists_for_ever, lists_the_same_for_ever])
async def test_a_list_of_rooms_without_end_is_read_so_far_only(behave: Behaviour, kind: str) -> None:
    async with hosting(behave, kind) as host:
        with trio.fail_after(PATIENCE):
            async with chatkit.connect(host.url, user="ann", reconnect=False) as client:
                assert 1 <= len(client.state.rooms) <= MOST_ROOMS


@pytest.mark.parametrize("heartbeat", [0, -1, 1e-300, -1e308, 1e308])
async def test_a_heartbeat_that_is_none_harms_nobody(heartbeat: float, kind: str) -> None:
    async def behave(host: Host) -> None:
        await host.let_in(heartbeat=heartbeat)
        await host.stay()

    async with hosting(behave, kind) as host:
        with suppress(ConnectFailed), trio.fail_after(PATIENCE):
            async with chatkit.connect(host.url, user="ann", connect_timeout=SOON, reconnect=False):
                ticks = trio.lowlevel.current_statistics().tasks_runnable
                beats = Counter()
                trio.lowlevel.add_instrument(beats)
                await trio.sleep(0.3)
                trio.lowlevel.remove_instrument(beats)
                assert beats.steps < 200, f"{beats.steps} steps of tasks in 0.3 s of doing nothing ({ticks})"


class Counter(trio.abc.Instrument):
    """Counts what the scheduler does."""

    steps = 0

    def before_task_step(self, task: object) -> None:
        self.steps += 1


# ── afterwards ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def lives_through(
    kind: str, behave: Behaviour, meanwhile: Callable[[chatkit.Client], Awaitable[object]], **options: Any
) -> None:
    """Connect to a server that lets one in and then behaves so."""

    async def all_of_it(host: Host) -> None:
        await host.let_in()
        await behave(host)

    async with hosting(all_of_it, kind) as host:
        with trio.fail_after(PATIENCE):
            options = {"reconnect": False, "connect_timeout": 5.0} | options
            async with chatkit.connect(host.url, user="ann", **options) as client:
                await meanwhile(client)


async def mark(host: Host) -> None:
    """Say something by which the client knows that all before has come."""
    await host.tell("system", text="the end")


async def until_mark(client: chatkit.Client) -> None:
    async for happening in client.events():
        if isinstance(happening.event, m.System) and happening.event.text == "the end":
            return


NONSENSE = {
    "no JSON": b"hello",
    "deep": b'{"action":' * 50_000,
    "null": b"null",
    "no action": b"{}",
    "no timestamp": b'{"action":"system","data":{"text":"x"}}',
    "wrong types": envelope("receive_message", {"room": 1, "seq": "x"}),
    "seq below nothing": said(-1),
    "seq past everything": said(2**64 - 1),
    "a surrogate": said(1).replace(b'"x"', b'"\\ud800"'),
    "a name without end": envelope("room_created", GENERAL | {"room": "x" * MIB}),
    "a person without end": envelope("user_joined", {"room": "general", "user": "x" * MIB, "users": 1}),
}


@pytest.mark.parametrize("name", NONSENSE)
async def test_nonsense_ends_the_link_for_good(name: str, kind: str) -> None:
    async def behave(host: Host) -> None:
        await host.tell_raw(NONSENSE[name])
        await host.stay()

    async def meanwhile(client: chatkit.Client) -> None:
        why = await client.wait_closed()
        assert isinstance(why, Disconnected)
        with pytest.raises(Disconnected):
            await client.rooms["general"].send("x")

    await lives_through(kind, behave, meanwhile, reconnect=QUICK)


FRAMES = {
    "masked": frame(TEXT, said(1)),
    "a reserved bit": frame(TEXT, said(1), rsv=4, mask=False),
    "an unknown opcode": frame(3, b"x", mask=False),
    "no UTF-8": frame(TEXT, b"\xff", mask=False),
    "binary": frame(BINARY, said(1), mask=False),
    "a ping in two": frame(PING, b"x", fin=False, mask=False),
    "half a code": frame(8, b"\x03", mask=False),
    "longest": frame(TEXT, b"", mask=False, length=b"\x7f" + b"\xff" * 8),
    "oversize in fragments": b"".join(fragments(TEXT, *[b"x" * MIB] * 5, mask=False)),
    "many fragments": b"".join(fragments(TEXT, *[b"x"] * 2000, mask=False)),
    "many pings": frame(PING, b"x" * 125, mask=False) * 5000,
    "closed": close(1000, mask=False),
    "closed for ever": close(4403, mask=False),
}


@pytest.mark.parametrize("name", FRAMES)
async def test_bad_frames_end_the_link(name: str) -> None:
    async def behave(host: Host) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(host.raw.rest)  # unread, the answers to pings would make the client wait instead
            await host.raw.send(FRAMES[name])
            await trio.sleep_forever()

    async def meanwhile(client: chatkit.Client) -> None:
        assert isinstance(await client.wait_closed(), Disconnected)

    await lives_through("ws", behave, meanwhile)


async def test_answers_nobody_asked_for_are_nothing(kind: str) -> None:
    async def behave(host: Host) -> None:
        for ref in (0, 1, 2, 3, 999, -1, 2**63, "x", "1", None):
            await host.tell("success", ref=ref, room="general", epoch="e", seq=1, duplicate=False)
            await host.tell("error", ref=ref, code="forbidden", message="no")
        asked = await host.hear()
        for ref in (asked["ref"] + 1, str(asked["ref"]), asked["ref"] - 1):
            await host.tell("error", ref=ref, code="forbidden", message="no")
        for _ in range(2):
            await host.tell("success", ref=asked["ref"], room="general", epoch="e", seq=1, duplicate=False)
        await mark(host)
        await host.stay()

    async def meanwhile(client: chatkit.Client) -> None:
        events = client.events()
        assert (await client.rooms["general"].send("hello")).seq == 1
        async for happening in events:
            if isinstance(happening.event, m.System):
                return

    await lives_through(kind, behave, meanwhile)


@pytest.mark.parametrize("wrong", [{}, {"room": 1}, {"events": "x"}, {"epoch": "e", "events": [{"action": 1}]}])
async def test_an_answer_of_the_wrong_kind_ends_the_link(wrong: dict[str, Any], kind: str) -> None:
    async def behave(host: Host) -> None:
        await host.answer(**wrong)
        await host.stay()

    async def meanwhile(client: chatkit.Client) -> None:
        with pytest.raises(Disconnected):
            await client.rooms["general"].history()

    await lives_through(kind, behave, meanwhile)


async def test_the_callers_timeout_works_against_a_server_that_never_answers(kind: str) -> None:
    async def meanwhile(client: chatkit.Client) -> None:
        room = client.rooms["general"]
        for ask in (lambda: room.send("x"), room.history, room.users, room.leave, lambda: client.join("x")):
            with trio.move_on_after(0.05) as patience:
                await ask()
            assert patience.cancelled_caught

    await lives_through(kind, Host.stay, meanwhile)


async def test_a_server_that_reads_nothing_does_not_hold_the_one_who_leaves() -> None:
    async def behave(host: Host) -> None:
        await trio.sleep_forever()

    async def meanwhile(client: chatkit.Client) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(200):
                nursery.start_soon(client.rooms["general"].send, "x" * 60_000)
            await trio.sleep(0.1)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for kind in ("ws", "tcp"):
            nursery.start_soon(lives_through, kind, behave, meanwhile)


@pytest.mark.parametrize("retry_after", [None, 0, 1e-9, 2**31])
async def test_told_to_try_again_for_ever(retry_after: float | None, kind: str) -> None:
    asked = 0

    async def behave(host: Host) -> None:
        nonlocal asked
        while True:
            request = await host.hear()
            asked += 1
            more = {} if retry_after is None else {"retry_after": retry_after}
            await host.tell("error", ref=request["ref"], code="rate_limited", message="no", **more)

    async def meanwhile(client: chatkit.Client) -> None:
        with trio.move_on_after(0.5), suppress(RequestFailed):
            await client.rooms["general"].send("x")
        assert asked < 30, "asked again without a rest"

    await lives_through(kind, behave, meanwhile)


@pytest.mark.parametrize("limit", [1, 2**62])
async def test_limits_that_are_none(limit: int, kind: str) -> None:
    async def behave(host: Host) -> None:
        limits = {f"{scope}_{name}": limit for scope in ("messages", "reads") for name in ("burst", "per_second")}
        await host.let_in(limits=limits)
        await host.answer(room="general", epoch="e", seq=1, duplicate=False)
        await host.stay()

    async with hosting(behave, kind) as host, chatkit.connect(host.url, user="ann", reconnect=False) as client:
        with trio.fail_after(PATIENCE):
            assert (await client.rooms["general"].send("x")).seq == 1


# ── memory ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def held(client: chatkit.Client) -> int:
    """About how many bytes a client holds of what it was told."""
    rooms = client.state.rooms.values()
    entries = sum(len(getattr(one.event, "text", "") or "") for room in rooms for one in room.window.entries)
    names = sum(len(room.name) + sum(map(len, room.members)) for room in rooms)
    return entries + names + sum(map(len, client.state.notices))


def crowds(make: Callable[[int], bytes], count: int, batch: int = 1000) -> Behaviour:
    """Tell many things, then the mark."""

    async def behave(host: Host) -> None:
        for start in range(0, count, batch):
            await host.tell_raw(*map(make, range(start, min(start + batch, count))))
        await mark(host)
        await host.stay()

    return behave


FLOODS: dict[str, Behaviour] = {
    "large messages": crowds(lambda n: said(n + 1, "x" * 3 * MIB), 60, 1),
    "large notices": crowds(lambda n: envelope("system", {"text": "x" * MIB}), 150, 1),
    "large messages after gaps": crowds(lambda n: said(2 * n + 5, "x" * MIB), 60, 1),
    "rooms": crowds(lambda n: envelope("room_created", GENERAL | {"room": f"r{n}"}), 25_000),
    "topics": crowds(lambda n: envelope("room_created", GENERAL | {"room": f"r{n}", "topic": "x" * 4_000}), 5_000, 50),
    "people": crowds(lambda n: envelope("user_joined", {"room": "general", "user": f"u{n}", "users": n}), 15_000),
    "unknown events": crowds(lambda n: envelope("new", {"room": "general", "seq": n + 1, "x": "x" * MIB}), 100, 1),
    "seqs that go back": crowds(lambda n: said(100_000 - n), 20_000),
    "events of rooms one is not in": crowds(lambda n: said(1, room=f"r{n}"), 25_000),
}


@pytest.mark.parametrize("name", FLOODS)
async def test_what_a_server_tells_costs_bounded_memory(name: str) -> None:
    async def meanwhile(client: chatkit.Client) -> None:
        unread = client.events()
        await until_mark(client)
        assert held(client) < 80 * MIB
        assert len(client.state.rooms) <= MOST_ROOMS
        assert all(len(room.members) <= MOST_MEMBERS for room in client.state.rooms.values())
        waiting = sum(len(getattr(one.event, "text", "") or "") for one in unread._waiting)
        assert waiting < 20 * MIB
        assert len(unread._waiting) <= 10_001
        assert len(unread._lost) <= 1

    await lives_through("tcp", FLOODS[name], meanwhile)


async def test_a_list_of_people_without_end(kind: str) -> None:
    async def behave(host: Host) -> None:
        page = 0
        while True:
            page += 1
            await host.answer(users=[{"user": f"u{page}-{n}", "role": "guest"} for n in range(1000)], more=True)

    async def meanwhile(client: chatkit.Client) -> None:
        with pytest.raises(ChatError):
            await client.rooms["general"].users()

    await lives_through(kind, behave, meanwhile)


async def test_a_list_of_people_that_repeats(kind: str) -> None:
    async def behave(host: Host) -> None:
        while True:
            await host.answer(users=[{"user": "ann", "role": "guest"}], more=True)

    async def meanwhile(client: chatkit.Client) -> None:
        with pytest.raises(ChatError):
            await client.rooms["general"].users()

    await lives_through(kind, behave, meanwhile)


# ── history ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def pages(make: Callable[[int, int], list[dict[str, Any]]], epoch: str = "e") -> Behaviour:
    """Jump far ahead, so that a reader has to fetch; then answer each page with what is made of its number and of what
    was asked for."""

    async def behave(host: Host) -> None:
        await host.tell_raw(said(1_000_000))
        page = 0
        while True:
            page += 1
            request = await host.hear()
            events = make(page, request["data"].get("after") or 0)
            data = {"epoch": epoch, "events": events, "more_before": True, "more_after": True}
            await host.tell("success", ref=request["ref"], **data)

    return behave


PAGES: dict[str, Behaviour] = {
    "empty": pages(lambda page, after: []),
    "the same": pages(lambda page, after: [entry(1)]),
    "going back": pages(lambda page, after: [entry(seq) for seq in (after + 3, after + 2, after + 1)]),
    "repeating": pages(lambda page, after: [entry(after + 1)] * 10),
    "with holes": pages(lambda page, after: [entry(after + 10 * n) for n in range(1, 5)]),
    "of another room": pages(lambda page, after: [entry(after + 1, room="elsewhere")]),
    "of another log": pages(lambda page, after: [entry(after + 1)], epoch="f"),
    "without seqs": pages(lambda page, after: [json_event("system", text="x")]),
    "far ahead": pages(lambda page, after: [entry(2**53 - 1)]),
}


def json_event(action: str, **data: Any) -> dict[str, Any]:
    return {"action": action, "data": data, "timestamp": "2026-11-20T10:30:00.123Z"}


@pytest.mark.parametrize("name", PAGES)
async def test_a_reader_of_strange_pages_sees_seqs_that_grow(name: str) -> None:
    async def meanwhile(client: chatkit.Client) -> None:
        seen = [0]
        entries = client.rooms["general"].entries()
        lost = 0
        with trio.move_on_after(0.2):
            while lost < 20 and len(seen) < 500:
                try:
                    one = await entries.__anext__()
                except chatkit.PositionLost:
                    lost += 1
                    continue
                except StopAsyncIteration:
                    break
                seen.append(one.event.seq)  # type: ignore[attr-defined]
        assert lost or seen == sorted(set(seen)), seen[:50]

    await lives_through("tcp", PAGES[name], meanwhile)


@pytest.mark.parametrize("name", ["the same", "going back", "repeating", "without seqs"])
async def test_a_slow_follower_of_everything_lives_through_strange_pages(name: str) -> None:
    async def behave(host: Host) -> None:
        await host.tell_raw(*(said(seq) for seq in range(1, 12_000)))
        await PAGES[name](host)

    async def meanwhile(client: chatkit.Client) -> None:
        events = client.events()
        while client.rooms["general"].position.seq < 1_000_000:
            await client.rooms["general"].wait_change()
        seen: list[int] = []
        with trio.move_on_after(0.3):
            while len(seen) < 30_000:
                happening = await events.__anext__()
                seen.append(happening.event.seq)  # type: ignore[attr-defined]
        assert len(seen) >= 10_000
        assert seen == sorted(set(seen)), "an event is given again"

    await lives_through("tcp", behave, meanwhile)


# ── links that do not last ───────────────────────────────────────────────────────────────────────────────────────────


async def test_storms_are_bounded_by_the_backoff(kind: str) -> None:
    async def storm(ending: str) -> None:
        async def behave(host: Host) -> None:
            if host.number > 1 and ending == "closes at once":
                await host.shake()
                await host.tell("closing", code=1001, reason="", reconnect=True)
                return
            if host.number > 1 and ending == "never hello":
                return
            await host.let_in()
            if ending == "resets":
                host.raw.reset()
            elif ending == "closes":
                await (host.tell("closing", code=1001, reason="", reconnect=True) if host.lines else bye(host))

        async with hosting(behave, kind) as host:
            backoff = Backoff(first=0.1, factor=2.0, most=0.4)
            async with chatkit.connect(host.url, user="ann", reconnect=backoff, connect_timeout=1.0):
                await trio.sleep(1.5)
            assert 2 <= host.links <= 1 + 30, f"{ending}: it comes back all the time"

    async with trio.open_nursery() as nursery:
        for ending in ("hangs up", "resets", "closes", "closes at once", "never hello"):
            nursery.start_soon(storm, ending)


async def bye(host: Host) -> None:
    await host.raw.send(close(1001, mask=False))


async def test_a_storm_with_a_given_end(kind: str) -> None:
    async def behave(host: Host) -> None:
        if host.number == 1:
            await host.let_in()

    async with hosting(behave, kind) as host:
        backoff = Backoff(first=0.01, factor=1.5, most=0.05, attempts=5)
        async with chatkit.connect(host.url, user="ann", reconnect=backoff, connect_timeout=1.0) as client:
            with trio.fail_after(PATIENCE):
                assert isinstance(await client.wait_closed(), ChatError)
        assert host.links == 6


def test_a_window_of_messages_holds_as_many_bytes_as_it_may() -> None:
    window = Window("e", 0, keep=1000)
    for seq in range(1, 300):
        window.take(m.Entry(event=m.ReceiveMessage(room="r", seq=seq, user="u", text="x" * MIB), timestamp=0))
        assert window.track.seq == seq
        assert sum(len(one.event.text) for one in window.entries) <= 8 * MIB  # type: ignore[attr-defined]
        assert window.after(window.first - 1) is window.entries[0]
    assert math.isclose(len(window), 7, abs_tol=1)
