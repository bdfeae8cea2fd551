"""A program's own actions, events and hooks, on the wire."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from attrs import evolve, frozen
from wires import Site, Wire, site

from chatkit.errors import RequestFailed, UsageError
from chatkit.protocol import messages as m
from chatkit.protocol.bounds import Between
from chatkit.server import Extension, RequestContext, open_server


@frozen(kw_only=True)
class Moved(m.Event):
    action = "game.moved"
    room: str
    seq: int
    x: Annotated[int, Between(0, 9)]
    by: str | None = None


@frozen(kw_only=True)
class Cheered(m.Event):
    action = "game.cheered"
    room: str
    user: str


@frozen(kw_only=True)
class Played(m.Nothing):
    seq: int
    share: float = 0.5


@frozen(kw_only=True)
class Play(m.Request[Played]):
    action = "game.play"
    room: str
    x: int
    op: str | None = None


@frozen(kw_only=True)
class Misbehave(m.Request[Played]):
    action = "game.misbehave"
    how: str
    room: str | None = None


def game() -> Extension:
    extension = Extension()
    extension.event(Moved)
    extension.event(Cheered)

    @extension.action(Play)
    async def play(context: RequestContext, request: Play) -> Played:
        assert context.user is not None
        await context.publish(Cheered(room=request.room, user=context.user.user))
        context.tell(m.System(text="well played"))
        position = await context.publish(
            Moved(room=request.room, seq=0, x=request.x, by=context.user.user), op=request.op
        )
        assert position is not None
        return Played(seq=position.seq)

    @extension.action(Misbehave)
    async def misbehave(context: RequestContext, request: Misbehave) -> Any:
        match request.how:
            case "raise":
                raise KeyError("oops")
            case "refuse":
                raise RequestFailed("too_late", "the game is over", retry_after=3)
            case "wrong reply":
                return m.Nothing()
            case "no reply":
                return None
            case "nan":
                return Played(seq=1, share=float("nan"))
            case "surrogate":
                await context.publish(Cheered(room="general", user="\ud800"))
            case "wrong type":
                await context.publish(Moved(room="general", seq=0, x="one"))  # type: ignore[arg-type]
            case "out of bounds":
                await context.publish(Moved(room="general", seq=0, x=10))
            case "no room":
                await context.publish(m.System(text="to whom?"))
            case "another room":
                await context.publish(Cheered(room="tea", user="me"))
        return Played(seq=0)

    return extension


async def two(here: Site, kind: str = "tcp") -> tuple[Wire, Wire]:
    ann, bob = await here.user("ann", kind), await here.user("bob")
    await bob.sync()
    bob.events.clear()
    return ann, bob


async def test_a_durable_event_is_live_in_history_and_at_most_once_per_op(kind: str) -> None:
    async with site(extensions=[game()]) as here:
        ann, bob = await two(here, kind)
        await ann.data("send_message", room="general", text="one")
        assert await ann.data("game.play", room="GENERAL", x=7, op="a") == {"seq": 2, "share": 0.5}
        assert (await bob.event("game.cheered"))["data"] == {"room": "general", "user": "ann"}
        moved = await bob.event("game.moved")
        assert moved["data"] == {"room": "general", "seq": 2, "x": 7, "by": "ann"}
        assert (await ann.data("game.play", room="general", x=7, op="a"))["seq"] == 2
        assert await ann.code("game.play", room="general", x=8, op="a") == "op_conflict"
        page = await bob.data("history", room="general", after=1)
        assert page["events"] == [moved]
        assert (await bob.data("join_room", room="general", last=1))["events"] == [moved]


async def test_only_who_is_in_the_room_is_served(kind: str) -> None:
    async with site(extensions=[game()]) as here:
        wire = await here.wire(kind)
        assert await wire.code("game.play", room="general", x=1) == "not_logged_in"
        await wire.data("login", user="ann")
        assert await wire.code("game.play", room="nowhere", x=1) == "no_such_room"
        assert await wire.code("game.play", room="general") == "bad_request"
        await wire.data("leave_room", room="general")
        assert await wire.code("game.play", room="general", x=1) == "not_in_room"


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("raise", "internal_error"),
        ("wrong reply", "internal_error"),
        ("no reply", "internal_error"),
        ("nan", "internal_error"),
        ("surrogate", "internal_error"),
        ("wrong type", "internal_error"),
        ("out of bounds", "internal_error"),
        ("no room", "internal_error"),
        ("another room", "no_such_room"),
        ("refuse", "too_late"),
    ],
)
async def test_a_handler_that_fails_is_answered_and_harms_nobody(how: str, code: str, kind: str) -> None:
    async with site(extensions=[game()]) as here:
        ann, bob = await two(here, kind)
        reply = await ann.ask("game.misbehave", ref=9, how=how)
        assert (reply["action"], reply["ref"], reply["data"]["code"]) == ("error", 9, code)
        assert reply["data"].get("retry_after") == (3 if how == "refuse" else None)
        assert "oops" not in reply["data"]["message"]
        await ann.data("send_message", room="general", text="still here")
        assert await bob.texts("still here") == [(1, "still here")]


async def test_hooks_look_at_requests_in_turn_and_amend_or_veto() -> None:
    manners = Extension()

    @manners.before(m.SendMessage)
    async def no_shouting(context: RequestContext, request: m.SendMessage) -> m.SendMessage:
        assert context.user is not None
        assert context.user.user == "ann"
        if request.text == "DAMN":
            raise RequestFailed("rude", "please")
        return evolve(request, text=(request.text or "").lower())

    @manners.before(m.SendMessage, m.CreateRoom)
    async def mark(context: RequestContext, request: Any) -> Any:
        return evolve(request, text=f"{request.text}!") if isinstance(request, m.SendMessage) else request

    async with site(extensions=[manners]) as here:
        ann = await here.user("ann")
        await ann.data("send_message", room="general", text="HELLO")
        assert await ann.texts("hello!") == [(1, "hello!")]
        assert await ann.code("send_message", room="general", text="DAMN") == "rude"
        assert (await ann.data("create_room", room="Tea"))["room"] == "Tea"
        assert (await ann.data("send_message", room="general", text="Again"))["seq"] == 2


@pytest.mark.parametrize("result", [None, 1, "request"])
async def test_a_hook_that_fails_is_an_internal_error(result: object) -> None:
    careless = Extension()

    @careless.before(m.SendMessage)
    async def forgets_to_return(context: RequestContext, request: m.SendMessage) -> Any:
        if request.text == "raise":
            raise ValueError("oops")
        return result

    async with site(extensions=[careless]) as here:
        ann = await here.user("ann")
        assert await ann.code("send_message", room="general", text="hello") == "internal_error"
        assert await ann.code("send_message", room="general", text="raise") == "internal_error"
        assert (await ann.data("list_rooms"))["more"] is False


async def test_a_hook_sees_a_login_too() -> None:
    bouncer = Extension()

    @bouncer.before(m.Login)
    async def not_eve(context: RequestContext, request: m.Login) -> m.Login:
        assert context.user is None
        if request.user == "eve":
            raise RequestFailed("banned", "not you")
        return request

    async with site(extensions=[bouncer]) as here:
        wire = await here.wire()
        assert await wire.code("login", user="eve") == "banned"
        assert (await wire.data("login", user="ann"))["user"] == "ann"


async def test_replies_keep_the_order_of_requests_through_a_slow_handler() -> None:
    async with site(extensions=[game()]) as here:
        ann = await here.user("ann")
        for number in range(30):
            if number % 3:
                await ann.send("send_message", number, room="general", text=str(number))
            else:
                await ann.send("game.play", number, room="general", x=number % 10)
        assert [(await ann.reply())["ref"] for _ in range(30)] == list(range(30))


async def test_extensions_that_collide_are_refused() -> None:
    with pytest.raises(UsageError, match=r"game\.play"):
        async with open_server("memory://", listen=(), extensions=[game(), game()]):
            pass
    with pytest.raises(UsageError, match="handler already"):
        game_twice = game()
        game_twice.action(Play)
