"""Every cell of the table of permissions, asked for by somebody of that standing in a room in that state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve
from playbook import Stage

from chatkit.backend.records import Put
from chatkit.engine import Reading, Refusal
from chatkit.engine.limits import EngineLimits
from chatkit.engine.permissions import PERMISSIONS, RoomMode, Standing, above, allowed
from chatkit.protocol import accounts as acc
from chatkit.protocol import messages as m
from chatkit.protocol import moderation as mod
from chatkit.protocol.codes import ErrorCode

PASSWORD = "correct horse"
STANDINGS = list(Standing)
WITHHELD = {ErrorCode.NO_SUCH_ROOM, ErrorCode.BANNED, ErrorCode.MUTED, ErrorCode.FORBIDDEN, ErrorCode.NOT_IN_ROOM}
"""Codes that say somebody may not; every other says that this time it made no sense."""


class Den(Stage):
    """A room ``den`` of ``boss``, and people of any standing in it."""

    def __init__(self, *, private: bool = False, limits: EngineLimits | None = None) -> None:
        super().__init__(limits)
        self.room = "den"
        self.must("boss", acc.Register(user="boss", password=PASSWORD))
        self.must("boss", m.CreateRoom(room="den", private=private))

    @property
    def private(self) -> bool:
        room = self.engine.room_named("den")
        assert room is not None
        return room.record.private

    def must(self, who: str, request: m.Request[Any]) -> Any:
        reply = self.ask(who, request)
        assert not isinstance(reply, Refusal), (who, request, reply)
        return reply

    def person(self, who: str, *, guest: bool = False) -> None:
        """Somebody who may be in the room, and is, and has said something there."""
        self.must(who, m.Login(user=who) if guest else acc.Register(user=who, password=PASSWORD))
        if self.private:
            self.must("boss", mod.Invite(room="den", user=who))
        self.must(who, m.JoinRoom(room="den"))
        self.must(who, m.SendMessage(room="den", text=f"{who} was here"))

    def make(self, who: str, standing: Standing) -> None:
        """Let somebody who is in the room have a standing there."""
        match standing:
            case Standing.OUTSIDER:
                self.must("boss", mod.Withdraw(room="den", user=who))
            case Standing.BANNED:
                self.must("boss", mod.BanUser(room="den", user=who, reason="noise"))
            case Standing.READER:
                self.must("boss", mod.Mute(room="den", user=who, reason="noise"))
            case Standing.MODERATOR:
                self.must("boss", mod.SetRole(room="den", user=who, role="moderator"))
            case Standing.OWNER:
                self.must("boss", mod.SetRole(room="den", user=who, role="owner"))
            case Standing.ADMIN:
                account = self.engine.world.accounts_by_key[who]
                self._commit([Put(record=evolve(account, role="admin"), was=account)])

    def turn(self, mode: RoomMode) -> None:
        """Bring the room into a state."""
        if mode is RoomMode.READ_ONLY:
            self.must("boss", mod.UpdateRoom(room="den", read_only=True))
        if mode is RoomMode.CLOSED:
            self.must("boss", mod.UpdateRoom(room="den", closed=True))

    def seq_of(self, who: str) -> int:
        room = self.engine.room_named("den")
        assert room is not None
        return next(row.seq for row in self._rows(room.id) if row.name == who)

    def inside(self, who: str) -> bool:
        room = self.engine.room_named("den")
        assert room is not None
        return room.id in self.engine.sessions[self.links[who]].rooms


def den(standing: Standing, mode: RoomMode, *, private: bool) -> Den:
    """A room in a state with ``low``, a member, ``gone``, who left, and ``one`` of this standing."""
    stage = Den(private=private)
    for who in ("low", "one"):
        stage.person(who)
    stage.make("one", standing)
    stage.turn(mode)
    return stage


def _enter(stage: Den) -> Any:
    if stage.inside("one"):
        stage.must("one", m.LeaveRoom(room=stage.room))
    return stage.ask("one", m.JoinRoom(room=stage.room))


def _speak_twice(stage: Den) -> Any:
    """Two messages in a slow room: whether the second has to wait."""
    stage.ask("boss", mod.UpdateRoom(room="den", slow=60))
    stage.ask("one", m.SendMessage(room=stage.room, text="one"))
    reply = stage.ask("one", m.SendMessage(room=stage.room, text="two"))
    if isinstance(reply, Refusal) and reply.code == ErrorCode.RATE_LIMITED:
        assert reply.retry_after == 60
        return evolve(reply, code=ErrorCode.FORBIDDEN)
    return reply


ASKED: dict[str, list[Callable[[Den], Any]]] = {
    "know": [lambda s: s.ask("one", m.ListUsers(room=s.room))],
    "enter": [_enter],
    "read": [lambda s: s.ask("one", m.ListUsers(room=s.room)), lambda s: s.ask("one", m.History(room=s.room))],
    "speak": [lambda s: s.ask("one", m.SendMessage(room=s.room, text="hi"))],
    "speak without waiting": [_speak_twice],
    "delete own messages": [
        lambda s: s.ask("one", mod.DeleteMessage(room=s.room, seq=s.seq_of("one"))),
        lambda s: s.ask("one", mod.DeleteMessagesOf(room=s.room, user="one")),
    ],
    "delete messages": [
        lambda s: s.ask("one", mod.DeleteMessage(room=s.room, seq=s.seq_of("low"))),
        lambda s: s.ask("one", mod.DeleteMessagesOf(room=s.room, user="low")),
    ],
    "kick": [lambda s: s.ask("one", mod.Kick(room=s.room, user="low"))],
    "ban": [
        lambda s: s.ask("one", mod.BanUser(room=s.room, user="low")),
        lambda s: s.ask("one", mod.BanUser(room=s.room, user="somebody", seconds=60)),
        lambda s: s.ask("one", mod.Unban(room=s.room, user="low")),
    ],
    "mute": [
        lambda s: s.ask("one", mod.Mute(room=s.room, user="low")),
        lambda s: s.ask("one", mod.Unmute(room=s.room, user="low")),
    ],
    "invite": [
        lambda s: s.ask("one", mod.Invite(room=s.room, user="low")),
        lambda s: s.ask("one", mod.Withdraw(room=s.room, user="low")),
    ],
    "see bans": [lambda s: s.ask("one", mod.ListBans(room=s.room))],
    "see audit": [lambda s: s.ask("one", mod.Audit(room=s.room))],
    "set topic": [lambda s: s.ask("one", mod.UpdateRoom(room=s.room, topic="tea"))],
    "change room": [
        lambda s, change=change: s.ask("one", mod.UpdateRoom(room=s.room, **change))  # type: ignore[misc]
        for change in (
            {"name": "lair"},
            {"private": True},
            {"private": False},
            {"read_only": True},
            {"slow": 5},
            {"closed": False},
            {"topic": "tea", "slow": 5},
        )
    ],
    "set role": [lambda s: s.ask("one", mod.SetRole(room=s.room, user="low", role="moderator"))],
    "delete room": [lambda s: s.ask("one", m.DeleteRoom(room=s.room))],
    "moderate server": [
        lambda s: s.ask("one", mod.Kick(user="low")),
        lambda s: s.ask("one", mod.BanUser(user="low")),
        lambda s: s.ask("one", mod.BanUser(user="somebody")),
        lambda s: s.ask("one", mod.BanUser(address="192.0.2.0/24")),
        lambda s: s.ask("one", mod.Unban(user="low")),
        lambda s: s.ask("one", mod.ListBans()),
        lambda s: s.ask("one", mod.Audit()),
    ],
}
"""What is asked to find out whether somebody may do something. ``room`` is the stage's, so that another is named."""
CELLS = [
    pytest.param(act, standing, mode, private, id=f"{act}-{standing.name}-{mode.value}-{'private' * private}")
    for act in PERMISSIONS
    for standing in STANDINGS
    for mode in RoomMode
    for private in (False, True)
    if private or standing is not Standing.OUTSIDER
]


