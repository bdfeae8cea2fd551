"""A bot that reminds people: `!remind 10m the tea is ready`. What it promised survives a restart."""

from datetime import datetime, timedelta

from chatkit import Bot, Context
from chatkit.bot import CommandFailed, JobContext

bot = Bot("reminder")


@bot.later
async def deliver(ctx: JobContext, room: str, user: str, text: str) -> None:
    await ctx.say(f"{user}: {text}", room=room)


@bot.command
async def remind(ctx: Context, when: timedelta | datetime, *, text: str) -> None:
    """Remind you: !remind 10m tea, or !remind 18:30 dinner (UTC)."""
    due = ctx.now() + when if isinstance(when, timedelta) else when
    if due <= ctx.now():
        raise CommandFailed("That has passed already.")
    key = f"{ctx.user.casefold()}/{ctx.message.epoch}/{ctx.message.seq}"
    await deliver.at(due, key=key, room=ctx.room.name, user=ctx.user, text=text)
    await ctx.reply(f"On {due:%Y-%m-%d at %H:%M} UTC, then.")


@bot.command
async def reminders(ctx: Context) -> None:
    """Say what you are to be reminded of."""
    lines = [f"{due:%Y-%m-%d %H:%M} {what['text']}" for due, what in (await mine(ctx)).values()]
    await ctx.reply("\n".join(lines) or "Nothing.")


@bot.command
async def forget(ctx: Context) -> None:
    """Forget everything you are to be reminded of."""
    waiting = await mine(ctx)
    for id in waiting:
        await deliver.cancel(id)
    await ctx.reply(f"Forgot {len(waiting)}.")


async def mine(ctx: Context) -> dict[str, tuple[datetime, dict]]:
    waiting = await deliver.waiting()
    return {id: one for id, one in sorted(waiting.items()) if id.startswith(f"{ctx.user.casefold()}/")}


if __name__ == "__main__":
    bot.run("ws://127.0.0.1:8765")
