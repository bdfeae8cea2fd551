"""A bot as its user writes it. Never run: only type-checked, strictly."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Literal, assert_type

from chatkit import Bot, Client, Context, Message, Room
from chatkit.bot import JobContext, Later, Plugin, User, command, cooldown, every, in_room, listen, matches
from chatkit.protocol.messages import UserJoined

bot = Bot("dice", prefix="!")


def too_long(time: timedelta) -> str | None:
    return "too long" if time.days else None


@bot.command
async def roll(ctx: Context, sides: int = 6, *, note: str = "") -> None:
    assert_type(await ctx.reply("6"), Message)
    assert_type(ctx.room, Room)
    assert_type(ctx.client, Client)
    assert_type(await ctx.ask("How many?", int, timeout=60), int)
    assert_type(await ctx.ask("How long?", timedelta, check=too_long), timedelta)
    assert_type(await ctx.confirm("Sure?"), bool)
    if ctx.match is not None:
        assert_type(ctx.match[1], str | None)


@bot.command(aliases=["x"], guards=[cooldown(3, per="room")])
async def user(ctx: Context, who: User, size: Literal["s", "l"] | None = None) -> None: ...


@bot.listen(UserJoined, in_room("general") & ~matches("x"))
async def joined(ctx: Context) -> None: ...


@bot.later
async def remind(ctx: JobContext, text: str) -> None: ...


assert_type(remind, Later)


@bot.lifespan
async def opened(bot: Bot) -> AsyncIterator[None]:
    yield


class Poll(Plugin):
    @command
    async def poll(self, ctx: Context) -> None:
        assert_type(await remind.after(3, text="x"), str)

    @listen()
    async def heard(self, ctx: Context) -> None: ...

    @every(60)
    async def tick(self, ctx: JobContext) -> None: ...


async def main() -> None:
    assert_type(await bot.load(Poll()), Plugin)
    await bot.serve("ws://127.0.0.1:8765")
