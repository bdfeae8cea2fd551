"""The commands every bot has: ``help``, and ``jobs`` for its owner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatkit.bot.command import Command, Tree
from chatkit.bot.context import Context
from chatkit.bot.guard import is_owner
from chatkit.bot.scope import Scope
from chatkit.errors import CommandFailed

if TYPE_CHECKING:
    from chatkit.bot.bot import Bot


def make_help(bot: Bot) -> Scope:
    """Return the scope of the commands every bot has. A bot's own command of the same name comes first."""
    scope = Scope("help")

    @scope.command
    async def help(context: Context, *, command: str = "") -> None:
        """Say what this bot can do, or how to use one command."""
        await context.reply(_about(bot, command) if command else _everything(bot))

    if bot.owners:

        @scope.command(hidden=True, guards=[is_owner()])
        async def jobs(context: Context) -> None:
            """Say how the bot's jobs fare."""
            await context.reply("\n".join(job.line() for job in bot.jobs_running) or "No jobs.")

    return scope


def _everything(bot: Bot) -> str:
    lines = [
        _line(bot.prefix, command)
        for scope in bot.scopes
        for command in scope.tree.commands()
        if not command.hidden and bot.find(command.full_name) is command
    ]
    return "\n".join(lines)


def _line(prefix: str, command: Command) -> str:
    usage = command.usage(prefix)
    return f"{usage} - {command.summary}" if command.summary else usage


def _about(bot: Bot, name: str) -> str:
    entry = bot.find(name.removeprefix(bot.prefix))
    if entry is None:
        raise CommandFailed(f"There is no command {name[:40]!r}; {bot.prefix}help lists them.")
    if isinstance(entry, Tree):
        head = [entry.description] if entry.description else []
        return "\n".join([*head, *(_line(bot.prefix, command) for command in entry.commands())])
    aliases = f"Also: {', '.join(entry.aliases)}" if entry.aliases else ""
    return "\n".join(part for part in (f"Usage: {entry.usage(bot.prefix)}", entry.description, aliases) if part)
