"""Anything anybody may ask, in any order: what must hold whatever happens."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from playbook import Stage

from chatkit.backend.records import Put
from chatkit.engine import Refusal
from chatkit.engine.limits import EngineLimits
from chatkit.engine.permissions import allowed
from chatkit.engine.state import SessionState
from chatkit.engine.world import World
from chatkit.protocol import accounts as acc
from chatkit.protocol import messages as m
from chatkit.protocol import moderation as mod
from chatkit.protocol.looks import looks
from chatkit.protocol.positions import Position

NAMES = st.sampled_from(["ann", "Ann", "bob", "cid", "b\u043eb", "", "a b"])
PEOPLE = st.sampled_from(["ann", "bob", "cid", "dot"])
PASSWORDS = st.sampled_from(["password", "passwort"])
TERMS = st.sampled_from([None, 5])
MAYBE = st.sampled_from([None, True, False])
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
OF_A_ROOM = {"room": ROOMS, "user": PEOPLE}
SOMEWHERE = {"room": st.one_of(st.none(), ROOMS), "user": PEOPLE}
ACTS = st.one_of(
    st.builds(mod.SetRole, **OF_A_ROOM, role=st.sampled_from(["owner", "moderator", "member"])),
    st.builds(mod.Invite, **OF_A_ROOM),
    st.builds(mod.Withdraw, **OF_A_ROOM),
    st.builds(mod.Kick, **SOMEWHERE),
    st.builds(mod.BanUser, **SOMEWHERE, seconds=TERMS),
    st.builds(mod.BanUser, address=st.sampled_from(["192.0.2.1", "192.0.2.0/24", "x"]), seconds=TERMS),
    st.builds(mod.Unban, **SOMEWHERE),
    st.builds(mod.Mute, **OF_A_ROOM, seconds=TERMS),
    st.builds(mod.Unmute, **OF_A_ROOM),
    st.builds(mod.ListBans, room=st.one_of(st.none(), ROOMS)),
    st.builds(mod.DeleteMessage, room=ROOMS, seq=st.integers(1, 4)),
    st.builds(mod.DeleteMessagesOf, **OF_A_ROOM),
    st.builds(mod.Audit, room=st.one_of(st.none(), ROOMS)),
    st.builds(
        mod.UpdateRoom,
        room=ROOMS,
        name=st.one_of(st.none(), ROOMS, st.just("te\u0430")),
        topic=st.sampled_from([None, "x"]),
        private=MAYBE,
        read_only=MAYBE,
        closed=MAYBE,
        slow=st.sampled_from([None, 0, 3]),
    ),
    st.builds(acc.ChangePassword, password=PASSWORDS, new_password=PASSWORDS),
    st.builds(acc.Sessions),
    st.builds(acc.Revoke),
    st.builds(acc.CreateToken, label=st.just("x"), role=st.sampled_from([None, "bot", "admin"]), seconds=TERMS),
    st.builds(acc.Logout),
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

    @rule(target=links, name=PEOPLE, password=PASSWORDS, known=st.booleans())
    def comes_with_an_account(self, name: str, password: str, known: bool) -> str:
        who = self.connects()
        entering = m.Login(user=name, password=password) if known else acc.Register(user=name, password=password)
        reply = self.asks(who, entering)
        if isinstance(reply, m.LoggedIn):
            self.tokens.append(reply.token)
        return who

    @rule(who=links, request=ACTS)
    def keeps_order(self, who: str, request: m.Request[Any]) -> None:
        self.asks(who, request)

    @rule(
        name=PEOPLE, role=st.sampled_from(["admin", "admin", "member"]), disabled=st.sampled_from([False, False, True])
    )
    def the_operator_changes_an_account(self, name: str, role: str, disabled: bool) -> None:
        account = self.stage.engine.world.accounts_by_key.get(name)
        if account is not None:
            self.stage._commit([Put(record=evolve(account, role=role, disabled=disabled), was=account)])

    @rule(seconds=st.integers(1, 10))
    def time_passes(self, seconds: int) -> None:
        self.stage.now += seconds * 1000
        self.stage.clock += seconds
        self.stage._commit(list(self.stage.engine.run_out(self.stage.now)))

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
            devices = [engine.sessions[n].device for n in user.sessions]
            logins = [
                id for id in devices if id not in engine.world.tokens or engine.world.tokens[id].kind == "session"
            ]
            assert len(logins) == len(set(logins)), "an older link was not replaced"

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
    def nobody_is_where_they_may_not_be(self) -> None:
        world, now = self.stage.engine.world, self.stage.now
        for state in world.sessions.values():
            if state.user is None:
                continue
            for room_id in state.rooms:
                assert world.may(state, world.rooms[room_id], "read", now), (state, world.rooms[room_id])
            account = world.accounts.get(state.user.principal)
            assert account is None or not account.disabled
            assert state.role == "admin" or not world.server_ban(state.user.principal, state.user.key, None, now)
            assert account is not None or state.user.key not in world.accounts_by_key

    @invariant()
    def nobody_can_be_taken_for_another(self) -> None:
        world = self.stage.engine.world
        names = {user.key: user.name for user in world.users.values() if user.principal not in world.accounts}
        names |= {account.key: account.name for account in world.accounts.values()}
        for holders in (list(names.values()), [room.name for room in world.rooms.values()]):
            seen = [look for name in holders for look in looks(name)]
            assert len(seen) == len(set(seen)), holders

    @invariant()
    def the_table_says_who_knows_of_a_room(self) -> None:
        world = self.stage.engine.world
        for state in world.sessions.values():
            for room in world.rooms.values() if state.user is not None else ():
                standing = world.standing_of(state, room, self.stage.now)
                assert world.knows(state, room) == allowed("know", standing, room.mode)

    @invariant()
    def what_the_rules_know_is_what_a_server_that_starts_would_know(self) -> None:
        world = self.stage.engine.world
        fresh = World(world.limits, world.new_id, world.new_token)
        fresh.load(self.stage.store.snapshot())
        for known in (world, fresh):
            for room in known.rooms.values():
                assert known.rooms_by_key[room.record.key] is known.rooms_by_epoch[room.record.epoch] is room
            assert len(known.rooms_by_key) == len(known.rooms_by_epoch) == len(known.rooms)
        assert indexes(world) == indexes(fresh)
        for user in world.users.values():
            fresh.add_user(user)
        assert world.people_like._holders == fresh.people_like._holders
        assert world.rooms_like._holders == fresh.rooms_like._holders
        assert {who: set(users) for who, users in world.by_principal.items()} == {
            who: set(users) for who, users in fresh.by_principal.items()
        }

    @invariant()
    def roles_are_those_of_accounts_and_tokens(self) -> None:
        world = self.stage.engine.world
        for user in world.users.values():
            states: list[SessionState] = [world.sessions[session] for session in user.sessions]
            account = world.accounts.get(user.principal)
            assert user.role in {state.role for state in states}
            for state in states:
                assert (account is None) == (state.role == "guest")
                if account is not None:
                    token = world.tokens[state.device]
                    assert state.role == (token.role if token.role == "bot" else account.role)

    @invariant()
    def the_default_room_stays(self) -> None:
        assert self.stage.engine.room_named("general") is not None


def indexes(world: World) -> Any:
    """What is known of what is kept."""
    return (
        world.accounts,
        world.accounts_by_key,
        world.tokens,
        world.tokens_by_digest,
        world.tokens_of,
        world.bans,
        world.invitations,
        world.audit and world.audit.room_id,
        {
            id: (room.record.name, room.record.private, room.members, room.bans, room.bans_by_whom)
            for id, room in world.rooms.items()
        },
    )


TestConversation = Conversation.TestCase
TestConversation.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
