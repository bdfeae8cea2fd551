"""The examples: each does what it says, through a real server."""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path

import pytest
import trio
from party import answered, in_memory_only

from chatkit import Bot, RequestFailed
from chatkit.protocol.messages import ReceiveMessage, UserJoined
from chatkit.protocol.moderation import Muted
from chatkit.testing import Chat, Person

EXAMPLES = Path(__file__).parents[2] / "examples" / "bots"


def load(name: str) -> Bot:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    bot: Bot = module.bot
    return bot


async def talk(person: Person, *exchange: tuple[str, str]) -> None:
    for said, heard in exchange:
        await person.says(said)
        await person.hears(answered(heard))


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_each_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 60


async def test_echo(chat: Chat) -> None:
    await chat.run(load("echo"))
    await chat.run(Bot("other"))
    ann = await chat.person("ann")
    await ann.says("hello")
    await ann.hears("hello", by="echo")
    await ann.says(b"\x00\x01")
    await ann.hears(b"\x00\x01", by="echo")
    await ann.hears_nothing()


async def test_dice(chat: Chat) -> None:
    random.seed(7)
    await chat.run(load("dice"))
    ann = await chat.person("ann")
    await talk(ann, ("!roll 1", "1"), ("!r 1 3", "1 + 1 + 1 = 3"), ("please roll 2d1 for me", "1 + 1 = 2"))
    await talk(
        ann,
        ("!roll 0", "I have up to 100 dice with 1 to 1,000,000 sides."),
        ("!choose", "Give me something to choose from: !choose tea coffee"),
        ("!choose 'hot tea' “hot tea”", "hot tea"),
    )
    await ann.says("!help")
    assert "!choose [choices…] - Choose for you." in (await ann.hears(ReceiveMessage, user="dice")).text


async def test_welcome(chat: Chat) -> None:
    run = await chat.run(load("welcome"))
    ann = await chat.person("ann")
    await ann.hears("Welcome, ann! The rules here: be kind.")
    await talk(ann, ("!rules no shouting", "Noted."), ("!rules", "no shouting"))
    bob = await chat.person("bob")
    await ann.hears("Welcome, bob! The rules here: no shouting.")
    await talk(bob, ("!rules shout", "Only my owner sets the rules."))
    await bob.goes()
    await run.crash()
    await chat.run(load("welcome"))
    await chat.person("bob")
    await ann.hears(answered("Good to see you again, bob."))


async def test_poll(chat: Chat) -> None:
    run = await chat.run(load("poll"))
    ann, bob = await chat.people("ann", "bob")
    await talk(
        ann,
        ("!result", "There is no poll here; !poll begins one."),
        ("!poll", "What is the question?"),
        ("Tea or coffee?", "Choice 1? Say done when that is all."),
        ("tea", "Choice 2? Say done when that is all."),
    )
    await run.crash()
    await ann.says("coffee")
    run = await chat.run(load("poll"))
    await ann.hears("Choice 3? Say done when that is all.")
    await talk(ann, ("done", "Tea or coffee? 1 tea, 2 coffee (!vote NUMBER)"), ("!vote 1", "Counted."))
    await talk(bob, ("!vote 3", "There are choices 1 to 2."), ("!vote 1", "Counted."), ("!vote 2", "Counted."))
    await run.crash()
    await chat.run(load("poll"))
    await talk(bob, ("!result", "Tea or coffee?\ntea: 1\ncoffee: 1"))
    await talk(ann, ("!poll", "There is a poll already. End it? (yes/no)"), ("no", "no"))
    await talk(ann, ("!result", "Tea or coffee?\ntea: 1\ncoffee: 1"))


@in_memory_only
async def test_reminder(chat: Chat) -> None:
    run = await chat.run(load("reminder"))
    ann, bob = await chat.people("ann", "bob")
    await talk(
        ann,
        ("!remind 10m the tea is ready", "On 2030-01-01 at 12:10 UTC, then."),
        ("!remind 13:00 lunch", "On 2030-01-01 at 13:00 UTC, then."),
        ("!remind 2029-01-01 late", "That has passed already."),
        ("!reminders", "2030-01-01 12:10 the tea is ready\n2030-01-01 13:00 lunch"),
    )
    await talk(bob, ("!reminders", "Nothing."))
    await run.crash()
    await trio.sleep(900)
    await chat.run(load("reminder"))
    await ann.hears(answered("ann: the tea is ready"))
    await talk(ann, ("!forget", "Forgot 1."))
    await trio.sleep(4000)
    assert "lunch" not in ann.transcript().rpartition("Forgot")[2]


@in_memory_only
async def test_moderator(chat: Chat) -> None:
    ann, bob = await chat.people("ann", "bob")
    tea = await ann.creates("tea")
    await bob.joins("tea")
    await chat.run(load("moderator"))
    await ann.hears(UserJoined, room="tea", user="moderator")

    async def talk_in_tea(person: Person, said: str, heard: str) -> None:
        await person.says(said, room="tea")
        await person.hears(answered(heard))

    await talk_in_tea(bob, "buy now: spam", "Please not here. (Strike 1.)")
    await talk_in_tea(bob, "see http://example.org/x.ZIP now", "Please not here. (Strike 2.)")
    await talk_in_tea(bob, "!mute ann 10m fun", "Only for moderators and whoever has more to say here.")
    await talk_in_tea(ann, "!mute bob 10m", "That I cannot: you may not mute in 'tea'.")
    await tea.set_role("moderator", "moderator")
    await talk_in_tea(ann, "!mute bob 10m spam", "bob is muted until 12:10:00 UTC: spam.")
    await bob.hears(Muted, reason="spam")
    with pytest.raises(RequestFailed, match="muted"):
        await bob.says("but", room="tea")
    await trio.sleep(600)
    await bob.says("at last", room="tea")
    await talk_in_tea(ann, "!mute bob enough", "bob is muted until 12:15:00 UTC: enough.")
    await talk_in_tea(ann, "!unmute bob", "bob may speak.")
    await talk_in_tea(ann, "!unmute bob", "bob may speak already.")
    await talk_in_tea(bob, "more spam", "Please not here. (Strike 3.)")
    await bob.hears(Muted, reason="three strikes")
    await talk_in_tea(ann, "!mute ann", "That I cannot: ann has as much to say in 'tea' as you.")
