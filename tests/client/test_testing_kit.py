"""The kit users test with: a server in memory, people who talk and hear, failures that show the conversation."""

from __future__ import annotations

import subprocess
import sys

import pytest
import trio

from chatkit import RequestFailed
from chatkit.errors import UsageError
from chatkit.protocol.messages import ReceiveMessage, UserJoined, UserLeft
from chatkit.testing import NotAsExpected, open_test_server


async def test_people_talk_and_hear(autojump_clock: trio.testing.MockClock) -> None:
    async with open_test_server() as server:
        ann, bob = await server.people("ann", "bob")
        await ann.says("hello")
        event = await bob.hears("hello", by="ann", room="general")
        assert isinstance(event, ReceiveMessage)
        await bob.says(b"\x00\x01")
        await ann.hears(b"\x00\x01", by="bob")
        await bob.hears_nothing()


@pytest.mark.parametrize("scheme", ["ws", "tcp"])
async def test_people_come_over_any_binding(scheme: str) -> None:
    async with open_test_server(listen=[f"{scheme}://127.0.0.1:0"]) as server:
        ann, bob = await server.person("ann", over=scheme), await server.person("bob")
        await bob.says("hello")
        await ann.hears("hello")
        with pytest.raises(UsageError, match="does not listen"):
            server.address("tls")


async def test_another_message_than_expected_is_shown_as_a_difference(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_test_server() as server:
        ann, bob = await server.people("ann", "bob")
        await ann.says("one")
        await ann.says("two")
        await bob.hears("one")
        with pytest.raises(NotAsExpected) as caught:
            await bob.hears("three")
        lines = str(caught.value).splitlines()
        assert lines[0] == "bob heard something else"
        assert "  - […] …: 'three'" in lines
        assert "  + [general] ann: 'two'" in lines
        assert "    [general] ann: 'one'" in lines


async def test_silence_where_something_is_expected_fails_by_the_clock(autojump_clock: trio.testing.MockClock) -> None:
    async with open_test_server() as server:
        ann = await server.person("ann")
        before = trio.current_time()
        with pytest.raises(NotAsExpected, match=r"did not hear it within 7 s\nexpected user_left user='bob'"):
            await ann.hears(UserLeft, user="bob", within=7)
        assert trio.current_time() - before == pytest.approx(7)


async def test_a_message_where_nothing_is_expected_fails(autojump_clock: trio.testing.MockClock) -> None:
    async with open_test_server() as server:
        ann, bob = await server.people("ann", "bob")
        await ann.says("psst")
        await ann.hears_nothing()
        with pytest.raises(NotAsExpected, match="psst"):
            await bob.hears_nothing()


async def test_people_act_and_are_noticed(autojump_clock: trio.testing.MockClock) -> None:
    async with open_test_server() as server:
        ann, bob = await server.people("ann", "bob")
        await ann.creates("tea")
        await bob.joins("tea")
        await ann.hears(UserJoined, user="bob", room="tea")
        await bob.renames("rob")
        await ann.hears(lambda event: getattr(event, "was", None) == "bob")
        await bob.leaves("tea")
        await ann.hears(UserLeft, user="rob", room="tea", users=1)
        await bob.goes()
        await ann.hears(UserLeft, user="rob", room="general")
        assert "user_left room='tea' user='rob' users=1" in ann.transcript()
        with pytest.raises(UsageError, match="not in 'tea'"):
            bob.room("tea")


async def test_a_refused_login_comes_out_bare() -> None:
    async with open_test_server() as server:
        await server.person("ann")
        with pytest.raises(RequestFailed, match="taken"):
            await server.person("ANN")


async def test_what_the_block_raises_comes_out_bare() -> None:
    async def fail_with_somebody_there() -> None:
        async with open_test_server() as server:
            await server.person("ann")
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await fail_with_somebody_there()


def test_the_kit_needs_neither_pytest_nor_hypothesis() -> None:
    program = (
        "import sys; sys.modules |= dict.fromkeys(['pytest', '_pytest', 'hypothesis']); import chatkit.testing as kit; "
        "[getattr(kit, name) for name in kit.__all__ if name != 'strategies']"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
