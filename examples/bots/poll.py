"""A bot that takes polls: a conversation to begin one, a plugin with state, a memory that survives restarts."""

from chatkit import Bot, Context
from chatkit.bot import CommandFailed, Plugin, command


class Poll(Plugin):
    """One poll a room."""

    @command
    async def poll(self, ctx: Context) -> None:
        """Begin a poll: I shall ask you what about."""
        if await ctx.room_memory.get("poll") and not await ctx.confirm("There is a poll already. End it?"):
            return
        question = await ctx.ask("What is the question?", timeout=120)
        choices: list[str] = []
        while len(choices) < 10:
            choice = await ctx.ask(f"Choice {len(choices) + 1}? Say done when that is all.", timeout=120)
            if choice.casefold() == "done":
                break
            choices.append(choice)
        if len(choices) < 2:
            raise CommandFailed("A poll needs two choices at least.")
        await ctx.room_memory.set("poll", {"question": question, "choices": choices, "votes": {}})
        shown = ", ".join(f"{number} {choice}" for number, choice in enumerate(choices, 1))
        await ctx.say(f"{question} {shown} (!vote NUMBER)")

    @command
    async def vote(self, ctx: Context, number: int) -> None:
        """Vote; your last vote counts."""
        poll = await self.current(ctx)
        if not 1 <= number <= len(poll["choices"]):
            raise CommandFailed(f"There are choices 1 to {len(poll['choices'])}.")
        vote = {ctx.user.casefold(): number}
        await ctx.room_memory.update("poll", lambda poll: poll | {"votes": poll["votes"] | vote})
        await ctx.reply("Counted.")

    @command
    async def result(self, ctx: Context) -> None:
        """Say how the poll stands."""
        poll = await self.current(ctx)
        votes = list(poll["votes"].values())
        lines = [f"{choice}: {votes.count(number)}" for number, choice in enumerate(poll["choices"], 1)]
        await ctx.say("\n".join([poll["question"], *lines]))

    async def current(self, ctx: Context) -> dict:
        return await ctx.room_memory.get("poll") or fail("There is no poll here; !poll begins one.")


def fail(sentence: str) -> dict:
    raise CommandFailed(sentence)


bot = Bot("poll")
bot.add(Poll())

if __name__ == "__main__":
    bot.run("ws://127.0.0.1:8765")