def test_every_act_of_the_table_is_asked_for() -> None:
    assert set(ASKED) == set(PERMISSIONS)


def test_every_standing_is_what_it_is_called() -> None:
    for standing in STANDINGS:
        for private in {False, True} if standing is not Standing.OUTSIDER else {True}:
            stage = den(standing, RoomMode.OPEN, private=private)
            room = stage.engine.room_named("den")
            assert room is not None
            state = stage.engine.sessions[stage.links["one"]]
            # Whoever is banned from a private room is no member of it any more: they know nothing of it.
            seen = Standing.OUTSIDER if private and standing is Standing.BANNED else standing
            assert stage.engine.world.standing_of(state, room, stage.now) is seen


@pytest.mark.parametrize(("act", "standing", "mode", "private"), CELLS)
def test_a_cell_of_the_table(act: str, standing: Standing, mode: RoomMode, private: bool) -> None:
    for ask in ASKED[act]:
        stage = den(standing, mode, private=private)
        inside = stage.inside("one")
        reply = ask(stage)
        if private and standing is Standing.BANNED:
            standing = Standing.OUTSIDER
        withheld = isinstance(reply, Refusal) and reply.code in WITHHELD
        if act == "know":
            withheld = isinstance(reply, Refusal) and reply.code == ErrorCode.NO_SUCH_ROOM
        may = allowed(act, standing, mode)
        if act == "speak without waiting":
            may = may and allowed("speak", standing, mode)
        assert withheld != may, reply
        if withheld and act != "moderate server":
            assert reply.code in _codes(act, standing, mode, inside=inside), reply


