"""Conversations: straight-line code, answers that go where they belong, and how they end."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Literal

import pytest
import trio
from party import Party, answered

from chatkit import Bot, Context, ServerConfig
from chatkit.bot import ConversationEnded, Plugin
from chatkit.bot.lane import Lane
from chatkit.protocol.messages import ReceiveMessage
from chatkit.testing import Chat, open_chat


def shop(**options: object) -> Bot:
    bot = Bot("shop", rooms=["general", "tea"], **options)  # type: ignore[arg-type]

    @bot.command
    async def order(ctx: Context) -> None:
        count = await ctx.ask("How many?", int, check=lambda count: None if count < 100 else "That is too much.")
        colour = await ctx.ask("Which colour?", Literal["red", "blue"], timeout=30)
        if await ctx.confirm(f"{count} {colour} ones?"):
            await ctx.reply(f"{count} {colour} ones for {ctx.user}")

    @bot.command
    async def ping(ctx: Context) -> None:
        await ctx.reply("pong")

    return bot


async def test_a_conversation(party: Party) -> None:
    ann = await party.ann(shop())
    bob = await party.person("bob")
    await ann.says("!order")
    await ann.hears("How many?")
    await bob.says("7")
    await bob.says("!ping")
    await ann.hears("7", by="bob")
    await ann.hears("!ping", by="bob")
    await ann.hears("pong")
    for said, heard in [
        ("some", "That should be a whole number. Try again, or say cancel."),
        ("400", "That is too much."),
        ("4", "Which colour?"),
        ("RED", "4 red ones? (yes/no)"),
        ("yes", "4 red ones for ann"),
        ("!ping", "pong"),
    ]:
        await ann.says(said)
        await ann.hears(heard)


async def test_an_answer_starts_no_command(party: Party) -> None:
    ann = await party.ann(shop())
    await ann.says("!order")
    await ann.hears("How many?")
    await ann.says("!ping")
    await ann.hears("That should be a whole number. Try again, or say cancel.")
    await ann.says("!cancel")
    await ann.hears("All right, never mind.")
    await ann.says("!ping")
    await ann.hears("pong")


async def test_what_was_said_before_the_question_is_no_answer(party: Party) -> None:
    bot = Bot("b")
    go = trio.Event()

    @bot.command
    async def ask(ctx: Context) -> None:
        await go.wait()
        await ctx.reply(f"answer: {await ctx.ask('Well?')}")

    @bot.command
    async def ping(ctx: Context) -> None:
        await ctx.reply("pong")

    ann = await party.ann(bot)
    await ann.says("!ask")
    await ann.says("!ping")
    go.set()
    await ann.hears("Well?")
    await ann.says("well")
    await ann.hears("answer: well")
    await ann.hears("pong")  # its turn came behind the conversation


async def test_each_room_is_its_own_conversation(party: Party) -> None:
    ann = await party.person("ann")
    await ann.creates("tea")
    await party.run(shop())
    for room in ("general", "tea"):
        await ann.says("!order", room=room)
        await ann.hears("How many?", room=room)
    await ann.says("1", room="tea")
    await ann.hears("Which colour?", room="tea")
    await ann.says("2")
    await ann.hears("Which colour?", room="general")


def duel() -> Bot:
    bot = Bot("duel")

    @bot.command(name="duel")
    async def challenge(ctx: Context, who: str) -> None:
        count = await ctx.ask(f"{who}, how many paces?", int, who=who, timeout=20)
        if await ctx.confirm("Still willing?") and await ctx.confirm(f"And {who}?", who=who):
            await ctx.reply(f"{ctx.user} and {who}: {count} paces")

    @bot.command
    async def ping(ctx: Context) -> None:
        await ctx.reply("pong")

    @bot.command
    async def everybody(ctx: Context, *names: str) -> None:
        answers: dict[str, str] = {}

        async def ask(name: str) -> None:
            answers[name] = await ctx.ask(f"{name}?", who=name)

        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(ask, name)
        await ctx.say(" ".join(f"{name}={answers[name]}" for name in names))

    return bot


async def test_somebody_else_is_asked(chat: Chat) -> None:
    await chat.run(duel())
    ann, bob, eve = await chat.people("ann", "bob", "eve")
    await ann.says("!duel Bob")
    await eve.hears(answered("Bob, how many paces?"))
    await ann.says("3")
    await eve.says("4")
    for person, said, heard in [
        (bob, "!ping", "That should be a whole number. Try again, or say cancel."),
        (bob, "12", "Still willing? (yes/no)"),
        (bob, "!ping", "pong"),  # nothing is asked of bob any more
        (ann, "yes", "And Bob? (yes/no)"),
        (bob, "yes", "ann and Bob: 12 paces"),
        (ann, "!ping", "pong"),
    ]:
        await person.says(said)
        await eve.hears(answered(heard, by="duel"))


async def test_several_are_asked_at_a_time(chat: Chat) -> None:
    bot = duel()
    run = await chat.run(bot)
    ann, bob, eve = await chat.people("ann", "bob", "eve")
    await ann.says("!everybody bob eve ann")
    for name in ("bob", "eve", "ann"):
        await ann.hears(ReceiveMessage, user="duel", text=f"{name}?")
    await bob.says("1")
    await ann.says("3")
    await run.crash()
    await eve.says("2")
    await chat.run(bot)
    await ann.hears(answered("bob=1 eve=2 ann=3"), within=100)
    assert ann.transcript().count("duel: 'bob?'") == 1


async def test_an_answer_is_found_after_a_crash_though_its_reader_was_there_first(chat: Chat) -> None:
    run = await chat.run(duel())
    ann, bob = await chat.people("ann", "bob")
    await ann.says("!duel bob")
    await bob.hears(answered("bob, how many paces?"))
    await run.crash()
    for text in ("12", "well", "!ping"):
        await bob.says(text)
    await ann.says("yes")
    slow = duel()

    @slow.around
    async def late(ctx: Context, call: object) -> None:
        await trio.sleep(5 if ctx.text.startswith("!duel") else 0)
        await call()  # type: ignore[operator]

    await chat.run(slow)
    await bob.hears(answered("pong"))
    await bob.hears(answered("Still willing? (yes/no)"), within=30)


async def test_how_a_question_to_somebody_else_ends(chat: Chat) -> None:
    bot, reasons = duel(), list[str]()

    @bot.around
    async def note(ctx: Context, call: object) -> None:
        try:
            await call()  # type: ignore[operator]
        except ConversationEnded as ended:
            reasons.append(f"{ended.reason} {ended.user}")
            raise

    await chat.run(bot)
    ann, bob, eve = await chat.people("ann", "bob", "eve")

    async def expect(heard: str) -> None:
        await ann.hears(answered(heard, by="duel"), within=30)

    await ann.says("!duel nobody")
    await expect("nobody is gone, so I have stopped waiting.")
    await ann.says("!duel bob")
    await expect("bob, how many paces?")
    await eve.says("!duel bob")
    await expect("There is a question open already; one at a time, please.")
    await bob.says("never")
    await expect("That should be a whole number. Try again, or say cancel.")
    await bob.says("cancel")
    await expect("All right, never mind.")
    await ann.says("!duel bob")
    await expect("bob, how many paces?")
    await expect("No answer came, so I have stopped waiting.")
    await ann.says("!duel bob")
    await expect("bob, how many paces?")
    await bob.renames("bobby")
    await bob.goes()
    await expect("bobby is gone, so I have stopped waiting.")
    await ann.says("!duel duel")
    await expect("Sorry, something went wrong in duel.")
    assert reasons == ["left nobody", "busy bob", "cancelled bob", "timeout bob", "left bobby"]
    assert not bot.running.questions


async def test_what_is_said_beside_an_answer_is_not_lost(chat: Chat) -> None:
    bot, plugin = duel(), Plugin("quiz")

    @plugin.command
    async def quiz(ctx: Context, who: str) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ctx.ask, "Well?")
            await ctx.ask("Well?", who=who)
            await bot.unload("quiz")

    bot.add(plugin)
    await chat.run(bot)
    ann, bob = await chat.people("ann", "bob")
    await ann.says("!quiz bob")
    for _ in range(2):
        await bob.hears(answered("Well?"))
    for _ in range(3):
        await bob.says("!ping")
    for _ in range(2):
        await bob.hears(answered("pong"))
    await trio.sleep(1)
    assert bob.transcript().count("pong") == 2
    assert not bot.running.lanes
    assert bot.running._intakes[0].unfinished == 0


async def test_it_ends_by_the_clock(chat: Chat) -> None:
    await chat.run(shop())
    ann = await chat.person("ann")
    await ann.says("!order")
    await ann.hears("How many?")
    await ann.hears_nothing(within=59)
    await ann.hears("No answer came, so I have stopped waiting.")


async def test_it_ends_when_the_person_leaves(chat: Chat) -> None:
    bot, ends = Bot("b"), list[str]()

    @bot.command
    async def ask(ctx: Context) -> None:
        try:
            await ctx.ask("Well?", timeout=10_000)
        except ConversationEnded as ended:
            ends.append(ended.reason)
            raise

    await chat.run(bot)
    ann, bob = await chat.people("ann", "bob")
    await ann.says("!ask")
    await ann.hears("Well?")
    await ann.leaves("general")
    await trio.sleep(1)
    assert ends == ["left"]
    await bob.hears(answered("Well?"))
    await bob.says("!ask")
    await bob.hears(answered("Well?"))
    await bob.goes()
    await trio.sleep(1)
    assert ends == ["left", "left"]


@pytest.mark.parametrize("back", [False, True])
async def test_nobody_waits_for_somebody_who_left_before_the_question(chat: Chat, back: bool) -> None:
    bot, ends, may_ask = Bot("b"), list[str](), trio.Event()

    @bot.command
    async def ask(ctx: Context) -> None:
        await may_ask.wait()
        try:
            ends.append(await ctx.ask("Well?", timeout=10_000))
        except ConversationEnded as ended:
            ends.append(ended.reason)

    await chat.run(bot)
    ann = await chat.person("ann")
    await ann.says("!ask")
    await ann.leaves("general")
    if back:
        await ann.joins("general")
    await trio.sleep(1)
    may_ask.set()
    await trio.sleep(1)
    if back:
        await ann.hears(answered("Well?"))
        await ann.says("here I am")
        await trio.sleep(1)
    assert ends == ["here I am" if back else "left"]


async def test_it_goes_on_under_a_new_name(party: Party) -> None:
    ann = await party.ann(shop())
    await ann.says("!order")
    await ann.hears("How many?")
    await ann.renames("anna")
    await ann.says("3")
    await ann.hears(answered("Which colour?"))


async def test_an_answer_right_before_leaving_counts(chat: Chat) -> None:
    bot, answers = Bot("b"), list[str]()

    @bot.command
    async def ask(ctx: Context) -> None:
        answers.append(await ctx.ask("Well?"))

    await chat.run(bot)
    ann = await chat.person("ann")
    await ann.says("!ask")
    await ann.hears("Well?")
    await ann.says("bye")
    await ann.leaves("general")
    await trio.sleep(1)
    assert answers == ["bye"]


async def test_it_ends_when_the_plugin_is_unloaded(chat: Chat) -> None:
    bot, plugin = Bot("b"), Plugin("quiz")

    @plugin.command
    async def quiz(ctx: Context) -> None:
        await ctx.ask("Well?", timeout=10_000)

    bot.add(plugin)
    await chat.run(bot)
    ann = await chat.person("ann")
    await ann.says("!quiz")
    await ann.hears("Well?")
    await bot.unload("quiz")
    assert not bot.running.lanes or await _soon_idle(bot)
    await ann.says("!help")
    await ann.hears("!help [command…] - Say what this bot can do, or how to use one command.")


async def _soon_idle(bot: Bot) -> bool:
    await trio.testing.wait_all_tasks_blocked()
    return not bot.running.lanes


async def test_a_second_question_at_a_time_is_refused(party: Party, caplog: pytest.LogCaptureFixture) -> None:
    bot = Bot("b")

    @bot.command
    async def both(ctx: Context) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ctx.ask, "One?")
            nursery.start_soon(ctx.ask, "Two?")

    ann = await party.ann(bot)
    await ann.says("!both")
    await ann.hears(lambda event: "something went wrong" in str(getattr(event, "text", "")))
    assert "a question to this person is open already" in caplog.text


async def test_a_conversation_goes_on_after_a_crash_and_after_a_stop(chat: Chat) -> None:
    for end in ("crash", "stop"):
        run = await chat.run(shop())
        ann = await chat.person(f"ann-{end}")
        await ann.says("!order")
        await ann.hears("How many?")
        await ann.says("5")
        await ann.hears("Which colour?")
        await getattr(run, end)()
        await ann.says("blue")
        run = await chat.run(shop())
        await ann.hears("5 blue ones? (yes/no)")  # neither asked again nor lost
        await ann.says("yes")
        await ann.hears(f"5 blue ones for ann-{end}")
        await ann.hears_nothing()
        await run.stop()


async def test_more_conversations_than_may_be_unfinished_do_not_hold_back_the_answers(chat: Chat) -> None:
    await chat.run(shop(at_once=2))
    people = await chat.people(*(f"p{number}" for number in range(8)))
    orders = [await person.says("!order") for person in people]
    for order in orders:
        await people[0].hears(ReceiveMessage, text="How many?", reply_to=order.seq)
    for person, order in zip(people, orders, strict=True):
        await person.says("7")
        await person.hears(ReceiveMessage, text="Which colour?", reply_to=order.seq)
        await person.says("blue")
        await person.hears(ReceiveMessage, text="7 blue ones? (yes/no)", reply_to=order.seq)
        await person.says("yes")
        await person.hears(ReceiveMessage, text=f"7 blue ones for {person.name}")


def counting(rooms: list[str], crossed: list[str]) -> Bot:
    bot = Bot("b", rooms=rooms, at_once=100)

    @bot.command
    async def count(ctx: Context, who: str) -> None:
        for number in range(2):
            answer = await ctx.ask(f"{who} {number}?", timeout=300)
            if answer != f"{who} {number}":
                crossed.append(answer)
        await ctx.reply(f"{who} done")

    return bot


async def test_a_thousand_conversations_at_once() -> None:
    crossed: list[str] = []
    earlier = len(left_over())
    """Those of other tests: pytest keeps what their errors hold."""
    many = 1000
    clients = 5
    config = ServerConfig(rate_limits=False)
    async with open_chat(config=config) as chat:
        people = [await chat.person(f"p{number}", keep=10) for number in range(clients)]
        rooms = [f"room{number}" for number in range(many // clients)]
        for room in rooms:
            await people[0].creates(room)
            for person in people[1:]:
                await person.joins(room)
        bot = counting(rooms, crossed)
        await chat.run(bot)

        async def talk(step: str) -> None:
            async with trio.open_nursery() as nursery:
                for room in rooms:
                    for person in people:
                        who = f"{person.name}.{room}"
                        nursery.start_soon(_say, person, room, step.format(who=who))

        async def until(messages: int) -> None:
            with trio.fail_after(60):
                while sum(people[0].room(room).position.seq for room in rooms) < messages:  # noqa: ASYNC110
                    await trio.sleep(0.01)

        await talk("!count {who}")
        await until(2 * many)
        assert len(bot.running.lanes) == many
        await talk("{who} 0")
        await until(4 * many)
        await talk("{who} 1")
        await until(6 * many)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert not crossed
        assert not bot.running.lanes
        with trio.fail_after(5):
            while len(left_over()) > earlier:
                await trio.testing.wait_all_tasks_blocked(0.05)


def left_over() -> list[object]:
    gc.collect()
    return [one for one in gc.get_objects() if isinstance(one, Lane | Context)]


async def _say(person: object, room: str, text: str) -> None:
    await person.says(text, room=room)  # type: ignore[attr-defined]


async def test_memory_is_back_at_the_baseline() -> None:
    async with open_chat(config=ServerConfig(rate_limits=False)) as chat:
        bot = Bot("b")

        @bot.command
        async def ask(ctx: Context) -> None:
            await ctx.ask("?")

        await chat.run(bot)
        ann = await chat.person("ann", keep=1)

        async def talk(times: int) -> int:
            for _ in range(times):
                await ann.says("!ask")
                await ann.hears("?")
                await ann.says("x")
            await trio.testing.wait_all_tasks_blocked(0.01)
            gc.collect()
            return _bytes_of_the_bot()

        tracemalloc.start()
        try:
            before = await talk(50)
            after = await talk(300)
        finally:
            tracemalloc.stop()
        assert after - before < 20_000


def _bytes_of_the_bot() -> int:
    """What code of the bot framework has allocated and not given back."""
    ours = tracemalloc.Filter(True, "*/chatkit/bot/*")
    return sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces([ours]).traces)
