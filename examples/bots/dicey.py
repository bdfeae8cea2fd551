"""The bot of the tutorial: it rolls dice, plays a guessing game, and keeps the score."""

import random

from chatkit import Bot, Context
from chatkit.bot import CommandFailed

bot = Bot("dicey", prefix="!")


@bot.command
async def roll(ctx: Context, sides: int = 6) -> None:
    """Roll a die."""
    if not 1 <= sides <= 1000:
        raise CommandFailed("A die has 1 to 1,000 sides.")
    await ctx.reply(f"{random.randint(1, sides)}")


@bot.command
async def play(ctx: Context) -> None:
    """Guess what a die will show."""
    guess = await ctx.ask("I roll a die. What will it show?", int, check=possible, timeout=60)
    rolled = random.randint(1, 6)
    if guess != rolled:
        await ctx.reply(f"It shows {rolled}. Better luck next time!")
        return
    score = await ctx.user_memory.update("score", lambda score: score + 1, 0)
    await ctx.reply(f"It shows {rolled}! You have {score}.")


def possible(guess: int) -> str | None:
    return None if 1 <= guess <= 6 else "A die has six sides."


@bot.command
async def score(ctx: Context) -> None:
    """Say how often you were right."""
    await ctx.reply(f"You have {await ctx.user_memory.get('score', 0)}.")


if __name__ == "__main__":
    bot.run("ws://127.0.0.1:8765")