def _codes(act: str, standing: Standing, mode: RoomMode, *, inside: bool) -> set[str]:
    """How somebody is refused."""
    if standing is Standing.OUTSIDER:
        return {ErrorCode.NO_SUCH_ROOM}
    if act in ("speak", "read", "speak without waiting") and not inside:
        return {ErrorCode.NOT_IN_ROOM} | ({ErrorCode.BANNED, ErrorCode.FORBIDDEN} if act == "read" else set())
    if standing is Standing.BANNED:
        return {ErrorCode.BANNED}
    if standing is Standing.READER and act.startswith("speak"):
        return {ErrorCode.MUTED}
    return {ErrorCode.FORBIDDEN}


@pytest.mark.parametrize("standing", [Standing.OUTSIDER, Standing.BANNED])
@pytest.mark.parametrize("mode", RoomMode)
@pytest.mark.parametrize("act", [act for act in PERMISSIONS if act != "moderate server"])
def test_a_private_room_is_refused_as_one_that_does_not_exist(act: str, mode: RoomMode, standing: Standing) -> None:
    for ask in ASKED[act]:
        stage = den(standing, mode, private=True)
        for change in ({"slow": 5}, {"topic": "secret"}):
            stage.must("boss", mod.UpdateRoom(room="den", **change))
        there = ask(stage)
        stage.room = "nil"
        assert isinstance(there, Refusal)
        assert evolve(there, message=there.message.replace("'den'", "'nil'")) == ask(stage)
        rooms = stage.must("one", m.ListRooms()).rooms
        assert [room.room for room in rooms] == ["general"]


# ── guests who only read ─────────────────────────────────────────────────────────────────────────────────────────────


def test_where_guests_only_read_they_are_readers() -> None:
    stage = Den(limits=EngineLimits(guests="read-only"))
    stage.must("one", m.Login(user="one"))
    stage.must("one", m.JoinRoom(room="den"))
    assert isinstance(stage.ask("one", m.History(room="den")), Reading)
    assert stage.ask("one", m.SendMessage(room="den", text="hi")).code == ErrorCode.MUTED
    assert stage.ask("one", m.CreateRoom(room="mine")).code == ErrorCode.FORBIDDEN
    stage.must("boss", mod.SetRole(room="den", user="one", role="moderator"))
    stage.must("one", m.SendMessage(room="den", text="I may now"))


