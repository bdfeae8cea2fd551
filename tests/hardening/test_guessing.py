"""Guessing passwords over real links: how many are compared, what the answers tell, and whether the chat goes on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
import trio
from raw import Member, greet, raw_link

from chatkit import Server, ServerConfig, open_server
from chatkit.server.acts import add_account
from chatkit.server.operator import open_operator
from chatkit.server.passwords import Passwords

PASSWORD = "correct horse battery"
AT_ONCE = 100
"""Links that a guesser holds at a time."""


@asynccontextmanager
async def populated(folder: Path, people: int) -> AsyncIterator[Server]:
    """A server with accounts, behind a proxy that says where somebody comes from."""
    store = f"sqlite:///{folder}/chat.db"
    hash = await Passwords().hash(PASSWORD)
    async with open_operator(store, make=True) as operator:
        for number in range(people):
            await operator.do(add_account(f"person{number}", "member", hash))
    config = ServerConfig(
        trusted_proxies=("127.0.0.1",), max_connections_per_address=5000, max_strangers_per_address=5000
    )
    async with open_server(store, listen=["tcp://127.0.0.1:0"], config=config) as server:
        yield server


async def log_in(server: Server, address: str, user: str, password: str | None, **more: Any) -> dict[str, Any]:
    """Try to log in from an address; return the reply."""
    async with raw_link(server.addresses[0]) as raw:
        await raw.send(f"PROXY TCP4 {address} 127.0.0.1 1 2\r\n".encode())
        here = Member(raw, lines=True)
        await greet(here)
        return await here.ask("login", user=user, password=password, **more)


async def all_of(server: Server, tries: list[tuple[str, str, str]]) -> list[dict[str, Any]]:
    """Make all tries as fast as possible; return the replies as they come."""
    replies: list[dict[str, Any]] = []
    limit = trio.CapacityLimiter(AT_ONCE)

    async def attempt(address: str, user: str, password: str) -> None:
        async with limit:
            replies.append(await log_in(server, address, user, password))

    async with trio.open_nursery() as nursery:
        for one in tries:
            nursery.start_soon(attempt, *one)
    return replies


def told(reply: dict[str, Any]) -> str:
    return str(reply["data"]["code"] if reply["action"] == "error" else "success")


@pytest.mark.parametrize(
    "whence",
    [
        lambda number: ("10.0.0.1", "person1"),
        lambda number: (f"10.0.{number % 250}.{number // 250 + 1}", "person1"),
        lambda number: ("10.0.0.1", f"person{number % 20}"),
        lambda number: ("10.0.0.1", f"nobody{number}"),
    ],
    ids=["one address", "many addresses", "one address, many names", "one address, names that are none"],
)
async def test_of_a_thousand_guesses_ten_are_compared_at_most_in_a_minute(
    whence: Callable[[int], tuple[str, str]], tmp_path: Path
) -> None:
    async with populated(tmp_path, 20) as server:
        began = perf_counter()
        replies = await all_of(server, [(*whence(number), f"guess {number}") for number in range(1000)])
        minutes = (perf_counter() - began) / 60
        answers = Counter(map(told, replies))
        assert set(answers) == {"bad_credentials", "rate_limited"}
        assert answers["bad_credentials"] <= 10 + 10 * minutes
        refused = [reply["data"] for reply in replies if told(reply) == "rate_limited"]
        assert {reply["scope"] for reply in refused} == {"login"}
        assert all(reply["retry_after"] > 0 for reply in refused)


async def test_an_owner_gets_in_while_others_guess(tmp_path: Path) -> None:
    async with populated(tmp_path, 2) as server:
        assert told(await log_in(server, "192.0.2.1", "person1", PASSWORD)) == "success"
        stop = trio.Event()

        async def guess(address: str) -> None:
            while not stop.is_set():
                await log_in(server, address, "person1", "a guess")

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(guess, f"10.0.0.{number + 1}")
            for _ in range(10):
                assert told(await log_in(server, "192.0.2.1", "person1", PASSWORD)) == "success"
            assert told(await log_in(server, "192.0.2.9", "person1", PASSWORD)) == "rate_limited"
            stop.set()


async def test_a_name_that_is_none_is_refused_in_the_same_bytes_after_the_same_work(tmp_path: Path) -> None:
    async with populated(tmp_path, 5) as server:
        seconds: dict[str, list[float]] = {"person": [], "nobody": []}
        replies = set()
        for number in range(5):
            for kind, measured in seconds.items():
                began = perf_counter()
                reply = await log_in(server, f"10.0.{number}.{len(measured)}", f"{kind}{number}", "a guess")
                measured.append(perf_counter() - began)
                reply.pop("timestamp")
                replies.add(json.dumps(reply))
        assert len(replies) == 1
        assert min(seconds["nobody"]) < 4 * min(seconds["person"])
        assert min(seconds["person"]) < 4 * min(seconds["nobody"])


async def test_two_hundred_logins_at_once_leave_the_chat_its_time(tmp_path: Path) -> None:
    async with populated(tmp_path, 200) as server, server.connect(user="talker") as talker:
        waits: list[float] = []
        over = trio.Event()

        async def talk() -> None:
            while not over.is_set():
                began = perf_counter()
                await talker.rooms["general"].send("still here")
                waits.append(perf_counter() - began)
                await trio.sleep(0.05)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk)
            tries = [(f"10.0.0.{number + 1}", f"person{number}", PASSWORD) for number in range(200)]
            replies = await all_of(server, tries)
            over.set()
        assert Counter(map(told, replies)) == {"success": 200}
        assert len(waits) > 20
        assert sorted(waits)[len(waits) * 9 // 10] < 0.4


async def test_an_office_comes_in_at_once_from_one_address(tmp_path: Path) -> None:
    async with populated(tmp_path, 40) as server:
        replies = await all_of(server, [("10.0.0.1", f"person{number}", PASSWORD) for number in range(40)])
        assert Counter(map(told, replies)) == {"success": 40}


async def test_those_who_come_back_by_token_are_not_counted(tmp_path: Path) -> None:
    async with populated(tmp_path, 1) as server:
        reply = await log_in(server, "10.0.0.1", "person0", PASSWORD)
        for _ in range(10):
            refused = await log_in(server, "10.0.0.1", "person0", "wrong")
        assert told(refused) == "rate_limited"
        for _ in range(100):
            reply = await log_in(server, "10.0.0.1", "person0", None, token=reply["data"]["token"])
            assert told(reply) == "success"
