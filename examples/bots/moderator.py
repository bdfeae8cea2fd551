"""A bot that keeps order: it warns of words it is told to watch for, and asks for silence, for a time.

Who is muted is told so whenever they speak before their time is over. (Nobody is silenced by force: that is the
server's to do.)
"""

from datetime import datetime, timedelta

from chatkit import Bot, Context
from chatkit.bot import CommandFailed, Plugin, User, contains, from_user, is_owner, matches, where

bot = Bot("moderator", owner="ann")
orders = Plugin("orders", guards=[is_owner()])
WATCHED = contains("spam", "buy now") | matches(r"(?i)\bhttps?://\S+\.zip\b")


@orders.command
async def mute(ctx: Context, user: User, term: timedelta | None, *, reason: str = "no reason given") -> None:
    """Ask somebody for silence: !mute bob 10m shouting."""
    if ctx.bot.is_owner(user.user):
        raise CommandFailed("Not my owner.")
    until = ctx.now() + (term or timedelta(minutes=5))
    await ctx.room_memory.set(user.user.casefold(), [until.timestamp(), reason])
    await ctx.say(f"{user.user} is muted until {until:%H:%M:%S} UTC: {reason}.")


@orders.command
async def unmute(ctx: Context, user: User) -> None:
    """Let somebody speak again."""
    await ctx.room_memory.delete(user.user.casefold())
    await ctx.say(f"{user.user} may speak.")


@bot.listen(~from_user("ann"), last=False)
async def remind_the_muted(ctx: Context) -> None:
    until, reason = await ctx.room_memory.get(ctx.user.casefold(), (0, ""))
    if ctx.message.timestamp / 1000 < until:
        await ctx.reply(f"You are muted until {datetime.fromtimestamp(until, ctx.now().tzinfo):%H:%M:%S}: {reason}.")


@bot.listen(WATCHED & ~from_user("ann") & where(lambda incoming: not incoming.by_bot))
async def watch(ctx: Context) -> None:
    strikes = await ctx.user_memory.update("strikes", lambda strikes: strikes + 1, 0)
    await ctx.reply(f"Please not here. (Strike {strikes}.)")


bot.add(orders)

if __name__ == "__main__":
    bot.run("ws://127.0.0.1:8765")
