"""The commands about accounts and keeping order, over real connections."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import trio

from chatkit import RequestFailed, UsageError
from chatkit.frontends.commands import COMMANDS, Conversation
from chatkit.frontends.lines import Shown, line_of, local_time
from chatkit.protocol import messages as m
from chatkit.protocol import moderation as mod
from chatkit.testing import Person, open_test_server


class Talk(Conversation):
    """A conversation whose user is asked for passwords, and answers these."""

    def __init__(self, person: Person, *secrets: str) -> None:
        super().__init__(person.client)
        self.person = person
        self.secrets = list(secrets)
        self.asked: list[str] = []
        self.ask_secret = self._answer
        self.shown = Shown()

    async def _answer(self, label: str) -> str:
        self.asked.append(label)
        return self.secrets.pop(0)

    async def do_all(self, *lines: str) -> list[str]:
        return [said for line in lines for said in await self.do(line)]

    async def sees(self, event: type[m.Event]) -> str:
        """Return the line that an event becomes."""
        happened = await self.person.hears(event)
        self.take(happened)
        line = line_of(happened, 0, self, self.shown)
        assert line is not None
        return line.plain


@asynccontextmanager
async def talks(*guests: str) -> AsyncIterator[list[Talk]]:
    """Give the talks of ann, who has an account and owns tea, and of guests who are there too."""
    async with open_test_server() as server:
        people = [await server.person("ann", password="long enough", register=True), *await server.people(*guests)]
        found = [Talk(person) for person in people]
        await found[0].do("/create tea")
        for talk in found[1:]:
            await talk.do("/join tea")
        yield found


async def test_a_mute_is_told_once_however_often_the_link_is_lost() -> None:
    async with talks("bob") as (ann, bob):
        for _ in range(2):
            await ann.do("/mute bob 10m loud")
            muted = await bob.person.hears(mod.Muted)
            line = line_of(muted, 0, bob, bob.shown)
            assert line is not None
            assert "you may not speak in tea" in line.plain
            assert line_of(muted, 0, bob, bob.shown) is None  # as after a reconnect
            await ann.do("/unmute bob")
            assert await bob.sees(mod.Unmuted) == "* you may speak in tea again"


async def test_a_mute_for_good_is_told_each_time() -> None:
    async with talks("bob") as (ann, bob):
        await ann.do("/mute bob")
        muted = await bob.person.hears(mod.Muted)
        for _ in range(2):  # lifted and set again while bob was away, it would be the same event
            line = line_of(muted, 0, bob, bob.shown)
            assert line is not None
            assert "you may not speak in tea" in line.plain


async def refused(talk: Talk, line: str) -> str:
    with pytest.raises((UsageError, RequestFailed)) as caught:
        await talk.do(line)
    return str(caught.value)


async def test_sending_out_keeping_out_and_silencing() -> None:
    async with talks("bob", "eve") as (ann, bob, eve):
        assert await ann.do("/kick bob  calm down ") == ("bob is out of tea",)
        assert await bob.sees(mod.RemovedFromRoom) == "* you were sent out of tea, by ann: calm down"
        assert bob.current == "general"
        await bob.do("/join tea")
        assert await ann.do("/mute bob 10m loud") == ("bob may not speak in tea for 10m",)
        assert (await bob.sees(mod.Muted)).startswith("* you may not speak in tea until ")
        assert "muted" in await refused(bob, "hello?")
        assert await ann.do("/unmute bob") == ("bob may speak in tea again",)
        assert await bob.sees(mod.Unmuted) == "* you may speak in tea again"
        assert await ann.do("/ban eve 1h30m 3 warnings") == ("eve is banned from tea for 1h30m",)
        assert await eve.sees(mod.RemovedFromRoom) == "* you were banned from tea, by ann: 3 warnings"
        (line,) = await ann.do("/bans")
        assert line.startswith("eve is banned until ")
        assert line.endswith(", by ann: 3 warnings")
        assert await ann.do("/unban eve") == ("eve may come back to tea",)
        assert await ann.do("/bans") == ("nobody is banned from tea",)
        done = await ann.do("/audit")
        assert [line.split()[3] for line in done] == ["kick", "mute", "unmute", "ban", "unban"]
        assert "nobody" in await refused(ann, "/unban eve")
        assert "only an admin" in await refused(ann, "/ban --server eve")
        assert "only an admin" in await refused(ann, "/ban --server 203.0.113.7 1d")
        assert "only an admin" in await refused(ann, "/audit --server")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("/ban bob 1x", "'1x' is no length of time: write 30s, 10m, 1h, 2d or 1w"),
        ("/mute --server bob", "somebody is muted in a room, not on the server"),
        ("/ban --server", "say who, behind --server"),
        ("/role bob king", "which role? /role NAME owner|moderator|member"),
        ("/readonly maybe", "on or off? 'maybe' is neither"),
        ("/slow soon", "'soon' is no length of time: write 30s, 10m, 1h, 2d or 1w"),
        ("/remove x", "'x' is no number of a message: /recent shows them"),
        ("/recent 0", "how many? '0' is no number from 1 to 1000"),
        ("/delete general", "this deletes the room and all that was said in it: to be sure, type /delete tea"),
        ("/kick", "/kick needs something behind it: /kick NAME [reason]"),
        ("/register", "you have an account already: ann"),
        ("/token ci bot soon", "'soon' is no length of time: write 30s, 10m, 1h, 2d or 1w"),
    ],
)
async def test_what_is_typed_wrongly_is_explained(line: str, said: str) -> None:
    async with talks() as (ann,):
        assert await refused(ann, line) == said


async def test_the_room_itself() -> None:
    async with talks("bob") as (ann, bob):
        await bob.do("first")
        await bob.do("second")
        assert (await bob.sees(m.ReceiveMessage)).endswith("bob: first")
        assert await ann.do("/topic") == ("tea has no topic",)
        assert await ann.do_all("/topic green or black?", "/readonly on", "/slow 1m", "/slow off") == [
            "tea: green or black?",
            "only moderators speak in tea now",
            "everybody speaks in tea every 60 seconds at most now",
            "tea is slow no longer",
        ]
        assert await ann.do("/readonly off") == ("everybody may speak in tea again",)
        assert await ann.do("/rename-room den") == ()
        assert ann.current == "den"
        assert await bob.sees(mod.RoomRenamed) == "* the room tea is called den now"
        assert bob.current == "den"
        await ann.do("/role bob moderator")
        assert await bob.sees(mod.RoleChanged) == "* you are moderator of den now"
        assert await ann.sees(mod.RoleChanged) == "* bob is moderator of den now"
        assert await bob.do("/users") == ("in den (2): ann (owner), bob (moderator)",)
        await ann.do("/remove 1 rude")
        assert await bob.sees(mod.MessageDeleted) == f"* ann has removed your message of {local_time(0):%H:%M:%S}"
        assert await ann.do("/recent") == ("     1  bob: (removed)", "     2  bob: second")
        assert await ann.do("/removeall bob") == ("removed 1 message of bob from den",)
        assert await ann.do_all("/private", "/rooms") == [
            "den is private now: /invite lets somebody in",
            "> den (2, private)  green or black?",
            "+ general (2)",
        ]
        assert await ann.do_all("/withdraw bob", "/invite bob") == [
            "bob may not enter den any more",
            "bob may enter den",
        ]
        assert await bob.sees(mod.Invited) == "* you may enter den now: /join den"
        assert await ann.do_all("/public", "/close", "/reopen") == [
            "den is public now",
            "den is closed: everybody but its moderators is out",
            "den is open again",
        ]
        assert await ann.do("/delete den") == ("you have deleted den",)


async def test_ones_own_account() -> None:
    async with talks() as (ann,):
        assert await ann.do("/whoami") == ("you are ann, logged in to an account, as member, owner of tea",)
        ann.secrets = ["long enough", "longer still", "longer still"]
        assert await ann.do("/password") == ("your password is changed, and every other device is logged out",)
        assert ann.asked == ["present password: ", "new password (8 bytes or more): ", "the same again: "]
        ann.secrets = ["longer still", "one password", "other password"]
        assert await refused(ann, "/password") == "nothing was changed: the two passwords differ"
        ann.secrets = [""]
        assert await refused(ann, "/password") == "nothing was changed: no password was given"
        ann.secrets = ["wrong", "longer still", "longer still"]
        assert "bad_credentials" in await refused(ann, "/password")
        (made,) = await ann.do("/token robot bot 90d")
        token = made.split()[1].removesuffix(",")
        sessions = await ann.do("/sessions")
        assert any("robot" in line and "a program's token" in line for line in sessions)
        assert any("this one" in line for line in sessions)
        assert await ann.do(f"/revoke {token}") == (f"{token} is logged out",)
        assert await ann.do("/revoke others") == ("every other device is logged out",)
        await ann.do("/token robot")
        changed = "your password is changed, and every other device is logged out"
        ann.secrets = ["longer still", "long again", "long again"]
        stays = "one program's token stays good: /sessions shows it, /revoke ID or /password tokens takes it away"
        assert await ann.do("/password") == (changed, stays)
        await ann.do("/token other")
        ann.secrets = ["long again", "longer still", "longer still"]
        stay = "2 programs' tokens stay good: /sessions shows them, /revoke ID or /password tokens takes them away"
        assert await ann.do("/password") == (changed, stay)
        ann.asked, ann.secrets = [], ["longer still", "long at last", "long at last"]
        assert await refused(ann, "/password hunter22") == "/password or /password tokens; the passwords are asked for"
        assert ann.asked == []
        assert await ann.do("/password tokens") == (f"{changed}, and so is every program",)
        assert len(await ann.do("/sessions")) == 1
        ann.ask_secret = None
        assert await refused(ann, "/password") == "a password is asked for in a terminal only"
        with trio.fail_after(5):
            await ann.do("/logout")
            await ann.client.wait_closed()
        assert ann.over


async def test_a_room_that_is_private_from_the_start() -> None:
    async with talks("bob") as (ann, bob):
        assert await ann.do("/create --private den  plans for  all") == ("you have created den and are in it",)
        assert "> den (1, private)  plans for  all" in await ann.do("/rooms")
        assert "say what the room is to be called" in await refused(ann, "/create --private")
        await bob.do("hello")
        assert "den" not in bob.client.state.rooms


async def test_a_guest_asks_for_an_account() -> None:
    async with talks("bob") as (_, bob):
        assert "forbidden" in await refused(bob, "/logout")
        assert not bob.over
        bob.secrets = ["bobs secret", "bobs secret"]
        assert await bob.do("/register") == ()
        assert bob.registering is not None
        assert "bobs secret" not in repr(bob.registering)
        assert (bob.registering.user, bob.registering.password) == ("bob", "bobs secret")


def headed(lines: Sequence[str]) -> set[str]:
    """Return the commands that the help explains, not those it only names."""
    return {line.split()[0] for line in lines if line.startswith("  /")}


async def test_help_shows_first_what_one_may_do_here() -> None:
    async with talks("bob") as (ann, bob):
        owner, guest = await ann.do("/help"), await bob.do("/help")
        assert {"/ban", "/role", "/password"} <= headed(owner)
        assert not {"/ban", "/role", "/password"} & headed(guest)
        assert "/register" in headed(guest)
        for lines in (owner, guest):
            told = " ".join(lines)
            assert all(f"/{name}" in told for name in COMMANDS)
        await ann.do("/join general")
        assert "/ban" not in headed(await ann.do("/help"))
