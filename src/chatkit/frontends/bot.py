"""``chatkit bot``: running a bot from its file, and beginning a new one."""

from __future__ import annotations

import importlib.util
import logging
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Annotated, TypeAlias

from chatkit.bot import Bot, FileMemory
from chatkit.errors import UsageError
from chatkit.frontends.credentials import TokenFile, credentials_of
from chatkit.frontends.exits import Exit
from chatkit.frontends.launch import run_command
from chatkit.frontends.options import DEFAULT_URL, Parameter, Url
from chatkit.protocol.names import check_name

BotPasswordFile: TypeAlias = Annotated[
    Path | None,
    Parameter(
        name="--password-file", show_default=False, help="A file that holds the bot's password, if its name has one."
    ),
]
USAGE = """\
chatkit bot run FILE[:NAME] [URL] [OPTIONS]    run a bot
chatkit bot new NAME                           begin one, in a directory of its name
"""


def run(arguments: Sequence[str]) -> int:
    """Run a bot from its file, or begin a new one."""
    words = list(arguments)
    match words[:1]:
        case ["run"]:
            return run_command("bot run", run_bot, words[1:], "FILE[:NAME] [URL] [OPTIONS]")
        case ["new"]:
            return run_command("bot new", new_bot, words[1:], "NAME")
        case ["--help" | "-h" | "help"]:
            sys.stdout.write(f"Usage:\n\n{USAGE}")
            return Exit.OK
    raise UsageError(f"what shall the bot do? chatkit bot run FILE, or chatkit bot new NAME{_shown(words)}")


def _shown(words: list[str]) -> str:
    return f"; there is no chatkit bot {words[0]}" if words else ""


def run_bot(
    file: Annotated[str, Parameter(help="The Python file, and behind a colon what the bot is called in it: bot.")],
    url: Url = DEFAULT_URL,
    *,
    memory: Annotated[
        Path | None, Parameter(name=["--memory", "-m"], help="Where it keeps things; else beside its file.")
    ] = None,
    password_file: BotPasswordFile = None,
    token_file: TokenFile = None,
    verbose: Annotated[bool, Parameter(name=["--verbose", "-v"], negative="", help="Log more.")] = False,
) -> int:
    """Run a bot until SIGTERM or Ctrl-C: it then lets its handlers end, notes what is done, and leaves."""
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s %(message)s"
    )
    bot = load_bot(file)
    if memory is not None:
        bot.memory = FileMemory(memory)
    given = credentials_of(bot.name, password_file, token_file)
    secrets = {"password": given.password, "token": given.token}
    bot.run(url, **{name: secret for name, secret in secrets.items() if secret is not None})
    return Exit.OK


def load_bot(file: str) -> Bot:
    """Return the bot of a file: ``path/to/bot.py`` or ``path/to/bot.py:name``. Raises `UsageError`."""
    path_text, colon, name = file.rpartition(":")
    path, name = (Path(path_text), name) if colon and name.isidentifier() else (Path(file), "bot")
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    bot = getattr(_load_module(path), name, None)
    if not isinstance(bot, Bot):
        raise UsageError(f"{path} has no bot called {name}: {name} = Bot(…)")
    return bot


def _load_module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.resolve().parent))
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(f"{path} cannot be run:\n{_from_the_file(error, path)}") from error
    return module


def _from_the_file(error: Exception, path: Path) -> str:
    """Return the traceback from the bot's file on: what led there is not its author's."""
    at = error.__traceback__
    while at is not None and at.tb_frame.f_code.co_filename != str(path.resolve()):
        at = at.tb_next
    return "".join(traceback.format_exception(error.with_traceback(at), chain=at is not None)).rstrip()


def new_bot(name: Annotated[str, Parameter(help="The bot's name, and that of the directory to make.")]) -> int:
    """Begin a bot: a directory with the bot, a test of it, and pytest's settings."""
    name = check_name(name, "bot's name")
    directory = Path(name)
    try:
        directory.mkdir()
        for file, text in TEMPLATES.items():
            (directory / file).write_text(text.replace("NAME", name), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{directory} cannot be made: {error.strerror}") from error
    sys.stdout.write(f"{directory}/bot.py is a bot. Test it: cd {name} && pytest. Run it: chatkit bot run bot.py\n")
    return Exit.OK


TEMPLATES = {
    "bot.py": '''\
"""The bot NAME."""

import random

from chatkit import Bot, Context
from chatkit.bot import CommandFailed

bot = Bot("NAME", prefix="!")


@bot.command
async def roll(ctx: Context, sides: int = 6) -> None:
    """Roll a die."""
    if not 1 <= sides <= 1000:
        raise CommandFailed("A die has 1 to 1,000 sides.")
    await ctx.reply(f"{random.randint(1, sides)}")


if __name__ == "__main__":
    bot.run("ws://127.0.0.1:8765")
''',
    "test_bot.py": '''\
"""What the bot NAME does, in a room of its own."""

from bot import bot


async def test_roll(chat):
    await chat.run(bot)
    ann = await chat.person("ann")
    await ann.says("!roll 1")
    await ann.hears("1", by="NAME")


async def test_a_wrong_argument_is_explained(chat):
    await chat.run(bot)
    ann = await chat.person("ann")
    await ann.says("!roll many")
    await ann.hears("sides: expected a whole number, not “many”. Usage: !roll [sides=6]")
    await ann.says("!roll 0")
    await ann.hears("A die has 1 to 1,000 sides.")
''',
    "pytest.ini": """\
[pytest]
trio_mode = true
""",
    ".gitignore": """\
*.bot.db*
chat.db*
__pycache__/
""",
}
