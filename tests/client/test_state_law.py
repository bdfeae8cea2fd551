"""The law of what a client shows: whatever it lived through, it equals one that has just arrived."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any

import trio
import trio.testing
from attrs import frozen
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chatkit import Client, Room
from chatkit.client import ClientState
from chatkit.engine.limits import EngineLimits
from chatkit.errors import Disconnected, RequestFailed
from chatkit.server import ServerConfig
from chatkit.testing import Person, TestServer, open_test_server

ROOMS = ("general", "tea", "den", "zoo")
OLD = "old"
CONFIG = ServerConfig(rate_limits=False, engine=EngineLimits(page=2, notices_per_second=3, crowd=3))
"""Pages and crowds so small that their edges are met all the time."""


@frozen
class Act:
    who: str
    what: str
    where: str

    def __str__(self) -> str:
        return f"{self.who} {self.what} {self.where}"


ACTS = st.builds(
    Act,
    st.sampled_from([OLD, OLD, "ann", "bob", "cid"]),
    st.sampled_from(
        [
            *("joins", "leaves", "creates", "hides", "deletes", "says", "says", "renames", "goes", "cut", "looks"),
            *("waits", "calls", "closes", "unhides", "unsays", "kicks", "bans", "promotes", "demotes", "silences"),
        ]
    ),
    st.sampled_from(ROOMS),
)


class World:
    """A server, the client that lives through it all, and the others, who come and go."""

    def __init__(self, server: TestServer, old: Person) -> None:
        self.server = server
        self.people = {OLD: old}
        self.count = 0

    async def do(self, act: Act) -> None:
        self.count += 1
        person = self.people.get(act.who)
        if person is None:
            person = self.people[act.who] = await self.server.person(f"{act.who}{self.count}")
        with suppress(RequestFailed, Disconnected, KeyError, ZeroDivisionError):
            await self._do(person, act)

    def somebody(self) -> str:
        """Return the name of one of them, another every time."""
        people = sorted(self.people)
        return self.people[people[self.count % len(people)]].name

    def room_of(self, client: Client) -> Room:
        """Return a room of theirs, one that is their own if there is one."""
        own = [room for room in client.rooms.values() if room.role == "owner"] or list(client.rooms.values())
        return own[self.count % len(own)]

    async def _do(self, person: Person, act: Act) -> None:
        client, name = person.client, act.where
        match act.what:
            case "joins":
                await client.join(name, history=2)
            case "leaves":
                await client.rooms[name].leave()
            case "creates":
                await client.create(name, topic=f"about {name}")
            case "hides":
                await client.create(name, private=True)
            case "deletes":
                await client.rooms[name].delete()
            case "says":
                await client.rooms[name].send(f"{self.count}")
            case "renames":
                await client.rename(f"{act.who}{self.count}x")
            case "calls":
                await self.room_of(client).update(name=ROOMS[self.count % len(ROOMS)], topic=f"{self.count}")
            case "closes":
                room = self.room_of(client)
                await room.update(closed=True, read_only=bool(self.count % 2))
                await room.update(closed=False, slow=self.count % 3)
            case "unhides":
                room = self.room_of(client)
                await room.update(private=True)
                await room.update(private=False)
            case "unsays":
                room = self.room_of(client)
                await room.delete_message(max(1, room.position.seq - self.count % 3))
            case "kicks":
                await self.room_of(client).kick(self.somebody(), "out")
            case "bans":
                await self.room_of(client).ban(self.somebody(), for_=timedelta(seconds=self.count % 3 + 1))
            case "promotes":
                await self.room_of(client).set_role(self.somebody(), ("moderator", "owner")[self.count % 2])
            case "demotes":
                await self.room_of(client).set_role(self.somebody(), "member")
            case "silences":
                await self.room_of(client).mute(self.somebody(), for_=timedelta(seconds=1))
            case "looks":
                await client.rooms[name].users()
            case "waits":
                await trio.sleep(0.06)
            case "goes" if act.who != OLD:
                await person.goes()
                del self.people[act.who]
            case "cut":
                if client._asking.link is not None:
                    client._asking.link.connection.abort()


def shown(state: ClientState, both: set[str]) -> dict[str, Any]:
    """What is shown of the rooms that both are in, and of the list of all that both may see."""
    rooms: dict[str, Any] = {}
    for name, room in state.rooms.items():
        if room.summary.private and name not in both:
            continue
        rooms[name] = [room.summary.topic, room.summary.epoch, room.summary.private, room.users]
        if name in both:
            rooms[name] += [room.joined, room.position, sorted((one.user, one.role) for one in room.members.values())]
            rooms[name] += [room.summary.read_only, room.summary.slow, room.summary.closed]
    return rooms


async def settle(client: Client) -> None:
    """Let everything that is under way arrive, and look up what the state says it does not know."""
    await trio.sleep(10)
    for room in list(client.rooms.values()):
        if room.state.members_stale:
            await room.users()
        assert len(room.state.members) == room.state.users


async def live_through(acts: list[list[Act]]) -> None:
    async with open_test_server(config=CONFIG) as server:
        old = await server.person(OLD)
        world = World(server, old)
        for together in acts:
            async with trio.open_nursery() as nursery:
                for act in together:
                    nursery.start_soon(world.do, act)
        await trio.sleep(10)
        fresh = await server.person("fresh")
        both = {room.name for room in old.client.state.joined if not room.summary.private}
        for name in sorted(both):
            await fresh.joins(name, history=1000)
        if "general" not in both:
            await fresh.leaves("general")
        await settle(old.client)
        await settle(fresh.client)
        assert shown(old.client.state, both) == shown(fresh.client.state, both)
        for name in both:
            lived, found = old.room(name).state, fresh.room(name).state
            texts = [(one.seq, one.room, one.user, one.text, one.deleted) for one in lived.messages()]
            fetched = [(one.seq, one.room, one.user, one.text, one.deleted) for one in found.messages()]
            assert texts == fetched[len(fetched) - len(texts) :]
            assert lived.pending == {}


@settings(deadline=None)
@given(st.lists(st.lists(ACTS, min_size=1, max_size=5), max_size=12))
@example([[Act("ann", "creates", "tea")], [Act(OLD, "joins", "tea")], [Act("ann", "deletes", "tea")]])
@example([[Act("ann", "creates", "tea")], [Act(OLD, "cut", "tea")], [Act("ann", "deletes", "tea")]])
@example(
    [[Act(OLD, "creates", "tea")], [Act(OLD, "renames", "tea")], [Act("ann", "joins", "tea")], [Act(OLD, "cut", "tea")]]
)
@example(
    [[Act(OLD, "hides", "tea")], [Act(OLD, "leaves", "tea")], [Act(OLD, "joins", "tea")], [Act(OLD, "deletes", "tea")]]
)
@example(
    [
        [Act("ann", "creates", "tea")],
        [Act("ann", "leaves", "tea")],
        [Act("bob", "joins", "tea")],
        [Act("ann", "cut", "x")],
    ]
)
def test_who_lived_through_anything_shows_what_who_just_arrived_shows(acts: list[list[Act]]) -> None:
    trio.run(live_through, acts, clock=trio.testing.MockClock(autojump_threshold=0))
