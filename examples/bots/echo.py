"""A bot that says what people say. It never answers itself, nor another echo."""

from chatkit import Bot, Context

bot = Bot("echo")


@bot.listen()
async def repeat(ctx: Context) -> None:
    await ctx.reply(ctx.message.binary or ctx.text)


if __name__ == "__main__":
    bot.run("ws://127.0.0.1:8765")
