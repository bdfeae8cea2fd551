"""Bots where order is kept: roles as guards, and what was removed before they heard it."""

from __future__ import annotations

import pytest
import trio
from party import answered

from chatkit import Bot, Context, UsageError
from chatkit.bot import RamMemory, at_least
from chatkit.testing import Chat


async def test_roles_in_their_order(chat: Chat) -> None:
    ann, bob, eve = await chat.people("ann", "bob", "eve")
    tea = await ann.creates("tea")
    bot = Bot("b", rooms=["tea"])

    @bot.command(guards=[at_least("moderator")])
    async def order(ctx: Context) -> None:
        await ctx.reply(f"as {ctx.user} says")

    for person in (bob, eve):
        await person.joins("tea")
    await tea.set_role("bob", "moderator")
    await chat.run(bot)
    for person, answer in (
        (ann, "as ann says"),
        (bob, "as bob says"),
        (eve, "Only for moderators and whoever has more to say here."),
    ):
        await person.says("!order", room="tea")
        await person.hears(answered(answer))
    await tea.set_role("bob", "member")
    await bob.says("!order", room="tea")
    await bob.hears(answered("Only for moderators and whoever has more to say here."))
    with pytest.raises(UsageError, match="king"):
        at_least("king")


async def test_what_was_removed_is_not_heard(chat: Chat) -> None:
    ann = await chat.person("ann")
    await ann.creates("tea")
    heard: list[str] = []
    bot = Bot("b", rooms=["tea"])

    @bot.listen()
    async def hear(ctx: Context) -> None:
        heard.append(ctx.text)

    run = await chat.run(bot)
    await ann.says("one", room="tea")
    await trio.sleep(1)
    await run.stop()
    rude = await ann.says("rude", room="tea")
    await ann.room("tea").delete_message(rude)
    await ann.says("two", room="tea")
    await chat.run(bot)
    await trio.sleep(1)
    assert heard == ["one", "two"]


def pong(room: str) -> Bot:
    bot = Bot("b", rooms=[room])

    @bot.command
    async def ping(ctx: Context) -> None:
        await ctx.reply(f"pong in {ctx.room.name}")

    return bot


async def test_a_room_that_is_renamed_is_the_same_room(chat: Chat) -> None:
    ann = await chat.person("ann")
    tea, memory = await ann.creates("tea"), RamMemory()
    first = await chat.run(pong("tea"), memory=memory)
    await ann.says("!ping", room="tea")
    await ann.hears(answered("pong in tea"))
    await tea.update(name="chai")
    await ann.says("!ping", room="chai")
    await ann.hears(answered("pong in chai"))
    await first.stop()
    await ann.says("!ping", room="chai")
    await chat.run(pong("chai"), memory=memory)
    await ann.hears(answered("pong in chai"))
    assert len([one for one in tea.state.messages() if one.user == "b"]) == 3


async def test_a_bot_that_is_sent_out_does_not_come_back_at_once(chat: Chat) -> None:
    ann = await chat.person("ann")
    tea = await ann.creates("tea")
    await chat.run(pong("tea"))
    await tea.kick("b", "be quiet")
    await trio.sleep(10)
    assert [one.user for one in await tea.users()] == ["ann"]
    await trio.sleep(25)
    assert {one.user for one in await tea.users()} == {"ann", "b"}
