"""Keeping order from a client: what one does, what the others see of it, what the room handle makes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio

import chatkit
from chatkit import Backoff, BanInfo, RequestFailed, UsageError
from chatkit.client import Closed, Cursor
from chatkit.client.calls import Call
from chatkit.protocol import messages as m
from chatkit.protocol import moderation as mod
from chatkit.testing import Person, TestServer, open_test_server

SOON = Backoff(first=0.2, most=0.2)


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    async with open_test_server() as server:
        yield server


@pytest.fixture
async def ann(server: TestServer) -> Person:
    """Who has an account and owns the room tea."""
    ann = await server.person("ann", password="long enough", register=True, device="laptop")
    await ann.creates("tea")
    return ann


async def together(server: TestServer, *names: str) -> list[Person]:
    people = await server.people(*names)
    for person in people:
        await person.joins("tea")
    return people


async def test_roles_are_told_and_shown(server: TestServer, ann: Person) -> None:
    (bob,) = await together(server, "bob")
    assert (ann.room("tea").role, bob.room("tea").role) == ("owner", "guest")
    await ann.room("tea").set_role("bob", "moderator")
    await bob.hears(mod.RoleChanged, user="bob", role="moderator")
    await ann.hears(mod.RoleChanged, user="bob", role="moderator")
    assert bob.room("tea").role == "moderator"
    assert ann.room("tea").state.members["bob"].role == "moderator"
    with pytest.raises(RequestFailed, match="forbidden"):
        await bob.room("tea").set_role("ann", "member")


async def test_a_renamed_room_goes_on(server: TestServer, ann: Person) -> None:
    (bob,) = await together(server, "bob")
    await bob.says("one", room="tea")
    handle, state = bob.room("tea"), bob.room("tea").state
    stream = handle.messages()
    await ann.room("tea").update(name="den", topic="cosy")
    assert ann.room("den").state.summary.topic == "cosy"
    await bob.hears(mod.RoomRenamed, room="den", was="tea")
    assert bob.room("den") is handle
    assert handle.state is state
    assert "tea" not in bob.client.rooms
    await handle.send("two")
    with trio.fail_after(5):
        first, second = await anext(stream), await anext(stream)
    assert [(one.room, one.text) for one in (first, second)] == [("den", "one"), ("den", "two")]
    assert [one.room for one in state.messages()] == ["den", "den"]
    await ann.creates("tea")
    await bob.joins("tea")
    assert bob.room("tea") is not handle


async def test_a_request_that_meets_a_renaming_is_made_again(server: TestServer, ann: Person) -> None:
    (bob,) = await together(server, "bob")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: ann.room("tea").update(name="den"))
        nursery.start_soon(bob.room("tea").send, "meanwhile")
        nursery.start_soon(bob.room("tea").users)
    assert [one.text for one in await ann.room("den").past_messages()] == ["meanwhile"]


async def test_a_room_renamed_while_one_was_away_goes_on(server: TestServer, ann: Person) -> None:
    bob = await server.person("bob", reconnect=SOON, entropy=Random(9))
    await bob.joins("tea")
    await bob.says("one", room="tea")
    handle, link = bob.room("tea"), bob.client._asking.link
    assert link is not None
    link.connection.abort()
    await ann.room("tea").update(name="den")
    await ann.creates("tea")
    await ann.says("two", room="den")
    await handle.send("three")
    assert bob.room("den") is handle
    assert "tea" not in bob.client.rooms
    await bob.hears("two", room="den")
    await bob.hears("three", room="den")
    assert [one.text for one in handle.state.messages()] == ["one", "two", "three"]


async def test_a_cursor_knows_a_room_under_another_name(tmp_path: Path, server: TestServer, ann: Person) -> None:
    async with Cursor(tmp_path / "cursor.db") as cursor:
        (bob,) = await together(server, "bob")
        await bob.says("one", room="tea")
        await bob.says("two", room="tea")
        stream = bob.room("tea").messages(after=0, cursor=cursor)
        await anext(stream)
        await stream.commit()
        await ann.room("tea").update(name="den")
        eve = await server.person("eve")
        room = await eve.joins("den", history=10)
        assert (await anext(room.messages(cursor=cursor))).text == "two"


async def test_a_removed_message_is_empty_for_everybody(server: TestServer, ann: Person) -> None:
    (bob,) = await together(server, "bob")
    said = await bob.says("rude", room="tea")
    await bob.says(b"rude too", room="tea")
    await ann.room("tea").delete_message(said, reason="rude")
    await bob.hears(mod.MessageDeleted, about=1, user="ann", seq=3)
    (eve,) = await together(server, "eve")
    for person in (ann, bob, eve):
        first = (await person.room("tea").past_messages())[0]
        assert (first.deleted, first.text, first.binary) == (True, "", None)
    shown = bob.room("tea").state.messages()[0]
    assert (shown.deleted, shown.text, shown.seq) == (True, "", 1)
    assert await ann.room("tea").delete_messages_of("bob") == 1
    with trio.fail_after(5):
        read = [await anext(stream) for stream in [bob.room("tea").messages(after=0)] for _ in range(2)]
    assert [(one.deleted, one.text, one.binary) for one in read] == [(True, "", None)] * 2
    with pytest.raises(RequestFailed, match="no_such_message"):
        await ann.room("tea").delete_message(99)


async def test_who_is_sent_out_is_told_why(server: TestServer, ann: Person) -> None:
    bob, eve = await together(server, "bob", "eve")
    out, streams = bob.room("tea"), [bob.room("tea").messages(), eve.room("tea").messages()]
    await ann.room("tea").kick("bob", "calm down")
    told = await bob.hears(mod.RemovedFromRoom, room="tea", reason="calm down", banned=False)
    assert told.by == "ann"
    assert out.removed is not None
    assert "tea" not in bob.client.rooms
    with pytest.raises(StopAsyncIteration):
        await anext(streams[0])
    again = await bob.joins("tea")
    assert again.removed is None
    before = datetime.now(UTC)
    ban = await ann.room("tea").ban("eve", for_=timedelta(hours=1), reason="spam")
    assert isinstance(ban, BanInfo)
    assert (ban.value, ban.room, ban.reason, ban.mute) == ("eve", "tea", "spam", False)
    assert ban.until is not None
    assert timedelta(minutes=59) < ban.until - before < timedelta(minutes=61)
    await eve.hears(mod.RemovedFromRoom, banned=True)
    with pytest.raises(RequestFailed, match="banned"):
        await eve.joins("tea")
    assert ban in await ann.room("tea").bans()
    await ann.room("tea").unban("eve")
    await eve.joins("tea")
    assert await ann.room("tea").bans() == []


async def test_who_is_muted_knows_until_when(server: TestServer, ann: Person) -> None:
    (bob,) = await together(server, "bob")
    await ann.room("tea").mute("bob", for_=timedelta(minutes=10), reason="loud")
    await bob.hears(mod.Muted, room="tea", reason="loud")
    assert bob.room("tea").state.muted is not None
    with pytest.raises(RequestFailed, match="muted"):
        await bob.says("but", room="tea")
    await ann.room("tea").unmute("bob")
    await bob.hears(mod.Unmuted)
    assert bob.room("tea").state.muted is None
    await bob.says("thanks", room="tea")


async def test_who_is_muted_or_freed_while_the_link_is_lost_knows_it_when_it_is_back(
    server: TestServer, ann: Person
) -> None:
    bob = await server.person("bob", reconnect=SOON, entropy=Random(36))
    await bob.joins("tea")
    room = bob.room("tea")
    for act, told in ((room_of(ann).mute, True), (room_of(ann).unmute, False)):
        assert bob.client._asking.link is not None
        bob.client._asking.link.connection.abort()
        await act("bob")
        assert (room.state.muted is None) is told, "it was back before"
        await bob.client.request(m.ListRooms())
        assert (room.state.muted is not None) is told


def room_of(ann: Person) -> chatkit.Room:
    return ann.room("tea")


async def test_a_private_room_is_for_those_who_are_invited(server: TestServer, ann: Person) -> None:
    bob, eve = await together(server, "bob", "eve")
    await eve.leaves("tea")
    await ann.room("tea").update(private=True)
    await eve.hears(m.RoomDeleted, room="tea")
    assert "tea" not in eve.client.state.rooms
    await ann.room("tea").invite("eve")
    await eve.hears(mod.Invited, room="tea")
    assert not eve.client.state.rooms["tea"].joined
    await eve.joins("tea")
    await ann.room("tea").withdraw("bob")
    await bob.hears(mod.RemovedFromRoom, room="tea")
    with pytest.raises(RequestFailed, match="no_such_room"):
        await bob.joins("tea")


async def test_a_closed_a_slow_and_a_silent_room(server: TestServer, ann: Person) -> None:
    (bob,) = await together(server, "bob")
    await ann.room("tea").update(read_only=True)
    with pytest.raises(RequestFailed, match="forbidden"):
        await bob.says("hm", room="tea")
    await ann.room("tea").update(read_only=False, slow=timedelta(minutes=1))
    assert ann.room("tea").state.summary.slow == 60
    await ann.room("tea").update(slow=0, closed=True)
    await bob.hears(mod.RemovedFromRoom, room="tea")
    for wrong in (-1, 90_000, timedelta(days=2)):
        with pytest.raises(UsageError):
            await ann.room("tea").update(slow=wrong)
    for term in (timedelta(0), timedelta(days=40_000)):
        with pytest.raises(UsageError):
            await ann.room("tea").ban("bob", for_=term)


async def test_what_was_done_is_written_down(server: TestServer, ann: Person) -> None:
    (bob,) = await together(server, "bob")
    for number in range(60):
        await ann.room("tea").update(topic=f"{number}")
    await ann.room("tea").kick("bob", "enough")
    found = [entry async for entry in ann.room("tea").audit()]
    assert [entry.act for entry in found] == ["kick"] + ["update_room"] * 60
    assert (found[0].by, found[0].whom, found[0].reason, found[0].room) == ("ann", "bob", "enough", "tea")
    assert abs(datetime.now(UTC) - found[0].at) < timedelta(minutes=1)
    assert found[1].details == {"topic": "59"}
    with pytest.raises(RequestFailed, match="forbidden"):
        await anext(bob.client.audit())


# ── accounts ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_account_on_two_devices(server: TestServer, ann: Person) -> None:
    tokens: list[str] = []
    phone = await server.person("ann", password="long enough", device="phone", on_token=tokens.append)
    assert tokens == [phone.client.token]
    devices = {device.label: device for device in await ann.client.sessions()}
    assert set(devices) == {"laptop", "phone"}
    assert devices["laptop"].current
    assert devices["phone"].online
    assert not devices["phone"].api
    await phone.renames("anna")
    await ann.hears(m.UserRenamed, user="anna", was="ann")
    assert ann.client.user == "anna"
    await ann.client.revoke(devices["phone"])
    why = await phone.client.wait_closed()
    assert isinstance(why, chatkit.Disconnected)
    assert not why.reconnect
    with pytest.raises(RequestFailed, match="bad_credentials"):
        async with server.server.connect(user="ann", token=phone.client.token):
            pass


async def test_the_newest_token_comes_back_never_the_password(server: TestServer, ann: Person) -> None:
    tokens: list[str] = []
    options: dict[str, Any] = {"password": "long enough", "reconnect": SOON, "on_token": tokens.append}
    async with server.server.connect(user="ann", **options) as client:
        for _ in range(3):
            assert client._asking.link is not None
            client._asking.link.connection.abort()
            await client.rooms["general"].send("again")
        assert len(tokens) == len(set(tokens)) == 4
        assert client.token == tokens[-1]
        assert client._entrance.login.password is None
        await ann.client.change_password("long enough", "longer still")
        await client.wait_closed()
    with pytest.raises(RequestFailed, match="bad_credentials"):
        async with server.server.connect(user="ann", token=tokens[-1]):
            pass


async def test_a_login_on_an_abandoned_link_that_arrives_late_is_known_to_be_old(server: TestServer) -> None:
    async with server.server.connect(user="ann", reconnect=SOON) as client:
        assert client._asking.link is not None
        client._asking.link.connection.abort()
        await client.rooms["general"].send("back")
        first = m.Login(user="ann", token=client.token, attempt=m.Attempt(client=client._entrance.run, number=1))
        async with trio.open_nursery() as nursery:
            link = await client._dial.connect(nursery, lambda event, at: None)
            await link.hello()
            nursery.start_soon(link.run)
            call = Call(first, None, once=True)
            await link.send(call)
            with pytest.raises(RequestFailed, match="a later link of yours"):
                await call.wait()
            link.connection.abort()
        await client.rooms["general"].send("not replaced")


async def test_who_is_let_in_no_more_is_closed_for_good(server: TestServer, ann: Person) -> None:
    async with server.server.connect(user="ann", password="long enough", reconnect=SOON, entropy=Random(9)) as phone:
        assert phone._asking.link is not None
        phone._asking.link.connection.abort()
        await ann.client.revoke()
        why = await phone.wait_closed()
        assert isinstance(phone.status, Closed)
        assert isinstance(why, RequestFailed)
        assert why.code == "bad_credentials"
        with pytest.raises(chatkit.Disconnected):
            await phone.rooms["general"].send("no")


async def test_a_token_for_a_program(server: TestServer, ann: Person) -> None:
    made = await ann.client.create_token("robot", role="bot", life=timedelta(days=90))
    robot = await server.person("whoever", token=made.token)
    assert (robot.client.user, robot.client.role) == ("ann", "bot")
    await ann.client.revoke(made.id)
    await robot.client.wait_closed()


async def test_logging_out(server: TestServer) -> None:
    tokens: list[str] = []
    bob = await server.person("bob", password="long enough", register=True, on_token=tokens.append)
    await bob.client.logout()
    why = await bob.client.wait_closed()
    assert isinstance(why, chatkit.Disconnected)
    assert (tokens[-1], bob.client.token) == ("", "")


async def test_what_guests_have_not(server: TestServer) -> None:
    eve = await server.person("eve")
    for ask in (eve.client.sessions(), eve.client.logout(), eve.client.bans(), eve.client.kick("x")):
        with pytest.raises(RequestFailed, match="forbidden"):
            await ask
    with pytest.raises(UsageError):
        async with server.server.connect(user="x", register=True):
            pass