# ── nobody acts on an equal ──────────────────────────────────────────────────────────────────────────────────────────

ACTS: dict[str, tuple[str, Callable[[Den], m.Request[Any]]]] = {
    "kick": ("kick", lambda s: mod.Kick(room="den", user="two")),
    "ban": ("ban", lambda s: mod.BanUser(room="den", user="two")),
    "mute": ("mute", lambda s: mod.Mute(room="den", user="two")),
    "withdraw": ("invite", lambda s: mod.Withdraw(room="den", user="two")),
    "promote": ("set role", lambda s: mod.SetRole(room="den", user="two", role="moderator")),
    "enthrone": ("set role", lambda s: mod.SetRole(room="den", user="two", role="owner")),
    "demote": ("set role", lambda s: mod.SetRole(room="den", user="two", role="member")),
    "delete a message": ("delete messages", lambda s: mod.DeleteMessage(room="den", seq=s.seq_of("two"))),
    "delete messages": ("delete messages", lambda s: mod.DeleteMessagesOf(room="den", user="two")),
}


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("target", STANDINGS, ids=lambda standing: standing.name)
@pytest.mark.parametrize("actor", STANDINGS, ids=lambda standing: standing.name)
def test_nobody_acts_on_their_own_standing_or_above(actor: Standing, target: Standing, act: str) -> None:
    permission, request = ACTS[act]
    for private in {actor is Standing.OUTSIDER or target is Standing.OUTSIDER, True}:
        stage = Den(private=private)
        for who, standing in (("one", actor), ("two", target)):
            stage.person(who)
            stage.make(who, standing)
        was = stage.store.snapshot()
        reply = stage.ask("one", request(stage))
        withheld = isinstance(reply, Refusal) and reply.code in WITHHELD
        assert withheld != (allowed(permission, actor) and above(actor, target)), reply
        if isinstance(reply, Refusal):
            assert stage.store.snapshot() == was


@pytest.mark.parametrize("act", ["kick", "ban"])
def test_admins_do_not_act_on_each_other_on_the_server(act: str) -> None:
    stage = Den()
    for who in ("one", "two"):
        stage.person(who)
        stage.make(who, Standing.ADMIN)
    request: m.Request[Any] = mod.Kick(user="two") if act == "kick" else mod.BanUser(user="two")
    assert stage.ask("one", request).code == ErrorCode.FORBIDDEN


def test_nobody_gives_away_more_than_they_have() -> None:
    stage = Den()
    for who in ("one", "two"):
        stage.person(who)
    stage.make("one", Standing.MODERATOR)
    assert stage.ask("one", mod.SetRole(room="den", user="two", role="moderator")).code == ErrorCode.FORBIDDEN
    assert stage.ask("one", mod.SetRole(room="den", user="one", role="owner")).code == ErrorCode.FORBIDDEN
    stage.must("one", mod.SetRole(room="den", user="one", role="member"))
    assert stage.ask("one", mod.Kick(room="den", user="two")).code == ErrorCode.FORBIDDEN


def test_a_program_of_an_admin_has_no_more_than_its_token() -> None:
    stage = Den()
    stage.person("one")
    stage.make("one", Standing.ADMIN)
    made = stage.must("one", acc.CreateToken(label="bot", role="bot"))
    stage.must("robot", m.Login(user="one", token=made.token))
    for request in (
        mod.SetRole(room="den", user="one", role="owner"),
        mod.SetRole(room="den", user="one", role="moderator"),
        mod.Kick(room="den", user="boss"),
        mod.Kick(user="boss"),
        m.DeleteRoom(room="den"),
        acc.CreateToken(label="more", role="admin"),
    ):
        assert stage.ask("robot", request).code == ErrorCode.FORBIDDEN, request
    stage.must("boss", mod.UpdateRoom(room="den", private=True))
