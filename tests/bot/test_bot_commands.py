"""Commands, groups, help, listeners and filters, guards, errors: over every binding."""

from __future__ import annotations

import logging
from typing import Any, Literal

import pytest
import trio
from party import Party, answered

from chatkit import Bot, Context
from chatkit.bot import (
    CommandFailed,
    Filter,
    Plugin,
    allow,
    at_most,
    contains,
    cooldown,
    from_bots,
    from_user,
    has_role,
    in_room,
    is_event,
    is_owner,
    is_reply,
    matches,
    where,
)
from chatkit.errors import UsageError
from chatkit.protocol.messages import RoomCreated, UserJoined, UserLeft
from chatkit.testing import Chat


def make_bot(name: str = "helper", **options: Any) -> Bot:
    bot = Bot(name, **options)

    @bot.command(aliases=["dice"])
    async def roll(ctx: Context, sides: int = 6, how: Literal["once", "twice"] = "once") -> None:
        """Roll a die.

        It has six sides unless you say otherwise.
        """
        await ctx.reply(f"{sides} {how}")

    return bot


# ── commands ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_command_is_answered_as_a_reply(party: Party) -> None:
    ann = await party.ann(make_bot())
    asked = await ann.says("!roll 20 twice")
    answer = await ann.hears("20 twice", by="helper")
    assert answer.reply_to == asked.seq
    for line in ("!ROLL 3", "!dice 3", "  !roll   3", "!roll “3”"):
        await ann.says(line)
        await ann.hears("3 once")


async def test_help_comes_from_the_function(party: Party) -> None:
    bot = make_bot()

    @bot.command(hidden=True)
    async def secret(ctx: Context) -> None: ...

    @bot.command
    async def under_score_(ctx: Context, *, what: str) -> None: ...

    ann = await party.ann(bot)
    await ann.says("!help")
    await ann.hears(
        "!roll [sides=6] [once|twice=once] - Roll a die.\n"
        "!under-score <what…>\n"
        "!help [command…] - Say what this bot can do, or how to use one command."
    )
    await ann.says("!help dice")
    await ann.hears(
        "Usage: !roll [sides=6] [once|twice=once]\nRoll a die.\n\n"
        "It has six sides unless you say otherwise.\nAlso: dice"
    )
    await ann.says("!help nothing")
    await ann.hears("There is no command 'nothing'; !help lists them.")


async def test_groups_and_subcommands(party: Party) -> None:
    bot = Bot("b")
    poll = bot.group("poll", aliases=["vote"], help="Ask everybody.")
    admin = poll.group("admin")

    @poll.command
    async def start(ctx: Context, *, question: str) -> None:
        """Begin a poll."""
        await ctx.reply(f"asked: {question}")

    @admin.command
    async def wipe(ctx: Context) -> None:
        """Forget everything."""
        await ctx.reply("wiped")

    ann = await party.ann(bot)
    await ann.says("!poll start tea or coffee?")
    await ann.hears("asked: tea or coffee?")
    await ann.says("!vote admin wipe")
    await ann.hears("wiped")
    await ann.says("!poll admin wipe now")
    await ann.hears("the end: expected nothing more, not “now”. Usage: !poll admin wipe")
    for line in ("!poll", "!poll what", "!help poll"):
        await ann.says(line)
        await ann.hears(
            "Ask everybody.\n!poll admin wipe - Forget everything.\n!poll start <question…> - Begin a poll."
        )


async def test_a_group_may_have_a_default(party: Party) -> None:
    bot = Bot("b")
    score = bot.group("score")

    @score.default
    async def show(ctx: Context, who: str = "everybody") -> None:
        await ctx.reply(f"score of {who}")

    @score.command
    async def reset(ctx: Context) -> None:
        await ctx.reply("reset")

    ann = await party.ann(bot)
    for line, answer in (("!score", "score of everybody"), ("!score ann", "score of ann"), ("!score reset", "reset")):
        await ann.says(line)
        await ann.hears(answer)


