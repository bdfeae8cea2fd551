"""A clock on the wall that is set a day forth and back: order, limits, deadlines and tokens stay sane."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle

import pytest
import trio
import trio.testing
from attrs import define
from raw import member
from tests.server.wires import Wire, site

import chatkit
from chatkit.server import ServerConfig, open_server

DAY_MS = 86_400_000
NOON = 1_795_000_000_000


@define(eq=False)
class WallClock:
    """Shows another day each time somebody looks, or stands where it was set."""

    offset: int = 0
    jumps: Iterator[int] | None = None

    def now_ms(self) -> int:
        if self.jumps is not None:
            self.offset = next(self.jumps)
        return NOON + self.offset


def jumping() -> WallClock:
    return WallClock(jumps=cycle((0, DAY_MS, -DAY_MS, 1, -1, DAY_MS - 1, -7 * DAY_MS)))


@pytest.mark.parametrize("kind", ["ws", "tcp"])
async def test_order_is_that_of_the_log(kind: str) -> None:
    config = ServerConfig(rate_limits=False, now_ms=jumping().now_ms)
    async with open_server("memory://", listen=["ws://127.0.0.1:0", "tcp://127.0.0.1:0"], config=config) as server:
        url = server.addresses[kind == "tcp"]
        async with member(url, user="ann") as ann, member(url, user="bob") as bob:
            for number in range(100):
                reply = await ann.ask("send_message", number, room="general", text=str(number))
                assert reply["data"]["seq"] == number + 1
            heard = []
            while len(heard) < 100:
                envelope = await bob.hear()
                assert envelope is not None
                if envelope["action"] == "receive_message":
                    heard.append((envelope["data"]["seq"], envelope["data"]["text"]))
            assert heard == [(number + 1, str(number)) for number in range(100)]
            page = (await bob.ask("history", room="general", after=0, limit=1000))["data"]["events"]
            assert [(event["data"]["seq"], event["data"]["text"]) for event in page] == heard
            back = (await bob.ask("history", room="general", before=51, limit=20))["data"]["events"]
            assert [event["data"]["seq"] for event in back] == list(range(31, 51))
            assert len({event["timestamp"][:10] for event in page}) > 2, "the clock stood still"


async def test_our_client_resumes_and_keeps_its_name() -> None:
    config = ServerConfig(rate_limits=False, now_ms=jumping().now_ms)
    async with open_server("memory://", listen=(), config=config) as server, server.connect(user="bob") as bob:
        async with server.connect(user="ann") as ann:
            for number in range(30):
                if number % 10 == 5:
                    for session in list(server._core.sessions.values()):
                        session.connection.abort()
                await ann.rooms["general"].send(str(number))
            token = ann.token
        async with server.connect(user="ann", token=token) as again:
            assert again.user == "ann"
            await again.rooms["general"].send("30")
        page = await bob.rooms["general"].past_messages(limit=1000)
        assert [message.text for message in page] == [str(number) for number in range(31)]


async def test_limits_and_deadlines_do_not_look_at_it(autojump_clock: trio.testing.MockClock) -> None:
    wall = WallClock()
    config = ServerConfig(now_ms=wall.now_ms)
    async with site(config=config, listen=["memory://"]) as here:
        ann = await here.user("ann", "memory")

        async def say() -> dict[str, object]:
            reply: dict[str, object] = (await ann.ask("send_message", room="general", text="x"))["data"]
            return reply

        silent = await here.wire("memory")
        for _ in range(int(config.rates.messages.burst)):
            assert "seq" in await say()
        for wall.offset in (DAY_MS, -DAY_MS, 0):
            refused = await say()
            assert refused["code"] == "rate_limited"
            assert 0 < float(str(refused["retry_after"])) <= 0.1
        await trio.sleep(config.login_timeout - 1)
        wall.offset = DAY_MS
        assert await still_there(silent)
        assert "seq" in await say()
        wall.offset = -DAY_MS
        await trio.sleep(2)
        assert not await still_there(silent)
        assert "seq" in await say()


async def still_there(wire: Wire) -> bool:
    with trio.move_on_after(0.01):
        return await wire.receive_raw() is not None
    return True


async def test_a_token_is_good_on_every_day(autojump_clock: trio.testing.MockClock) -> None:
    wall = WallClock()
    async with site(config=ServerConfig(now_ms=wall.now_ms), listen=["memory://"]) as here:
        ann = await here.user("ann", "memory")
        for wall.offset in (DAY_MS, -DAY_MS, 365 * DAY_MS):
            newer = await here.wire("memory")
            reply = await newer.data("login", user="ann", token=ann.token)
            assert reply["user"] == "ann"
            assert (await ann.wait_end())[0] == 4409
            newer.token, ann = reply["token"], newer
            stranger = await here.wire("memory")
            assert await stranger.code("login", user="ann") == "name_taken"


async def test_a_server_that_starts_on_an_earlier_day_goes_on(tmp_path: object) -> None:
    store = f"sqlite:///{tmp_path}/chat.db"
    for start, offset in enumerate((0, -DAY_MS, DAY_MS)):
        config = ServerConfig(now_ms=WallClock(offset).now_ms)
        async with chatkit.open_server(store, listen=(), config=config) as server, server.connect(user="ann") as ann:
            assert (await ann.rooms["general"].send(str(start))).seq == start + 1
            page = await ann.rooms["general"].past_messages()
            assert [message.text for message in page] == [str(number) for number in range(start + 1)]
