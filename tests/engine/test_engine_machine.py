"""Anything anybody may ask, in any order: what must hold whatever happens."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from playbook import Stage

from chatkit.engine import Refusal
from chatkit.engine.limits import EngineLimits
from chatkit.protocol import messages as m
from chatkit.protocol.positions import Position

NAMES = st.sampled_from(["ann", "Ann", "bob", "cid", "", "a b"])
ROOMS = st.sampled_from(["general", "GENERAL", "tea", "Tea", "den", "/x"])
SEQS = st.one_of(st.none(), st.integers(0, 4))
REQUESTS = st.one_of(
    st.builds(m.JoinRoom, room=ROOMS, after=SEQS, last=SEQS),
    st.builds(m.LeaveRoom, room=ROOMS),
    st.builds(m.CreateRoom, room=ROOMS, private=st.sampled_from([None, True])),
    st.builds(m.DeleteRoom, room=ROOMS),
    st.builds(m.Rename, user=NAMES),
    st.builds(
        m.SendMessage, room=ROOMS, text=st.sampled_from(["hi", "yes", " "]), op=st.sampled_from([None, "a", "b"])
    ),
    st.builds(m.History, room=ROOMS, before=SEQS, after=SEQS),
    st.builds(m.ListUsers, room=ROOMS, limit=st.just(1)),
    st.builds(m.ListRooms),
)
POSITIONS = st.dictionaries(ROOMS, st.builds(Position, epoch=st.sampled_from(["id2", "x"]), seq=st.integers(0, 3)))


class Conversation(RuleBasedStateMachine):
    """Links come, log in, ask anything, and go."""

    links = Bundle("links")

    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage(EngineLimits(rooms_per_session=2))
        self.tokens: list[str] = []

    @rule(target=links)
    def connects(self) -> str:
        who = f"link{self.stage.now}"
        self.stage.now += 1
        self.stage.connect(who)
        return who

    @rule(who=links, name=NAMES, known=st.integers(0, 3), resume=st.one_of(st.none(), POSITIONS))
    def logs_in(self, who: str, name: str, known: int, resume: Any) -> None:
        token = self.tokens[-known] if 0 < known <= len(self.tokens) else None
        reply = self.asks(who, m.Login(user=name, token=token, resume=resume))
        if isinstance(reply, m.LoggedIn):
            self.tokens.append(reply.token)

    @rule(who=links, request=REQUESTS)
    def asks_something(self, who: str, request: m.Request[Any]) -> None:
        self.asks(who, request)

    def asks(self, who: str, request: m.Request[Any]) -> Any:
        if who not in self.stage.links:  # taken over
            return None
        before = self.everything()
        reply = self.stage.ask(who, request)
        if isinstance(reply, Refusal):
            assert self.everything() == before, "a refused request has changed something"
        return reply

    @rule(who=consumes(links))
    def disconnects(self, who: str) -> None:
        if who in self.stage.links:
            self.stage.disconnect(who)

    def everything(self) -> Any:
        """All there is to know, in a form that compares."""
        engine = self.stage.engine
        return (
            self.stage.store.snapshot(),
            {key: (user.name, user.principal, frozenset(user.sessions)) for key, user in engine.users.items()},
            {number: (state.user, frozenset(state.rooms)) for number, state in engine.sessions.items()},
            {
                room.id: (room.head, dict(room.members), {user.key: set(s) for user, s in room.present.items()})
                for room in engine.rooms.values()
            },
        )

    @invariant()
    def counts_are_the_distinct_people_in_a_room(self) -> None:
        engine = self.stage.engine
        for room in engine.rooms.values():
            inside = {state.user for state in engine.sessions.values() if room.id in state.rooms}
            assert room.summary().users == len(inside) == len(room.present)
            assert set(room.present) == inside
            for user, sessions in room.present.items():
                assert sessions == {n for n in user.sessions if room.id in engine.sessions[n].rooms}

    @invariant()
    def nobody_gets_a_room_they_are_not_in(self) -> None:
        engine = self.stage.engine
        for room_id, links in self.stage.attached.items():
            assert links == {n for n, state in engine.sessions.items() if room_id in state.rooms}

    @invariant()
    def people_are_those_who_have_a_link_under_a_name_of_their_own(self) -> None:
        engine = self.stage.engine
        here = {state.user for state in engine.sessions.values() if state.user is not None}
        assert set(engine.users.values()) == here
        assert {user.key for user in here} == set(engine.users), "two people with one name"
        for user in here:
            assert user.sessions == {n for n, state in engine.sessions.items() if state.user is user}
            assert len(user.sessions) == 1, "an older link was not replaced"

    @invariant()
    def rooms_are_those_of_the_store_under_names_of_their_own(self) -> None:
        engine, kept = self.stage.engine, self.stage.store.snapshot()
        assert {room.room_id: room.head for room in kept.rooms if room.room_id != engine.audit_log} == {
            r.id: r.head for r in engine.rooms.values()
        }
        assert len({room.key for room in kept.rooms}) == len(kept.rooms)
        for room in engine.rooms.values():
            assert engine.room_named(room.name) is room
            assert room.members == {x.principal: x.role for x in kept.members if x.room_id == room.id}

    @invariant()
    def the_default_room_stays(self) -> None:
        assert self.stage.engine.room_named("general") is not None


TestConversation = Conversation.TestCase
TestConversation.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