def test_names_are_taken_once() -> None:
    bot = make_bot()
    with pytest.raises(UsageError, match="already"):
        bot.group("dice")
    with pytest.raises(UsageError, match="one word"):
        bot.group("two words")
    with pytest.raises(UsageError, match="prefix"):
        Bot("b", prefix=" ")


async def test_a_bot_may_have_a_help_of_its_own(party: Party) -> None:
    bot = Bot("b", prefix="b:")

    @bot.command
    async def help(ctx: Context) -> None:
        await ctx.reply("help yourself")

    ann = await party.ann(bot)
    await ann.says("b:help")
    await ann.hears("help yourself")
    await ann.says("!help")
    await ann.says("b:unknown")
    await ann.says("b: help")
    await ann.hears("help yourself")


async def test_binary_messages_are_no_commands(party: Party) -> None:
    ann = await party.ann(make_bot())
    await ann.says(b"!roll")
    await ann.says("!roll")
    await ann.hears("6 once")


# ── listeners ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_filters_compose(party: Party) -> None:
    bot = make_bot(rooms=["general", "tea"])
    heard: list[str] = []

    def note(name: str, *conditions: Any, **options: Any) -> None:
        @bot.listen(*conditions, **options)
        async def listener(ctx: Context) -> None:
            heard.append(f"{name}{ctx.match.groups() if ctx.match else ''}")

    note("dice", in_room("general") & ~from_bots & matches(r"(\d+)d(\d+)"))
    note("tea", in_room("tea") | contains("TEA", "coffee"))
    note("ann", from_user("Ann") & ~is_reply)
    note("last", where(lambda incoming: incoming.text == "last"), last=True)
    note("all")

    @bot.command
    async def heard_(ctx: Context) -> None:
        await ctx.reply(" ".join(heard))
        heard.clear()

    ann, bob = await party.people("ann", "bob")
    await ann.creates("tea")
    await bob.joins("tea")
    await party.run(bot)

    async def expect(said: str, found: str, **options: Any) -> None:
        await ann.says(said, **options)
        await ann.says("!heard", room=options.get("room", "general"))
        await ann.hears(found)

    await expect("roll 3d6", "dice('3', '6') ann all")
    await expect("roll 3d6", "tea ann all", room="tea")
    await expect("some tea?", "tea all", reply_to=1)
    await expect("last", "ann last")
    await bob.says("tea")
    await bob.says("!heard")
    await ann.hears(answered("tea all"))


def test_a_filter_says_what_it_is() -> None:
    shown = in_room("general") & ~from_bots & matches("x") | is_event(UserLeft)
    assert isinstance(shown, Filter)
    assert str(shown).startswith("(in_room('general',) & ~(from_bots) & matches('x') | is_event")


async def test_any_event_can_be_listened_to(party: Party) -> None:
    bot = Bot("b")

    @bot.listen(UserJoined, in_room("general"))
    async def greet(ctx: Context) -> None:
        await ctx.say(f"Welcome, {ctx.user}!")

    @bot.listen(UserLeft, RoomCreated)
    async def tell(ctx: Context) -> None:
        await ctx.say(f"{ctx.event.action} {ctx.user}", room="general")

    ann = await party.ann(bot)
    await ann.hears("Welcome, ann!")
    bob = await party.person("bob")
    await ann.hears("Welcome, bob!")
    await bob.creates("tea")
    await ann.hears("room_created ")
    await bob.goes()
    await ann.hears("user_left bob")


async def test_a_failing_filter_fails_alone(party: Party, caplog: pytest.LogCaptureFixture) -> None:
    bot = make_bot()

    @bot.listen(where(lambda incoming: 1 / 0, "broken"))
    async def never(ctx: Context) -> None:
        await ctx.say("never")

    ann = await party.ann(bot)
    await ann.says("hello")
    await ann.says("!roll")
    await ann.hears("6 once")
    assert "the filter broken of never failed" in caplog.text


