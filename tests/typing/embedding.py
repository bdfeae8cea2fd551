"""A program that embeds a server, talks to it and adds an action of its own. Never run: only type-checked, strictly.

What an editor knows about each expression is part of the interface.
"""

from __future__ import annotations

from typing import assert_type

from attrs import frozen

import chatkit
from chatkit.protocol import STANDARD, Codec, EventEnvelope, Failure, History, HistoryPage, Nothing, Position, Success
from chatkit.protocol.messages import Event, ReceiveMessage, Request, SendMessage, Sent, UserInfo


@frozen(kw_only=True)
class Rolled:
    """What a die showed."""

    eyes: int


@frozen(kw_only=True)
class Roll(Request[Rolled]):
    """Roll a die before everybody's eyes."""

    action = "dice.roll"
    room: str
    sides: int = 6


@frozen(kw_only=True)
class DieRolled(Event):
    """Somebody rolled a die."""

    action = "dice.rolled"
    room: str
    seq: int
    eyes: int


dice = chatkit.Extension()
dice.event(DieRolled)


@dice.action(Roll)
async def roll(context: chatkit.RequestContext, request: Roll) -> Rolled:
    eyes = min(4, request.sides)
    position = await context.publish(DieRolled(room=request.room, seq=0, eyes=eyes))
    assert_type(position, Position | None)
    assert_type(context.user, UserInfo | None)
    return Rolled(eyes=eyes)


async def embed() -> None:
    async with chatkit.open_server("memory://", listen=["tcp://127.0.0.1:0"], extensions=[dice]) as server:
        assert_type(server, chatkit.Server)
        assert_type(server.addresses, tuple[str, ...])
        async with chatkit.connect(server.addresses[0], user="ann", events=[DieRolled]) as ann:
            await talk(ann)


async def talk(client: chatkit.Client) -> None:
    room = await client.join("general", history=20)
    assert_type(room, chatkit.Room)
    assert_type(await room.send("hello"), chatkit.Message)
    assert_type(await room.send(b"\x00\x01", reply_to=1), chatkit.Message)
    assert_type(await client.request(Roll(room="general")), Rolled)
    assert_type(await client.request(History(room="general", before=10)), HistoryPage)
    assert_type(await room.users(), list[UserInfo])
    assert_type(client.rooms, dict[str, chatkit.Room])
    async for message in room.messages():
        assert_type(message, chatkit.Message)
        assert_type(message.position, Position)


def read(raw: bytes) -> str:
    codec = Codec("msgpack", STANDARD.including([Roll], [DieRolled]))
    match codec.decode(raw):
        case Success() as success:
            assert_type(codec.reply(success, Roll), Rolled)
            assert_type(codec.reply(success, SendMessage), Sent)
            return "done"
        case Failure() as failure:
            assert_type(failure.retry_after, float | None)
            return failure.message
        case EventEnvelope(event=ReceiveMessage() as message):
            assert_type(message.text, str | None)
            return message.text or ""
        case EventEnvelope():
            return "something else"


def refused(error: chatkit.RequestFailed, lost: chatkit.Disconnected) -> None:
    assert_type(error.code, str)
    assert_type(error.retry_after, float | None)
    assert_type(lost.reconnect, bool)
    assert_type(Nothing(), Nothing)
