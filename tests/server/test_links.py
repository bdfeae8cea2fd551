"""One link: its envelope, what is refused on it, and the codes it ends with."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
import trio
from attrs import evolve
from wires import MsgpackWire, TcpWire, WebSocketWire, Wire, dial, request, site

from chatkit.errors import Disconnected
from chatkit.server import ServerConfig

OPEN = ServerConfig(rate_limits=False)


async def ended(wire: Wire, code: int, *, reconnect: bool) -> None:
    """Check the code a link ends with; on lines, the event that says so."""
    assert (await wire.wait_end())[0] == code
    if isinstance(wire, TcpWire):
        assert wire.closing is not None
        assert set(wire.closing) == {"action", "data", "timestamp"}
        assert set(wire.closing["data"]) == {"code", "reason", "reconnect"}
        assert wire.closing["data"]["reason"]
        assert wire.closing["data"]["reconnect"] is reconnect


# ── the envelope ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("ref", [0, 7, -1, 2**53, "", "a", "é" * 32, "x" * 64])
async def test_the_reply_repeats_the_ref(ref: int | str, kind: str) -> None:
    async with site() as here:
        wire = await here.wire(kind)
        assert (await wire.ask("login", ref, user=""))["ref"] == ref
        assert (await wire.ask("nonsense", ref))["ref"] == ref
        assert (await wire.ask("login", ref, user="ann"))["ref"] == ref
        assert (await wire.ask("send_message", ref, room="general", text="hi"))["ref"] == ref
        assert "ref" not in await wire.ask("list_rooms")


@pytest.mark.parametrize("ref", [1.5, True, [1], {"a": 1}, "x" * 65, "é" * 33])
async def test_a_ref_that_is_none_is_a_bad_request(ref: Any, kind: str) -> None:
    async with site() as here:
        wire = await here.user("ann", kind)
        reply = await wire.ask("list_rooms", ref)
        assert reply["data"]["code"] == "bad_request"
        assert "ref" not in reply


@pytest.mark.parametrize(
    ("envelope", "says"),
    [
        ({"action": "join_room", "data": {"room": 1}}, "data.room: expected a string"),
        ({"action": "join_room", "data": {}}, "data.room: is missing"),
        ({"action": "join_room", "data": []}, "data: expected an object"),
        ({"action": "join_room", "data": {"room": "general", "last": 1001}}, "data.last: expected 0 to 1000"),
        ({"action": "login", "data": {"user": "x", "resume": {"a": {"epoch": 1, "seq": 1}}}}, "data.resume.a.epoch"),
        ({"action": 1}, "action: expected a string"),
        ({"data": {}}, "action: is missing"),
        ([], "expected an object"),
    ],
)
async def test_what_does_not_parse_is_told_where(envelope: Any, says: str, kind: str) -> None:
    async with site() as here:
        wire = await here.user("ann", kind)
        await wire.send_raw(wire.encode(envelope))
        reply = await wire.reply()
        assert reply["data"]["code"] == "bad_request"
        assert says in reply["data"]["message"]
        assert (await wire.ask("list_rooms"))["action"] == "success"


async def test_unknown_fields_and_a_clients_timestamp_are_ignored(kind: str) -> None:
    async with site() as here:
        wire = await here.user("ann", kind)
        envelope = request("send_message", 1, room="general", text="hi", colour="red") | {"timestamp": "now", "x": 1}
        await wire.send_raw(wire.encode(envelope))
        assert (await wire.reply())["action"] == "success"
        assert (await wire.event("receive_message"))["data"] == {
            "room": "general",
            "seq": 1,
            "user": "ann",
            "text": "hi",
        }


async def test_an_unknown_action_is_told_so_and_is_no_garbage(kind: str) -> None:
    async with site() as here:
        wire = await here.user("ann", kind)
        for _ in range(30):
            assert await wire.code("dance") == "unknown_action"
        wire = await here.wire(kind)
        assert await wire.code("dance") in ("unknown_action", "not_logged_in")


# ── how it ends ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_twenty_garbage_in_a_row_end_the_link_with_4400(kind: str) -> None:
    async with site() as here:
        wire = await here.user("ann", kind)
        for _ in range(19):
            assert await wire.code("join_room") == "bad_request"
        await wire.sync()
        for _ in range(19):
            assert await wire.code("join_room") == "bad_request"
        await wire.send("join_room")
        await ended(wire, 4400, reconnect=True)
        last = wire.events[-2 if wire.events[-1]["action"] == "closing" else -1]
        assert last["data"]["code"] == "bad_request", "the twentieth is answered, too"


async def test_a_binary_frame_on_a_json_link_is_pointed_to_the_field() -> None:
    async with site() as here:
        wire = await here.user("ann", "ws")
        assert isinstance(wire, WebSocketWire)
        await wire.socket.send_message(b"\x00\x01")
        reply = await wire.reply()
        assert reply["data"]["code"] == "bad_request"
        assert "data.binary" in reply["data"]["message"]
        packed = await here.user("bob", "msgpack")
        assert isinstance(packed, MsgpackWire)
        await packed.socket.send_message(json.dumps(request("list_rooms")))
        assert (await packed.reply())["data"]["code"] == "bad_request"
        await wire.sync()
        await packed.sync()


async def test_without_a_subprotocol_json_is_spoken_on_both_paths() -> None:
    async with site() as here:
        for path in ("/", "/ws"):
            wire = await here.web_socket(path=path)
            here.wires.append(wire)
            assert wire.socket.subprotocol is None
            assert (await wire.receive())["action"] == "hello"
        offered = await here.web_socket(["soap", "chatkit.v1.json"])
        here.wires.append(offered)
        assert offered.socket.subprotocol == "chatkit.v1.json"


async def test_a_subprotocol_nobody_speaks_is_refused_with_the_names_of_ours() -> None:
    async with site() as here, await dial(here.url("ws")) as stream:
        await stream.send_all(
            b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            b"Sec-WebSocket-Protocol: soap\r\n\r\n"
        )
        answer = b"".join([chunk async for chunk in stream])
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"chatkit.v1.json, chatkit.v1.msgpack" in answer


async def test_a_message_too_large_ends_the_link_with_1009(kind: str) -> None:
    config = evolve(OPEN, max_message_bytes=1000)
    async with site(config=config) as here:
        wire = await here.wire(kind, hello=False)
        assert (await wire.receive())["data"]["limits"]["max_message_bytes"] == 1000
        await wire.data("login", user="ann")
        frame = len(wire.encode(request("send_message", room="general", text="")))
        pad = 3 if kind == "msgpack" else 0  # the length of a text takes more bytes there
        await wire.data("send_message", room="general", text="x" * (1000 - frame - pad))
        await wire.send("send_message", room="general", text="x" * (1001 - frame))
        await ended(wire, 1009, reconnect=True)


async def test_who_does_not_log_in_is_closed_with_4401(kind: str) -> None:
    async with site(config=evolve(OPEN, login_timeout=0.3)) as here:
        late, wire = await here.wire(kind), await here.wire(kind)
        await wire.data("login", user="ann")
        assert await late.code("login", user="ann") == "name_taken"
        assert await late.code("list_rooms") == "not_logged_in"
        await ended(late, 4401, reconnect=True)
        await wire.sync()


async def test_a_newer_link_with_the_token_ends_the_older_with_4409(kind: str) -> None:
    async with site() as here:
        bob, old = await here.user("bob"), await here.user("ann", kind)
        await bob.event("user_joined", user="ann")
        new = await here.wire()
        await new.data("login", user="ann", token=old.token)
        await ended(old, 4409, reconnect=False)
        await new.data("send_message", room="general", text="here")
        await bob.texts("here")
        await bob.sync()
        assert not [event for event in bob.events if event["action"].startswith("user_")]


async def test_a_message_that_crosses_a_takeover_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async with site(config=OPEN, listen=["memory://"]) as here:
        ann = await here.user("ann", "memory")
        for number in range(40):
            new = await here.wire("memory")
            async with trio.open_nursery() as nursery:
                for step in range(number % 4):
                    nursery.start_soon(send_quietly, ann, "join_room", {"room": "general", "last": step})
                nursery.start_soon(send_quietly, ann, "send_message", {"room": "general", "text": "crossing"})
                nursery.start_soon(send_quietly, new, "login", {"user": "ann", "token": ann.token})
            reply = await new.reply()
            new.token = reply["data"]["token"]
            ann = new
        assert not [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


async def send_quietly(wire: Wire, action: str, data: dict[str, Any]) -> None:
    try:
        await wire.send(action, **data)
    except Disconnected:
        return


async def test_stopping_ends_every_link_with_1001(kind: str) -> None:
    async with site() as here:
        wire, waiting = await here.user("ann", kind), await here.wire(kind)
        here.server.stop()
        async with trio.open_nursery() as nursery:
            for one in (wire, waiting):
                nursery.start_soon(lambda w: ended(w, 1001, reconnect=True), one)


@pytest.mark.parametrize("line", [b"GET / HTTP/1.1", b"hello", b"[1]", b"1", b'"a"', b"\x00\xff"])
async def test_a_first_line_that_is_no_object_closes_a_tcp_link_at_once(line: bytes) -> None:
    async with site() as here:
        wire = await here.wire("tcp")
        await wire.send_raw(line)
        await ended(wire, 4400, reconnect=True)


async def test_later_lines_may_be_garbage_blank_or_end_in_a_carriage_return() -> None:
    async with site() as here:
        wire = await here.user("ann", "tcp")
        assert isinstance(wire, TcpWire)
        await wire.stream.send_all(b'hello\n\r\n\n{"action":"list_rooms","ref":1}\r\n')
        assert (await wire.reply())["data"]["code"] == "bad_request"
        assert (await wire.reply())["ref"] == 1


async def test_pings_are_answered_and_the_closing_handshake_completes() -> None:
    async with site() as here:
        bob, wire = await here.user("bob"), await here.user("ann", "ws")
        assert isinstance(wire, WebSocketWire)
        with trio.fail_after(5):
            await wire.socket.ping(b"are you there")
            await wire.socket.aclose(1000, "bye")
        assert wire.socket.closed is not None
        assert wire.socket.closed.code == 1000
        await bob.event("user_left", user="ann")


async def test_a_cut_link_is_announced_and_its_name_free_again(kind: str) -> None:
    async with site(config=evolve(OPEN, linger=0.05)) as here:
        ann, bob = await here.user("ann", kind), await here.user("bob")
        ann.cut()
        left = await bob.event("user_left")
        assert left["data"] == {"room": "general", "user": "ann", "users": 1}
        assert (await bob.event("room_updated", users=1))["data"]["room"] == "general"
        again = await here.wire(kind)
        assert (await again.data("login", user="ann"))["rooms"][0]["users"] == 2


async def test_connections_are_listed_for_the_operator(kind: str) -> None:
    async with site() as here:
        await here.user("ann", kind)
        await here.wire("tcp")
        first, second = here.server.connections()
        assert (first.user, second.user) == ("ann", None)
        assert first.id < second.id
        assert first.address == "memory" or first.address.startswith("127.0.0.1:")
        assert first.since > 1_700_000_000_000
