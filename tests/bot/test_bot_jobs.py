"""Jobs, things put off, plugins with a life span: by a clock that jumps."""

from __future__ import annotations

import sys
import types
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
import trio
from party import answered

from chatkit import Bot, Context
from chatkit.bot import JobContext, Plugin, command, daily, every, lifespan, listen, once
from chatkit.bot.schedule import Every
from chatkit.bot.schedule import daily as daily_at
from chatkit.errors import UsageError
from chatkit.protocol.messages import UserJoined
from chatkit.testing import Chat

# ── jobs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_every_daily_and_once(chat: Chat) -> None:
    bot = Bot("b")

    @bot.every(20)
    async def often(ctx: JobContext) -> None:
        await ctx.say(f"often {ctx.now():%M:%S}")

    @bot.daily("13:02", zone="Europe/Berlin")
    async def lunch(ctx: JobContext) -> None:
        await ctx.say(f"lunch {ctx.due:%H:%M}")

    @bot.once(timedelta(seconds=10))
    async def hello(ctx: JobContext) -> None:
        await ctx.say(f"hello {ctx.now():%M:%S}")

    ann = await chat.person("ann")
    await chat.run(bot)  # at noon
    for text in ("hello 00:10", *(f"often {time}" for time in ("00:20", "00:40", "01:00", "01:20"))):
        await ann.hears(text, within=21)
    await trio.sleep(60)
    heard = ann.transcript()
    assert heard.count("'lunch 12:02'") == 1  # 13:02 in Berlin, in winter; due tomorrow again
    assert [str(job.next_at) for job in bot.jobs_running][1] == "2030-01-02 12:02:00+00:00"
    assert heard.count("'hello") == 1


async def test_a_failing_job_is_retried_and_counted(chat: Chat, caplog: pytest.LogCaptureFixture) -> None:
    bot = Bot("b", owner="ann")
    times: list[float] = []

    @bot.every(60, at_once=True)
    async def shaky(ctx: JobContext) -> None:
        times.append(trio.current_time())
        if len(times) in (1, 2, 3):
            raise RuntimeError("shaky")

    @bot.every(60, on_failure="disable")
    async def brittle(ctx: JobContext) -> None:
        raise ValueError("broken")

    await chat.run(bot)
    ann, bob = await chat.people("ann", "bob")
    await trio.sleep(100)
    waits = [round(after - before) for before, after in pairwise(times)]
    assert waits == [1, 2, 4, 60]
    assert "RuntimeError: shaky" in caplog.text
    await ann.says("!jobs")
    line = (await ann.hears(lambda event: getattr(event, "user", "") == "b")).text.splitlines()
    assert line[0].startswith("shaky: every 0:01:00; waiting, next 2030-01-01 12:0")
    assert line[0].endswith("2 runs, 3 failed (last: RuntimeError: shaky)")
    assert line[1] == "brittle: every 0:01:00; disabled; 0 runs, 1 failed (last: ValueError: broken)"
    await bob.says("!jobs")
    await bob.hears(answered("Only for the owner of this bot."))
    await ann.says("!help")
    assert (
        "jobs"
        not in (
            await ann.hears(
                lambda event: "help" in str(getattr(event, "text", "")) and getattr(event, "user", "") == "b"
            )
        ).text
    )


def test_schedules_and_the_change_of_clocks() -> None:
    berlin = daily_at("02:30", "Europe/Berlin")
    before = datetime(2026, 3, 28, 12, tzinfo=UTC)  # in the night 02:30 does not exist
    first = berlin.next_after(before, 0)
    second = berlin.next_after(first, 1)
    assert before < first < second
    assert second == datetime(2026, 3, 30, 0, 30, tzinfo=UTC)
    for wrong in (lambda: daily_at("25:00", "UTC"), lambda: daily_at("12:00", "Nowhere/Land"), lambda: Every(0)):
        with pytest.raises(UsageError):
            wrong()


# ── things put off ───────────────────────────────────────────────────────────────────────────────────────────────────


def reminder() -> Bot:
    bot = Bot("b")
    failures = iter([True, False])

    @bot.later
    async def remind(ctx: JobContext, user: str, text: str) -> None:
        if text == "shaky" and next(failures):
            raise RuntimeError("not yet")
        await ctx.say(f"{user}: {text}")

    @bot.command(name="remind")
    async def remind_me(ctx: Context, when: timedelta, *, text: str) -> None:
        await remind.after(when, key=f"{ctx.user}/{ctx.message.seq}", user=ctx.user, text=text)
        await ctx.reply("noted")

    @bot.command
    async def forget(ctx: Context) -> None:
        waiting = await remind.waiting()
        for id in waiting:
            await remind.cancel(id)
        await ctx.reply(f"forgot {len(waiting)}")

    return bot


async def test_what_is_put_off_survives_a_restart(chat: Chat) -> None:
    ann = await chat.person("ann")
    for end in ("crash", "stop"):
        run = await chat.run(reminder())
        await ann.says("!remind 10s tea")
        await ann.hears("noted")
        await trio.sleep(5)
        await getattr(run, end)()
        await trio.sleep(30)
        run = await chat.run(reminder())
        await ann.hears("ann: tea", within=1)
        await ann.hears_nothing(within=60)
        await run.stop()


