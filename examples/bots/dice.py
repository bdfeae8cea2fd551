"""A bot that rolls dice; `!help` tells how. "Roll 3d6" in the middle of a sentence works, too."""

import random

from chatkit import Bot, Context
from chatkit.bot import CommandFailed, cooldown, matches

bot = Bot("dice", prefix="!")


@bot.command(aliases=["r"], guards=[cooldown(10, times=5)])
async def roll(ctx: Context, sides: int = 6, count: int = 1) -> None:
    """Roll dice.

    Without numbers it is one die with six sides.
    """
    await ctx.reply(rolled(count, sides))


@bot.command
async def choose(ctx: Context, *choices: str) -> None:
    """Choose for you."""
    if len(choices) < 2:
        raise CommandFailed("Give me something to choose from: !choose tea coffee")
    await ctx.reply(random.choice(choices))


@bot.listen(matches(r"(?i)\broll (\d{1,3})d(\d{1,6})\b"))
async def mentioned(ctx: Context) -> None:
    assert ctx.match is not None
    await ctx.reply(rolled(int(ctx.match[1] or 1), int(ctx.match[2] or 6)))


def rolled(count: int, sides: int) -> str:
    if not (0 < sides <= 1_000_000 and 0 < count <= 100):
        raise CommandFailed("I have up to 100 dice with 1 to 1,000,000 sides.")
    dice = [random.randint(1, sides) for _ in range(count)]
    return f"{' + '.join(map(str, dice))} = {sum(dice)}" if count > 1 else str(dice[0])


if __name__ == "__main__":
    bot.run("ws://127.0.0.1:8765")
