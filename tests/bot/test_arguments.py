"""Arguments: every type, every refusal in one sentence, and whatever is typed never another exception."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Annotated, Any, Literal, Optional, Union

import pytest
from hypothesis import given
from hypothesis import strategies as st
from party import Party

from chatkit import Bot, Context
from chatkit.bot import BadArgument, Message, Room, User, quote
from chatkit.bot.arguments import Signature
from chatkit.bot.converting import Converters
from chatkit.errors import UsageError


class Colour(Enum):
    RED = "r"
    GREEN = "g"


class Place:
    """Stands in for a context where only the time of day is asked for."""

    def now(self) -> datetime:
        return datetime(2030, 1, 1, 12, tzinfo=UTC)


async def fill(function: Any, line: str) -> tuple[list[Any], dict[str, Any]]:
    return await Signature.of(function).fill(line, Place(), Converters(), "!x")  # type: ignore[arg-type]


def taking(kind: Any) -> Any:
    async def handler(ctx: Any, value: Any) -> None: ...

    handler.__annotations__["value"] = kind
    return handler


@pytest.mark.parametrize(
    ("kind", "word", "value"),
    [
        (str, "a", "a"),
        (int, "-12", -12),
        (float, "1,5", 1.5),
        (float, "1e3", 1000.0),
        (bool, "Yes", True),
        (bool, "off", False),
        (Colour, "red", Colour.RED),
        (Colour, "G", Colour.GREEN),
        (Literal["up", "down"], "UP", "up"),
        (Literal[1, 2], "2", 2),
        (Optional[int], "3", 3),  # noqa: UP045 - as people write it
        (int | None, "3", 3),
        (Union[str, int], "3", 3),  # noqa: UP007
        (int | str, "x", "x"),
        (Annotated[int, "note"], "3", 3),
        (timedelta, "1h30m", timedelta(hours=1, minutes=30)),
        (timedelta, '"2 days"', timedelta(days=2)),
        (timedelta, "90s", timedelta(seconds=90)),
        (datetime, "18:30", datetime(2030, 1, 1, 18, 30, tzinfo=UTC)),
        (datetime, "09:00", datetime(2030, 1, 2, 9, tzinfo=UTC)),
        (datetime, "2026-11-20T18:30+02:00", datetime(2026, 11, 20, 16, 30, tzinfo=UTC)),
        (list[int], "1 2 3", [1, 2, 3]),
        (list, "a b", ["a", "b"]),
    ],
)
async def test_words_become_values(kind: Any, word: str, value: Any) -> None:
    assert await fill(taking(kind), word) == ([value], {})


@pytest.mark.parametrize(
    ("kind", "word", "sentence"),
    [
        (int, "abc", "value: expected a whole number, not “abc”. Usage: !x"),
        (int, "", "value is missing: expected a whole number. Usage: !x"),
        (int, "9" * 5000, f"value: expected a whole number, not “{'9' * 39}…”. Usage: !x"),
        (float, "nan", "value: expected a number, not “nan”. Usage: !x"),
        (bool, "maybe", "value: expected yes or no, not “maybe”. Usage: !x"),
        (Colour, "blue", "value: expected one of red, green, not “blue”. Usage: !x"),
        (Literal["up", "down"], "in", "value: expected one of up, down, not “in”. Usage: !x"),
        (int | bool, "x", "value: expected a whole number or yes or no, not “x”. Usage: !x"),
        (timedelta, "soon", "value: expected a length of time such as 90s, 10m or 1h30m, not “soon”. Usage: !x"),
        (datetime, "25:00", "value: expected a time such as 18:30 or 2026-11-20T18:30 (UTC), not “25:00”. Usage: !x"),
        (datetime, "soon", "value: expected a time such as 18:30 or 2026-11-20T18:30 (UTC), not “soon”. Usage: !x"),
        (int, "1 2", "the end: expected nothing more, not “2”. Usage: !x"),
    ],
)  # fmt: skip
async def test_a_wrong_word_is_explained(kind: Any, word: str, sentence: str) -> None:
    with pytest.raises(BadArgument) as caught:
        await fill(taking(kind), word)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(("kind", "word"), [(timedelta, "999999999w"), (datetime, "0001-01-01T00:00+23:00")])
async def test_what_is_too_large_is_only_wrong(kind: Any, word: str) -> None:
    with pytest.raises(BadArgument):
        await fill(taking(kind), word)


async def test_the_rest_of_a_line() -> None:
    async def say(ctx: Any, who: str, *, text: str = "nothing") -> None: ...

    assert await fill(say, 'ann  he said "no"  twice ') == (["ann"], {"text": 'he said "no"  twice'})
    assert await fill(say, 'ann "no"') == (["ann"], {"text": "no"})
    assert await fill(say, "ann") == (["ann"], {"text": "nothing"})


async def test_an_optional_argument_can_be_left_out_in_the_middle() -> None:
    async def mute(ctx: Any, who: str, term: timedelta | None, *, why: str = "") -> None: ...

    assert await fill(mute, "ann 10m noise") == (["ann", timedelta(minutes=10)], {"why": "noise"})
    assert await fill(mute, "ann noise") == (["ann", None], {"why": "noise"})
    assert await fill(mute, "ann") == (["ann", None], {"why": ""})


async def test_many() -> None:
    async def add(ctx: Any, *numbers: int) -> None: ...

    async def choose(ctx: Any, names: list[str]) -> None: ...

    assert await fill(add, "1 2") == ([1, 2], {})
    assert await fill(add, "") == ([], {})
    with pytest.raises(BadArgument, match="names is missing"):
        await fill(choose, "")


def test_usage_shows_what_is_required() -> None:
    async def one(ctx: Any, a: int, b: Literal["x", "y"], c: int = 6, d: str | None = None, *, e: str) -> None: ...

    assert Signature.of(one).usage() == "<a> <x|y> [c=6] [d] <e…>"


def test_what_words_cannot_fill_is_refused_at_once() -> None:
    bot = Bot("b")

    async def nothing() -> None: ...

    async def keywords(ctx: Any, **more: str) -> None: ...

    async def behind(ctx: Any, *many: int, text: str) -> None: ...

    def plain(ctx: Any) -> None: ...

    for wrong in (nothing, keywords, behind, plain):
        with pytest.raises(UsageError):
            bot.command(wrong)  # type: ignore[type-var]


KINDS = [str, int, float, bool, Colour, Literal["up", 2], int | None, int | bool | str, timedelta, datetime, list[int]]
pieces = st.one_of(
    st.text(max_size=8),
    st.sampled_from(['"', "“", "»", "\\", "\\\"", "1", "-", "12:00", "1h", "999999999w", "nan", "1e999", "²", "٣",
                     "0001-01-01T00:00+23:00", "9999-12-31T23:59-23:59", "\x00", "\u2028", "24:99"]),
)  # fmt: skip


@given(st.sampled_from(KINDS), st.sampled_from(KINDS), st.lists(pieces, max_size=6))
async def test_whatever_is_typed_only_our_errors(first: Any, second: Any, line: list[str]) -> None:
    async def handler(ctx: Any, a: Any, b: Any = None, *, c: Any = None) -> None: ...

    handler.__annotations__ |= {
        "a": first if first != list[int] else int,
        "b": second,
        "c": first if first != list[int] else str,
    }
    if second == list[int]:
        handler.__annotations__["b"] = int
    for text in (" ".join(line), "".join(line)):
        with suppress(BadArgument):
            await fill(handler, text)


@given(st.lists(st.text(), min_size=1))
async def test_quoted_texts_come_back(said: list[str]) -> None:
    async def handler(ctx: Any, *texts: str) -> None: ...

    assert await fill(handler, " ".join(map(quote, said))) == (said, {})


async def test_time_is_linear() -> None:
    async def handler(ctx: Any, *texts: str) -> None: ...

    async def seconds(length: int) -> float:
        begun = time.perf_counter()
        await fill(handler, ('"a ' * length)[:length])
        return time.perf_counter() - begun

    await seconds(1000)
    assert await seconds(60_000) < 60 * await seconds(6_000) + 0.01


async def test_people_rooms_and_messages(party: Party) -> None:
    bot = Bot("b")

    @bot.command
    async def who(ctx: Context, user: User) -> None:
        await ctx.reply(f"{user.user}, {user.role}")

    @bot.command
    async def where(ctx: Context, room: Room) -> None:
        await ctx.reply(room.name)

    @bot.command
    async def what(ctx: Context, message: Message) -> None:
        await ctx.reply(f"{message.user}: {message.text}")

    ann = await party.ann(bot)
    said = await ann.says("hello")
    await ann.says("!who @ANN")
    await ann.hears("ann, guest")
    await ann.says("!who nobody")
    await ann.hears("user: expected the name of somebody in this room, not “nobody”. Usage: !who <user>")
    await ann.says("!where #general")
    await ann.hears("general")
    await ann.says("!where else")
    await ann.hears("room: expected the name of a room this bot is in, not “else”. Usage: !where <room>")
    await ann.says(f"!what {said.seq}")
    await ann.hears("ann: hello")
    await ann.says("!what 100000")
    await ann.hears("There is no message 100000 in this room.")


async def test_types_of_ones_own(party: Party) -> None:
    bot = Bot("b")

    class Dice:
        def __init__(self, count: int, sides: int) -> None:
            self.count, self.sides = count, sides

    class Owner(str):
        __slots__ = ()

    @bot.converter(Dice, "dice such as 2d6")
    def dice(word: str) -> Dice:
        count, _, sides = word.partition("d")
        return Dice(int(count), int(sides))

    @bot.converter(Owner, "the owner")
    async def owner(ctx: Context, word: str) -> Owner:
        if word != await ctx.bot_memory.get("owner", "ann"):
            raise ValueError(word)
        return Owner(word)

    async def roll(ctx: Context, dice: Dice, who: Any = None) -> None:
        await ctx.reply(f"{dice.count} times {dice.sides} for {who}")

    roll.__annotations__ |= {"ctx": Context, "dice": Dice, "who": Owner}
    bot.command(roll)
    ann = await party.ann(bot)
    await ann.says("!roll 2d6 ann")
    await ann.hears("2 times 6 for ann")
    await ann.says("!roll lots")
    await ann.hears("dice: expected dice such as 2d6, not “lots”. Usage: !roll <dice> [who]")
    await ann.says("!roll 2d6 bob")
    await ann.hears("who: expected the owner, not “bob”. Usage: !roll <dice> [who]")


async def test_a_type_nothing_makes_is_told_at_the_start() -> None:
    bot = Bot("b", memory=":memory:")

    async def odd(ctx: Context, value: bytes) -> None: ...

    bot.command(odd)
    from chatkit.testing import open_chat

    with pytest.raises(UsageError, match="nothing makes value of a word"):
        async with open_chat() as chat:
            await chat.run(bot)
