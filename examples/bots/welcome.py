"""A bot that greets people: in its own words for their role, and differently when they come back."""

from chatkit import Bot, Context
from chatkit.bot import in_room
from chatkit.protocol.messages import UserJoined

bot = Bot("welcome", owner="ann")

GREETINGS = {
    "owner": "The owner is here: good day, {user}!",
    "admin": "Good day, {user}!",
    "moderator": "Good day, {user}!",
}


@bot.listen(UserJoined, in_room("general"))
async def greet(ctx: Context) -> None:
    visits = await ctx.user_memory.update("visits", lambda visits: visits + 1, 0)
    rules = await ctx.room_memory.get("rules", "be kind")
    role = await ctx.role()
    if role in GREETINGS:
        await ctx.say(GREETINGS[role].format(user=ctx.user))
    elif visits == 1:
        await ctx.say(f"Welcome, {ctx.user}! The rules here: {rules}.")
    else:
        await ctx.say(f"Good to see you again, {ctx.user}.")


@bot.command
async def rules(ctx: Context, *, rules: str = "") -> None:
    """Say the rules, or set them."""
    if not rules:
        await ctx.reply(await ctx.room_memory.get("rules", "be kind"))
    elif ctx.bot.is_owner(ctx.user):
        await ctx.room_memory.set("rules", rules)
        await ctx.reply("Noted.")
    else:
        await ctx.reply("Only my owner sets the rules.")


if __name__ == "__main__":
    bot.run("ws://127.0.0.1:8765")
