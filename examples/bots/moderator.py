"""A bot that keeps order: it mutes whom a moderator names, for a time, and whoever spams, after three warnings.

It has to be a moderator of the room itself: its owner types ``/role moderator moderator`` there.
"""

from datetime import timedelta

from chatkit import Bot, Context, RequestFailed
from chatkit.bot import CommandFailed, Plugin, User, at_least, contains, from_user, matches, where

bot = Bot("moderator", owner="ann", rooms=["general", "tea"])
orders = Plugin("orders", guards=[at_least("moderator")])
WATCHED = contains("spam", "buy now") | matches(r"(?i)\bhttps?://\S+\.zip\b")
STRIKES = 3


async def silence(ctx: Context, user: str, term: timedelta, reason: str) -> None:
    try:
        await ctx.room.mute(user, for_=term, reason=reason)
    except RequestFailed as error:
        raise CommandFailed(f"That I cannot: {error.message}.") from error


@orders.command
async def mute(ctx: Context, user: User, term: timedelta | None, *, reason: str = "no reason given") -> None:
    """Let somebody read but not speak: !mute bob 10m shouting."""
    term = term or timedelta(minutes=5)
    await silence(ctx, user.user, term, reason)
    await ctx.say(f"{user.user} is muted until {ctx.now() + term:%H:%M:%S} UTC: {reason}.")


@orders.command
async def unmute(ctx: Context, user: User) -> None:
    """Let somebody speak again."""
    try:
        await ctx.room.unmute(user.user)
    except RequestFailed as error:
        raise CommandFailed(f"{user.user} may speak already.") from error
    await ctx.say(f"{user.user} may speak.")


@bot.listen(WATCHED & ~from_user("ann") & where(lambda incoming: not incoming.by_bot))
async def watch(ctx: Context) -> None:
    strikes = await ctx.user_memory.update("strikes", lambda strikes: strikes + 1, 0)
    await ctx.reply(f"Please not here. (Strike {strikes}.)")
    if strikes % STRIKES == 0:
        await silence(ctx, ctx.user, timedelta(minutes=10), "three strikes")


bot.add(orders)

if __name__ == "__main__":
    bot.run("ws://127.0.0.1:8765")