# ── no loops ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_bots_do_not_hear_themselves_and_others_only_if_they_ask(party: Party) -> None:
    echo, deaf, keen = Bot("echo"), Bot("deaf"), Bot("keen", heeds_bots=True)

    @echo.listen()
    async def repeat(ctx: Context) -> None:
        await ctx.say(ctx.text)

    @deaf.listen()
    async def never(ctx: Context) -> None:
        if ctx.user != "ann":
            await ctx.say("I heard a bot")

    @keen.listen(from_bots)
    async def comment(ctx: Context) -> None:
        await ctx.say(f"{ctx.user} said {ctx.text}")

    for bot in (echo, deaf, keen):
        await party.run(bot)
    ann = await party.person("ann")
    await ann.says("hello")
    await ann.hears("hello", by="echo")
    await ann.hears("echo said hello", by="keen")
    await ann.says("again")
    await ann.hears("again", by="echo")
    await ann.hears("echo said again", by="keen")


# ── guards ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_cooldowns_by_the_clock(chat: Chat) -> None:
    bot = Bot("b")
    shared = cooldown(10, times=2, per="room")

    @bot.command(guards=[cooldown(30)])
    async def slow(ctx: Context) -> None:
        await ctx.reply("done")

    @bot.command(guards=[shared])
    async def often(ctx: Context) -> None:
        await ctx.reply("often")

    await chat.run(bot)
    ann, bob = await chat.people("ann", "bob")
    await ann.says("!slow")
    await ann.hears("done")
    await ann.says("!slow")
    await ann.hears("Not so fast: again in 30 s.")
    await ann.says("!slow")
    await ann.hears_nothing(within=5)  # told once
    await bob.says("!slow")
    await ann.hears(answered("done"))
    await trio.sleep(26)
    await ann.says("!slow")
    await ann.hears(answered("done"))
    for person in (ann, bob):
        await person.says("!often")
        await ann.hears(answered("often"))
    await ann.says("!often")
    await ann.hears(answered("Not so fast: again in 10 s."))


async def test_so_many_at_a_time(chat: Chat) -> None:
    bot = Bot("b")

    @bot.command(guards=[at_most(1, per="bot")])
    async def work(ctx: Context) -> None:
        await trio.sleep(10)
        await ctx.reply("worked")

    await chat.run(bot)
    ann, bob = await chat.people("ann", "bob")
    await ann.says("!work")
    await trio.sleep(1)
    await bob.says("!work")
    await bob.hears(answered("One moment: this is still running for somebody."))
    await bob.hears(answered("worked"), within=20)
    await bob.says("!work")
    await bob.hears(answered("worked"), within=20)


async def test_roles_predicates_and_owners(party: Party) -> None:
    bot = Bot("b", owner="Ann", guards=[allow(lambda ctx: ctx.user != "eve", "Not you.")])

    async def quiet(ctx: Context) -> bool:
        return ctx.room.state.users < 4

    bot.command(guards=[has_role("guest")], name="guests")(_answer("for guests"))
    bot.command(guards=[has_role("admin", "moderator")], name="admins")(_answer("for admins"))
    bot.command(guards=[is_owner()], name="owner")(_answer("for the owner"))
    bot.command(guards=[allow(quiet, "Too many people.")], name="quiet")(_answer("quiet"))
    ann = await party.ann(bot)
    bob, eve = await party.people("bob", "eve")
    for person, line, answer in [
        (ann, "!guests", "for guests"),
        (ann, "!admins", "Only for admin and moderator."),
        (ann, "!owner", "for the owner"),
        (bob, "!owner", "Only for the owner of this bot."),
        (bob, "!quiet", "Too many people."),
        (eve, "!guests", "Not you."),
    ]:
        await person.says(line)
        await person.hears(answered(answer, by="b"))


def _answer(text: str) -> Any:
    async def handler(ctx: Context) -> None:
        await ctx.reply(text)

    return handler


def test_guards_out_of_bounds() -> None:
    with pytest.raises(UsageError):
        cooldown(0)
    with pytest.raises(UsageError):
        cooldown(1, times=0)
    with pytest.raises(UsageError):
        at_most(0)


# ── errors, hooks, deadlines ─────────────────────────────────────────────────────────────────────────────────────────