async def test_it_is_tried_again_and_can_be_taken_back(chat: Chat) -> None:
    await chat.run(reminder())
    ann = await chat.person("ann")
    await ann.says("!remind 10s shaky")
    await ann.hears("noted")
    await ann.hears_nothing(within=10)
    await ann.hears("ann: shaky", within=10)
    await ann.says("!remind 10s never")
    await ann.hears("noted")
    await ann.says("!forget")
    await ann.hears("forgot 1")
    await ann.hears_nothing(within=60)


async def test_nothing_is_put_off_before_the_bot_runs() -> None:
    bot = Bot("b")

    @bot.later
    async def soon(ctx: JobContext) -> None: ...

    with pytest.raises(UsageError, match="while its bot is running"):
        await soon.after(1)


# ── plugins ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class Counter(Plugin):
    """A plugin as a class: state, commands, listeners, jobs, a life span."""

    def __init__(self) -> None:
        super().__init__("counter")
        self.count = 0
        self.log: list[str] = []

    async def __aenter__(self) -> Counter:
        self.log.append("opened")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.log.append("closed")

    @command(aliases=["n"])
    async def number(self, ctx: Context) -> None:
        """Say the number."""
        await ctx.reply(f"{self.count}")

    @command
    async def hang(self, ctx: Context) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self.log.append("cancelled")

    @listen()
    async def notice(self, ctx: Context) -> None:
        self.count += 1

    @every(60)
    async def tick(self, ctx: JobContext) -> None:
        self.count += 100


async def test_a_class_is_loaded_and_unloaded_whole(chat: Chat) -> None:
    bot, plugin = Bot("b", deadline=1e6), Counter()
    run = await chat.run(bot)
    ann, bob = await chat.people("ann", "bob")
    await bot.load(plugin)
    await ann.says("hello")
    await ann.says("!n")
    await ann.hears("1")
    await trio.sleep(61)
    await ann.says("!number")
    await ann.hears("101")
    await bob.says("!hang")
    await trio.sleep(1)
    await bot.unload("counter")
    assert plugin.log == ["opened", "cancelled", "closed"]
    await ann.says("!number")
    await trio.sleep(130)
    assert plugin.count == 101
    await bot.load(plugin)
    with pytest.raises(UsageError, match="already"):
        await bot.load(Counter())
    await ann.says("!number")
    await ann.hears(answered("101"))
    await run.stop()
    assert plugin.log[-1] == "closed"
    with pytest.raises(UsageError, match="not running"):
        _ = bot.client


async def test_a_module_is_a_plugin(chat: Chat) -> None:
    module = types.ModuleType("greeter")
    log: list[str] = []

    async def opened(bot: Bot) -> AsyncIterator[None]:
        log.append(f"open for {bot.name}")
        yield
        log.append("closed")

    async def greet(ctx: Context) -> None:
        await ctx.say(f"Welcome, {ctx.user}!")

    async def shout(ctx: Context, *, text: str) -> None:
        await ctx.say(text.upper())

    async def morning(ctx: JobContext) -> None:
        await ctx.say("morning")

    for function in (lifespan(opened), listen(UserJoined)(greet), command(shout), daily("12:01")(once(3)(morning))):
        function.__module__ = "greeter"
        setattr(module, function.__name__, function)
    bot = Bot("b")
    assert bot.add(module).name == "greeter"
    run = await chat.run(bot)
    ann = await chat.person("ann")
    await ann.hears("Welcome, ann!")
    await ann.says("!shout hey")
    await ann.hears("HEY")
    await ann.hears("morning")
    await ann.hears("morning", within=60)
    await run.stop()
    assert log == ["open for b", "closed"]


async def test_a_plugin_can_unload_itself(chat: Chat) -> None:
    bot, plugin = Bot("b"), Plugin("once-only")

    @plugin.command
    async def bye(ctx: Context) -> None:
        await ctx.reply("bye")
        await ctx.bot.unload("once-only")

    bot.add(plugin)
    await chat.run(bot)
    ann = await chat.person("ann")
    await ann.says("!bye")
    await ann.hears("bye")
    await ann.says("!bye")
    await ann.hears_nothing()
    assert "once-only" not in bot.plugins


async def test_a_life_span_that_cannot_begin_is_told(chat: Chat) -> None:
    bot, plugin = Bot("b"), Plugin("broken")

    @plugin.lifespan
    async def opened(bot: Bot) -> AsyncIterator[None]:
        raise OSError("no such disk")
        yield

    await chat.run(bot)
    with pytest.raises(OSError, match="no such disk"):
        await bot.load(plugin)
    assert "broken" not in bot.plugins
    with pytest.raises(UsageError, match="no plugin"):
        await bot.unload("broken")


def test_what_is_no_plugin_is_refused() -> None:
    bot, wrong = Bot("b"), sys
    with pytest.raises(UsageError):
        bot.add(object())  # type: ignore[arg-type]
    assert bot.add(wrong).commands() == []
    first, second = Plugin("one"), Plugin("two")
    for plugin in (first, second):
        plugin.group("same")
    bot.add(first)
    with pytest.raises(UsageError, match="same"):
        bot.add(second)
