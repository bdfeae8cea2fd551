"""The commands that every frontend shares."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

import chatkit
from chatkit.frontends.commands import COMMANDS, Call, Conversation, Needs, Say, needs_of, parse


@asynccontextmanager
async def conversation() -> AsyncIterator[Conversation]:
    async with chatkit.open_server("memory://", listen=()) as server, server.connect(user="ann") as client:
        yield Conversation(client)


@given(st.text())
def test_whatever_is_typed_means_something_or_is_explained(line: str) -> None:
    explained, meant = "", None
    try:
        meant = parse(line)
    except chatkit.UsageError as error:
        explained = str(error)
    assert meant is None or isinstance(meant, Say | Call)
    assert not isinstance(meant, Say) or meant.text in (line, line[1:])
    assert bool(explained) <= line.startswith("/")
    assert meant is not None or explained or not line.strip()


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("hello", Say("hello")),
        ("  indented", Say("  indented")),
        ("//quit", Say("/quit")),
        ("", None),
        ("  ", None),
        ("/quit", Call(COMMANDS["quit"], "")),
        ("/JOIN  tea ", Call(COMMANDS["join"], "tea")),
        ("/create tea green or black?", Call(COMMANDS["create"], "tea green or black?")),
    ],
)
def test_parsing(line: str, meant: object) -> None:
    assert parse(line) == meant


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("/jion tea", "there is no command /jion: did you mean /join?"),
        ("/", "there is no command /: /help lists the commands"),
        ("/join", "/join needs something behind it: /join ROOM"),
    ],
)
def test_what_cannot_be_parsed(line: str, sentence: str) -> None:
    with pytest.raises(chatkit.UsageError) as caught:
        parse(line)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("lines", "needs"),
    [
        (("/quit", "/quit now", "/help", "/whoami", "/rooms", "/topic", "/nope", "/join", "", " "), Needs.NOTHING),
        (("hello", "//quit", "/join tea", "/topic tea", "/users", "/binary x"), Needs.ANSWER),
        (("/password", "/register", "/register code"), Needs.PASSWORD),
    ],
)
def test_what_a_line_needs(lines: tuple[str, ...], needs: Needs) -> None:
    assert {line: needs_of(line) for line in lines} == dict.fromkeys(lines, needs)


async def test_going_from_room_to_room() -> None:
    async with conversation() as talk:
        await talk.do("/create tea green or black?")
        assert talk.current == "tea"
        assert await talk.do("/rooms") == ("+ general (1)", "> tea (1)  green or black?")
        await talk.do("only here")
        await talk.do("/join general")
        assert talk.current == "general"
        await talk.do("/join tea")
        assert await talk.do("/leave") == ("you have left tea and are back in general",)
        with pytest.raises(chatkit.UsageError, match="general is where everybody starts"):
            await talk.do("/leave")
        assert await talk.do("/quit") == ()
        assert talk.over


async def test_a_room_there_is_not_with_the_nearest_name() -> None:
    async with conversation() as talk:
        for typed, hint in (("Generl", "did you mean 'general'?"), ("kitchen", "/rooms lists those there are")):
            with pytest.raises(chatkit.RequestFailed) as caught:
                await talk.do(f"/join {typed}")
            assert caught.value.code == "no_such_room"
            assert caught.value.message == f"there is no room '{typed}'; {hint}"


async def test_a_current_room_that_is_deleted_is_left_for_home() -> None:
    async with conversation() as talk:
        events = talk.client.events()
        await talk.do("/create tea")
        await talk.client.rooms["tea"].delete()
        while talk.current == "tea":
            talk.take((await anext(events)).event)
        assert talk.current == "general"
        await talk.do("hello")


async def test_what_cannot_be_sent_is_refused_before_sending() -> None:
    async with conversation() as talk:
        for said in (" \t", "x" * 70_000, b"x" * 60_000):
            with pytest.raises(chatkit.UsageError):
                await talk.say(said)
        assert (await talk.say(b"\x00\xff")).binary == b"\x00\xff"


async def test_help_has_every_command() -> None:
    async with conversation() as talk:
        helped = "\n".join(await talk.do("/help"))
    assert all(f"/{name}" in helped for name in COMMANDS)