async def test_errors_go_to_the_nearest_hook(party: Party, caplog: pytest.LogCaptureFixture) -> None:
    bot, plugin = Bot("b"), Plugin("plugin")

    async def own(ctx: Context, error: Exception) -> None:
        if isinstance(error, ValueError):
            raise error
        await ctx.reply(f"handler: {error}")

    @plugin.on_error
    async def of_plugin(ctx: Context, error: Exception) -> None:
        if str(error) == "1":
            raise KeyError("from the hook")
        await ctx.reply(f"plugin: {error}")

    @bot.on_error
    async def of_bot(ctx: Context, error: Exception) -> None:
        if isinstance(error, ZeroDivisionError):
            raise error
        await ctx.reply(f"bot: {error}")

    @plugin.command(on_error=own)
    async def fail(ctx: Context, how: int) -> None:
        raise [LookupError("0"), ValueError("1"), ValueError("2")][how]

    @bot.command
    async def divide(ctx: Context) -> None:
        raise ZeroDivisionError

    bot.add(plugin)
    ann = await party.ann(bot)
    for line, answer in [
        ("!fail 0", "handler: 0"),
        ("!fail 1", "bot: 'from the hook'"),
        ("!fail 2", "plugin: 2"),
        ("!divide", "Sorry, something went wrong in divide."),
    ]:
        await ann.says(line)
        await ann.hears(answer)
    assert "ZeroDivisionError" in caplog.text


async def test_a_sentence_for_the_person_is_no_error(party: Party, caplog: pytest.LogCaptureFixture) -> None:
    bot = Bot("b")

    @bot.command
    async def find(ctx: Context) -> None:
        raise CommandFailed("There is nothing to find.")

    ann = await party.ann(bot)
    await ann.says("!find")
    await ann.hears("There is nothing to find.")
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_what_goes_round_every_handler(party: Party) -> None:
    bot, plugin = make_bot(), Plugin("plugin")
    order: list[str] = []

    @bot.around
    async def timing(ctx: Context, call: Any) -> None:
        order.append("bot")
        await call()
        await ctx.reply(" ".join(order))

    @plugin.around
    async def inner(ctx: Context, call: Any) -> None:
        order.append("plugin")
        await call()

    @plugin.command
    async def work(ctx: Context) -> None:
        order.append("work")

    bot.add(plugin)
    ann = await party.ann(bot)
    await ann.says("!work")
    await ann.hears("bot plugin work")


async def test_a_deadline_per_command(chat: Chat) -> None:
    bot = Bot("b", deadline=20)

    @bot.command(deadline=5)
    async def hang(ctx: Context) -> None:
        await ctx.reply(f"{ctx.remaining:.0f} s left")
        await trio.sleep_forever()

    @bot.command
    async def ask(ctx: Context) -> None:
        await trio.sleep(5)
        await ctx.ask("Well?", timeout=1000)
        await ctx.reply(f"{ctx.remaining:.0f} s left")

    await chat.run(bot)
    ann = await chat.person("ann")
    await ann.says("!hang")
    await ann.hears("5 s left")
    await ann.hears("That took too long, and was given up.", within=10)
    await ann.says("!ask")
    await ann.hears("Well?", within=10)
    await trio.sleep(100)
    await ann.says("well")
    await ann.hears("15 s left")


@pytest.mark.parametrize("how", ["raises", "hangs", "floods"])
async def test_one_bad_handler_disturbs_nobody(chat: Chat, how: str) -> None:
    bot, other = make_bot(rooms=["general", "tea"], deadline=1e6), make_bot("other", prefix="?")

    @bot.command
    async def bad(ctx: Context) -> None:
        if how == "raises":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_raise)
                nursery.start_soon(_raise)
        if how == "hangs":
            await trio.sleep_forever()
        for number in range(100):
            await ctx.say(f"flood {number}", room="tea")

    ann, bob = await chat.people("ann", "bob")
    await bob.creates("tea")
    await chat.run(bot)
    await chat.run(other)
    for _ in range(20):
        await bob.says("!bad", room="tea")
    await ann.says("!roll 3")
    await ann.hears(answered("3 once"), within=1)
    await ann.says("?roll 4")
    await ann.hears(answered("4 once"), within=1)


async def _raise() -> None:
    raise RuntimeError("a child of the handler's")
