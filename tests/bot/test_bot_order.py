"""Bots where order is kept: roles as guards, and what was removed before they heard it."""

from __future__ import annotations

import pytest
import trio
from party import answered

from chatkit import Bot, Context, UsageError
from chatkit.bot import at_least
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
