"""What bots are put through: handlers that do what they should not, odd declarations, a disk and a clock that fail."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, Optional

import pytest
import trio
from party import Party, answered

from chatkit import Bot, Context
from chatkit.bot import FileMemory, JobContext, Plugin, RamMemory, cooldown
from chatkit.errors import ChatError, StorageError, UsageError
from chatkit.protocol.messages import UserRenamed
from chatkit.testing import Chat

# ── handlers that do what they should not ────────────────────────────────────────────────────────────────────────────


class Odd(BaseException):
    """Neither an `Exception` nor a sign to end the program."""


@pytest.mark.parametrize(
    "error", [Odd("odd"), asyncio.CancelledError(), BaseExceptionGroup("odd", [Odd("odd")])], ids=repr
)
async def test_what_is_no_exception_ends_no_bot(
    chat: Chat, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    bot, other = Bot("b"), Bot("other", prefix="?")

    @bot.command
    async def bad(ctx: Context) -> None:
        raise error

    @bot.once()
    async def worse(ctx: JobContext) -> None:
        raise error

    for one in (bot, other):

        @one.command
        async def ping(ctx: Context) -> None:
            await ctx.reply("pong")

        await chat.run(one)
    ann = await chat.person("ann")
    await ann.says("!bad")
    await ann.hears("Sorry, something went wrong in bad.")
    for line in ("!ping", "?ping"):
        await ann.says(line)
        await ann.hears("pong")
    assert bot.jobs_running[0].failures > 0
    assert "odd" in caplog.text or type(error).__name__ in caplog.text


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
async def test_what_ends_the_program_ends_it(chat: Chat, error: type[BaseException]) -> None:
    bot = Bot("b", memory=RamMemory())

    @bot.command
    async def end(ctx: Context) -> None:
        raise error

    ann = await chat.person("ann")
    with pytest.raises(BaseExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            await nursery.start(bot.serve, chat.server.server.connect)
            await ann.says("!end")
            await trio.sleep(5)
            nursery.cancel_scope.cancel()
    assert caught.value.split(error)[1] is None


async def test_what_a_handler_returns_does_not_matter(chat: Chat) -> None:
    bot = Bot("b")

    @bot.command
    async def number(ctx: Context) -> Any:
        await ctx.reply(str(42))
        return object()

    @bot.command
    async def wrong(ctx: Context) -> None:
        await ctx.reply(42)  # type: ignore[arg-type]

    @bot.command
    async def empty(ctx: Context) -> None:
        await ctx.reply("")

    await chat.run(bot)
    ann = await chat.person("ann")
    for said, heard in [
        ("!number", "42"),
        ("!wrong", "Sorry, something went wrong in wrong."),
        ("!empty", "Sorry, something went wrong in empty."),
        ("!number", "42"),
    ]:
        await ann.says(said)
        await ann.hears(heard)


async def test_a_long_line_in_and_a_long_line_out(chat: Chat) -> None:
    bot = Bot("b")

    @bot.command
    async def size(ctx: Context, *, text: str) -> None:
        await ctx.reply(f"{len(text)}")

    @bot.command
    async def sizes(ctx: Context, *texts: str) -> None:
        await ctx.reply(f"{len(texts)}")

    @bot.command
    async def number(ctx: Context, number: int) -> None: ...

    @bot.command
    async def flood(ctx: Context) -> None:
        await ctx.reply("x" * 70_000)

    await chat.run(bot)
    ann = await chat.person("ann")
    for line, answer in [
        ("!size " + "x" * 60_000, "60000"),
        ("!sizes " + "'x " * 20_000, "20000"),
        ("!number " + "9" * 60_000, f"number: expected a whole number, not “{'9' * 39}…”. Usage: !number <number>"),
        ("!flood", "Sorry, something went wrong in flood."),
        ("!help " + "x" * 60_000, f"There is no command {'x' * 40!r}; !help lists them."),
        ("!" + "size" * 15_000, ""),
        ("!sizes a", "1"),
    ]:
        await ann.says(line)
        if answer:
            await ann.hears(answer)


# ── odd declarations ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_no_handler_is_refused_where_it_is_declared() -> None:
    bot = Bot("b")

    def plain(ctx: Context) -> None: ...

    async def generator(ctx: Context) -> AsyncIterator[int]:
        yield 1

    def lazy(ctx: Context) -> Any:
        yield 1

    for function in (plain, generator, lazy, 7, "roll", None.__class__):
        for declare in (bot.command(name="x"), bot.listen(), bot.every(1), bot.on_error, bot.around, bot.later):
            with pytest.raises(UsageError, match="async function"):
                declare(function)  # type: ignore[operator]
    assert not bot.commands()
    for function in (plain, lazy):
        with pytest.raises(UsageError, match="generator"):
            bot.lifespan(function)


def test_names_that_are_none() -> None:
    bot = Bot("b")

    async def command(ctx: Context) -> None: ...

    bot.command(name="roll", aliases=["r"])(command)
    for options in (
        {"name": "ROLL"},
        {"name": "R"},
        {"name": "two words"},
        {"name": "a\u2003b"},
        {"name": ""},
        {"name": "x", "aliases": ["roll"]},
        {"name": "y", "aliases": ["y"]},
        {"name": "z", "aliases": "zz"},
        {"name": 7},
    ):
        with pytest.raises(UsageError):
            bot.command(**options)(command)
    assert sorted(bot.tree.names) == ["r", "roll"]


def test_defaults_of_the_wrong_type_are_refused() -> None:
    bot = Bot("b")

    async def number(ctx: Context, count: int = "six") -> None: ...  # type: ignore[assignment]

    async def choice(ctx: Context, how: Literal["a", "b"] = "c") -> None: ...  # type: ignore[assignment]

    for function in (number, choice):
        with pytest.raises(UsageError, match="default"):
            bot.command(function)

    async def fine(
        ctx: Context, a: int | None = None, b: float = 1, c: Literal["a"] = "a", d: int | str = "x"
    ) -> None: ...

    bot.command(fine)


async def test_annotations_of_every_make(chat: Chat) -> None:
    bot = Bot("b")

    @bot.command
    async def forward(ctx: Context, place: Later) -> None:
        await ctx.reply(f"{place.name}")

    @bot.command
    async def text(ctx: "Context", count: "Optional[int]" = None, *, rest: "str" = "") -> None:  # noqa: UP037, UP045
        await ctx.reply(f"{count!r} {rest!r}")

    @bot.command
    async def many(ctx: Context, numbers: Optional[list[int]] = None) -> None:  # noqa: UP045
        await ctx.reply(f"{numbers!r}")

    @bot.command
    async def either(ctx: Context, numbers: list[int] | None) -> None:
        await ctx.reply(f"{numbers!r}")

    @bot.command
    async def bare(ctx, one, two=2) -> None:  # type: ignore[no-untyped-def]
        await ctx.reply(f"{one!r} {two!r}")

    class Local:
        pass

    async def unknown(ctx: Context, what: Local) -> None: ...

    async def missing(ctx: Context, what: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    for function in (unknown, missing):
        with pytest.raises(UsageError, match="annotations name"):
            bot.command(function)

    @bot.converter(Later, "a place")
    def place(word: str) -> Later:
        return Later(word)

    await chat.run(bot)
    ann = await chat.person("ann")
    for line, answer in [
        ("!forward here", "here"),
        ("!text 3 a 'b c' d", "3 \"a 'b c' d\""),
        ("!text 'a b'", "None 'a b'"),
        ("!text 7 “a b”", "7 'a b'"),
        ("!many 1 2 3", "[1, 2, 3]"),
        ("!many", "None"),
        ("!many 1 x", "numbers: expected a whole number, not “x”. Usage: !many [numbers…]"),
        ("!either", "None"),
        ("!either 4", "[4]"),
        ("!bare 1", "'1' 2"),
    ]:
        await ann.says(line)
        await ann.hears(answer)


class Later:
    """A type that is defined behind the functions that name it."""

    def __init__(self, name: str) -> None:
        self.name = name


# ── a world that changes ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_bot_that_is_renamed_goes_on(chat: Chat) -> None:
    bot = Bot("b")

    @bot.command
    async def call(ctx: Context, name: str) -> None:
        await ctx.client.rename(name)
        await ctx.say(f"I am {ctx.client.user}")

    @bot.listen()
    async def echo(ctx: Context) -> None:
        await ctx.say(f"{ctx.user} said {ctx.text}")

    await chat.run(bot)
    ann = await chat.person("ann")
    await ann.says("!call robot")
    await ann.hears(UserRenamed, user="robot")
    await ann.hears("I am robot", by="robot")
    await ann.says("hello")
    await ann.hears("ann said hello", by="robot")
    await ann.hears_nothing()


async def test_a_room_that_is_deleted_during_a_conversation(chat: Chat) -> None:
    bot = Bot("b", rooms=["general", "tea"])

    @bot.command
    async def ask(ctx: Context) -> None:
        await ctx.ask("Well?", timeout=1000)

    @bot.command
    async def work(ctx: Context) -> None:
        await trio.sleep(5)
        await ctx.say("worked")

    @bot.command
    async def ping(ctx: Context) -> None:
        await ctx.reply("pong")

    ann, bob = await chat.people("ann", "bob")
    await ann.creates("tea")
    await bob.joins("tea")
    await chat.run(bot)
    await ann.says("!ask", room="tea")
    await ann.hears("Well?")
    await bob.says("!work", room="tea")
    await trio.sleep(1)
    await ann.room("tea").delete()
    await trio.sleep(10)
    assert not bot.running.lanes
    await ann.says("!ping")
    await ann.hears(answered("pong"))


async def test_two_bots_that_answer_each_other_are_held_by_their_guards(chat: Chat) -> None:
    for name in ("one", "two"):
        bot = Bot(name, heeds_bots=True, guards=[cooldown(1, per="room")])

        @bot.listen()
        async def echo(ctx: Context) -> None:
            await ctx.say(f"{ctx.text}!"[:50])

        @bot.command
        async def ping(ctx: Context) -> None:
            await ctx.reply("pong")

        await chat.run(bot)
    ann = await chat.person("ann")
    await ann.says("hello")
    await trio.sleep(20)
    assert len(ann.heard) < 100


async def test_a_plugin_that_is_unloaded_while_its_command_ends_badly(chat: Chat) -> None:
    bot, plugin = Bot("b"), Plugin("p")
    log: list[str] = []

    @plugin.command
    async def work(ctx: Context) -> None:
        try:
            await trio.sleep_forever()
        finally:
            log.append("ended")
            raise RuntimeError("while it was cancelled")

    @bot.command
    async def ping(ctx: Context) -> None:
        await ctx.reply("pong")

    bot.add(plugin)
    await chat.run(bot)
    ann = await chat.person("ann")
    await ann.says("!work")
    await trio.sleep(1)
    await bot.unload("p")
    assert log == ["ended"]
    await ann.says("!ping")
    await ann.hears(answered("pong"))
    await bot.load(plugin)
    assert not [name for _, name in bot.running.lanes if name != "ann"]


async def test_a_job_that_always_fails_is_tried_seldom(chat: Chat) -> None:
    bot, times = Bot("b"), list[float]()

    @bot.every(0.001)
    async def broken(ctx: JobContext) -> None:
        times.append(trio.current_time())
        raise RuntimeError("broken")

    await chat.run(bot)
    await trio.sleep(60)
    assert 4 < len(times) < 9
    assert bot.jobs_running[0].line().endswith("failed (last: RuntimeError: broken)")


async def test_a_clock_that_is_set_moves_daily_jobs_and_no_others(chat: Chat) -> None:
    offset = timedelta()
    bot, ran = Bot("b", memory=RamMemory()), list[str]()

    @bot.daily("13:00")
    async def lunch(ctx: JobContext) -> None:
        ran.append("lunch")

    @bot.every(100)
    async def often(ctx: JobContext) -> None:
        ran.append("often")

    bot.now = lambda: chat.now() + offset
    async with trio.open_nursery() as nursery:
        await nursery.start(bot.serve, chat.server.server.connect)
        await trio.sleep(5)
        offset = timedelta(hours=1)
        await trio.sleep(40)
        assert ran == ["lunch"]
        offset = timedelta(days=-1)
        await trio.sleep(40)
        assert ran == ["lunch"]
        await trio.sleep(30)
        assert ran == ["lunch", "often"]
        bot.stop()


# ── the file it keeps ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
async def test_a_file_that_may_not_be_written_is_told_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "b.db"
    path.write_bytes(b"")
    path.chmod(0o400)
    with pytest.raises(StorageError):
        await Bot("b", memory=path).serve("tcp://127.0.0.1:1")


@pytest.mark.parametrize("what", ["directory", "text", "nowhere"])
async def test_a_file_that_is_none_is_told_at_the_start(tmp_path: Path, what: str) -> None:
    path = tmp_path / "b.db"
    if what == "directory":
        path.mkdir()
    elif what == "text":
        path.write_bytes(b"no database at all, but text" * 100)
    else:
        path = tmp_path / "missing" / "b.db"
    with pytest.raises(StorageError, match=r"b\.db"):
        await Bot("b", memory=path).serve("tcp://127.0.0.1:1")


async def test_a_disk_that_is_full_for_a_while(chat: Chat, tmp_path: Path) -> None:
    class Full(FileMemory):
        pages = 1_000_000

        async def _run(self, operation: Any) -> Any:
            def limited(db: Any) -> Any:
                db.execute(f"PRAGMA max_page_count = {self.pages}")
                return operation(db)

            return await super()._run(limited)

    bot, memory = Bot("b"), Full(tmp_path / "b.db")

    @bot.command
    async def keep(ctx: Context, size: int) -> None:
        await ctx.bot_memory.set("value", "x" * size)
        await ctx.reply("kept")

    @bot.command
    async def size(ctx: Context) -> None:
        await ctx.reply(str(len(await ctx.bot_memory.get("value", ""))))

    await chat.run(bot, memory=memory)
    ann = await chat.person("ann")
    await ann.says("!keep 10")
    await ann.hears("kept")
    memory.pages = 4
    await ann.says("!keep 100000")
    await ann.hears("Sorry, something went wrong in keep.")
    await ann.says("!size")
    await ann.hears("10")
    memory.pages = 1_000_000
    await ann.says("!keep 100000")
    await ann.hears("kept")
    await ann.says("!size")
    await ann.hears("100000")


async def test_bots_share_a_file_and_the_newer_of_two_runs_of_one_goes_on(party: Party, tmp_path: Path) -> None:
    ended: list[ChatError] = []
    somebody_ended = trio.Event()
    where = party.chat.server.server.connect if party.over is None else party.chat.server.address(party.over)

    def make(name: str) -> Bot:
        bot = Bot(name, prefix=f"{name}!", memory=tmp_path / "shared.db")

        @bot.command
        async def count(ctx: Context, number: int) -> None:
            # Both runs may have taken it when the one replaces the other: what is said is said once all the same.
            await ctx.bot_memory.set("count", number)
            await ctx.reply(f"{ctx.bot.name} {await ctx.bot_memory.get('count')}")

        return bot

    async def serve(bot: Bot, *, task_status: trio.TaskStatus[None]) -> None:
        try:
            await bot.serve(where, task_status=task_status)
        except ChatError as error:
            ended.append(error)
            somebody_ended.set()

    async def expect(number: int) -> None:
        for name in ("one", "two"):
            await ann.says(f"{name}!count {number}")
            await ann.hears(answered(f"{name} {number}"), within=30)

    ann = await party.person("ann")
    one, two, again = make("one"), make("two"), make("one")
    async with trio.open_nursery() as nursery:
        await nursery.start(serve, one)
        await nursery.start(serve, two)
        await expect(1)
        await nursery.start(serve, again)
        await expect(2)
        await expect(3)
        with trio.fail_after(10):
            await somebody_ended.wait()
        assert [str(error) for error in ended] == ["disconnected: replaced by your newer link (4409)"]
        assert not one.is_running
        two.stop()
        again.stop()
    assert [ann.transcript().count(f"one: 'one {number}'") for number in (1, 2, 3)] == [1, 1, 1]
