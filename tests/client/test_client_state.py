"""The reducer alone: replies and events in, what is shown out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from attrs import evolve

from chatkit.client import ClientState, Pending
from chatkit.client.state import LONGEST_NOTICE
from chatkit.protocol import messages as m
from chatkit.protocol import moderation as mod
from chatkit.protocol.positions import Step

NOW = 1_700_000_000_000


def summary(room: str = "general", users: int = 1, head: int = 0, epoch: str = "e", private: bool = False) -> m.Summary:
    return m.Summary(room=room, topic="", users=users, head=head, epoch=epoch, private=private)


def created(room: str) -> m.RoomCreated:
    return m.RoomCreated(room=room, topic="", users=0, head=0, epoch=room)


def said(seq: int, user: str = "bob", op: str | None = None, room: str = "general") -> m.ReceiveMessage:
    return m.ReceiveMessage(room=room, seq=seq, user=user, text=str(seq), op=op)


def entries(*seqs: int) -> tuple[m.Entry, ...]:
    return tuple(m.Entry(event=said(seq), timestamp=NOW) for seq in seqs)


def people(*names: str) -> tuple[m.UserInfo, ...]:
    return tuple(m.UserInfo(user=name, role="guest") for name in names)


def joined(head: int = 0, events: Sequence[m.Entry] = (), members: Sequence[str] = ("ann",)) -> m.Joined:
    return m.Joined(
        room="general",
        topic="",
        users=len(members),
        head=head,
        epoch="e",
        members=people(*members),
        events=tuple(events),
        more_after=False,
    )


def shown(state: ClientState) -> list[int]:
    return [message.seq for message in state.rooms["general"].messages()]


@pytest.fixture
def state() -> ClientState:
    state = ClientState(keep=5)
    state.logged_in(m.LoggedIn(user="ann", role="guest", token="t", rooms=(summary(),)))
    return state


# ── own messages ─────────────────────────────────────────────────────────────────────────────────────────────────────


def send(state: ClientState) -> None:
    state.sending("general", Pending(op="x", text="1"))


def reply(state: ClientState) -> None:
    state.sent("general", "x", m.Sent(room="general", epoch="e", seq=1, duplicate=False))


def event(state: ClientState) -> None:
    state.apply(said(1, "ann", "x"), NOW)


def rename(state: ClientState) -> None:
    state.renamed("anna")


@pytest.mark.parametrize("order", [(reply, event), (event, reply), (reply, rename, event), (event, rename, reply)])
def test_an_own_message_is_shown_once_in_every_order(
    state: ClientState, order: Sequence[Callable[[ClientState], None]]
) -> None:
    send(state)
    room = state.rooms["general"]
    for happens in order:
        assert len(room.pending) + len(room.messages()) == 1
        happens(state)
    assert (len(room.pending), shown(state)) == (0, [1])


def test_a_refused_message_is_shown_no_more(state: ClientState) -> None:
    send(state)
    state.not_sent("general", "x")
    assert state.rooms["general"].pending == {}


def test_somebody_elses_message_with_the_same_op_confirms_nothing(state: ClientState) -> None:
    send(state)
    state.apply(said(1, "bob", "x"), NOW)
    assert list(state.rooms["general"].pending) == ["x"]


# ── what is held ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_entries_are_taken_once_and_the_oldest_make_room(state: ClientState) -> None:
    steps = [state.apply(said(seq), NOW) for seq in (1, 2, 2, 1, 3, 4, 5, 6, 7)]
    assert steps == [Step.TAKE, Step.TAKE, Step.SKIP, Step.SKIP] + [Step.TAKE] * 5
    assert shown(state) == [3, 4, 5, 6, 7]
    assert state.rooms["general"].summary.head == 7


def test_behind_a_gap_what_is_shown_begins_anew(state: ClientState) -> None:
    assert [state.apply(said(seq), NOW) for seq in (1, 3, 4)] == [Step.TAKE, Step.GAP, Step.TAKE]
    assert shown(state) == [3, 4]


def test_history_is_put_in_front_as_far_as_it_joins_on(state: ClientState) -> None:
    room = state.entered(joined(head=9, events=entries(8, 9)))
    state.apply(said(8), NOW)
    state.left("general")
    room = state.entered(joined(head=9, events=entries(8, 9)))
    assert shown(state) == [8, 9]
    state.fetched(room, entries(4, 5))
    assert shown(state) == [8, 9]
    state.fetched(room, entries(6, 7, 8, 9, 10))
    assert shown(state) == [6, 7, 8, 9, 10]
    state.fetched(room, entries(4, 5))
    assert shown(state) == [6, 7, 8, 9, 10], "there is space for five"


def test_an_entry_of_an_unknown_kind_counts_and_is_not_shown(state: ClientState) -> None:
    unknown = m.UnknownEvent(action="game.moved", data={"room": "general", "seq": 1, "x": 2})
    assert state.apply(unknown, NOW) is Step.TAKE
    assert state.apply(said(2), NOW) is Step.TAKE
    assert shown(state) == [2]


def test_what_is_said_in_a_room_one_is_not_in_is_not_taken(state: ClientState) -> None:
    state.apply(created("tea"), NOW)
    assert state.apply(said(1, room="tea"), NOW) is None
    assert state.apply(said(1, room="nowhere"), NOW) is None
    assert state.rooms["tea"].messages() == []


def test_a_reset_begins_with_the_new_log(state: ClientState) -> None:
    state.apply(said(1), NOW)
    again = m.LoggedIn(
        user="ann", role="guest", token="t", rooms=(summary(epoch="f", head=7),), resume={"general": "reset"}
    )
    state.logged_in(again)
    assert shown(state) == []
    assert (state.rooms["general"].position.epoch, state.rooms["general"].position.seq) == ("f", 7)


# ── the list of rooms ────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_happens_while_the_list_comes_in_pages_is_not_lost(state: ClientState) -> None:
    state.apply(created("old"), NOW)
    state.listed([summary("general"), summary("gone")], more=True)
    state.apply(created("alpha"), NOW)
    state.apply(m.RoomDeleted(room="gone"), NOW)
    state.apply(m.RoomUpdated(room="general", topic="new", users=5, head=0, epoch="e"), NOW)
    state.listed([summary("zoo")], first=False)
    assert sorted(state.rooms) == ["alpha", "general", "zoo"]
    assert state.rooms["general"].summary.topic == "new"


def test_a_list_that_broke_off_is_begun_anew(state: ClientState) -> None:
    state.listed([summary("general"), summary("gone")], more=True)
    state.listed([summary("general")])
    assert sorted(state.rooms) == ["general"]


def test_a_private_room_one_has_left_is_no_longer_shown(state: ClientState) -> None:
    state.created(summary("den", private=True))
    state.left("den")
    assert "den" not in state.rooms


# ── people ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_members_come_go_and_take_new_names(state: ClientState) -> None:
    room = state.entered(joined(members=("ann", "bob")))
    state.apply(m.UserJoined(room="general", user="cid", users=3, role="guest"), NOW)
    state.apply(m.UserRenamed(user="rob", was="bob"), NOW)
    state.apply(m.UserLeft(room="general", user="cid", users=2), NOW)
    state.renamed("anna")
    assert (sorted(room.members), room.users, room.members_stale) == (["anna", "rob"], 2, False)


def test_a_count_that_does_not_fit_says_that_the_list_is_stale(state: ClientState) -> None:
    room = state.entered(joined(members=("ann", "bob")))
    state.apply(m.RoomUpdated(room="general", topic="", users=30, head=0, epoch="e"), NOW)
    assert room.members_stale
    state.listed_users("general", people(*(f"p{number}" for number in range(30))))
    assert not room.members_stale
    state.apply(evolve(m.UserJoined(room="general", user="x", users=32), role="guest"), NOW)
    assert room.members_stale


def test_a_list_of_people_in_pages_is_stale_if_somebody_moved_meanwhile(state: ClientState) -> None:
    room = state.entered(joined(members=("ann", "bob")))
    moves = room.moves
    state.apply(m.UserRenamed(user="rob", was="bob"), NOW)
    state.listed_users("general", people("ann", "bob"), moves=moves)
    assert room.members_stale
    state.listed_users("general", people("ann", "rob"), moves=room.moves)
    assert not room.members_stale


def test_notices_are_kept_to_a_hundred(state: ClientState) -> None:
    for number in range(120):
        state.apply(m.System(text=str(number)), NOW)
    assert (len(state.notices), state.notices[-1]) == (100, "119")


# ── keeping order ────────────────────────────────────────────────────────────────────────────────────────────────────


def renamed(was: str, room: str) -> mod.RoomRenamed:
    return mod.RoomRenamed(room=room, was=was)


def test_a_removed_message_is_empty_wherever_it_comes_from(state: ClientState) -> None:
    state.left("general")
    room = state.entered(joined(head=4, events=entries(3, 4)))
    for seq, about in ((5, 4), (6, 2)):
        state.apply(mod.MessageDeleted(room="general", seq=seq, user="mod", about=about), NOW)
    state.fetched(room, entries(2))  # a page that was read before the removal, and comes behind it
    assert [(one.seq, one.text, one.deleted) for one in room.messages()] == [
        (2, "", True),
        (3, "3", False),
        (4, "", True),
    ]
    assert room.position.seq == 6


def test_a_room_goes_on_under_another_name(state: ClientState) -> None:
    state.apply(said(1), NOW)
    send(state)
    room = state.rooms["general"]
    state.apply(renamed("general", "hall"), NOW)
    assert state.rooms == {"hall": room}
    assert (room.name, room.position.seq, list(room.pending)) == ("hall", 1, ["x"])
    assert room.messages()[0].room == "hall"
    state.apply(said(2, room="hall"), NOW)
    assert room.position.seq == 2


def test_rooms_that_swapped_their_names_while_one_was_away_are_told_apart(state: ClientState) -> None:
    state.created(summary("tea", epoch="t"))
    state.apply(said(1), NOW)
    hall, tea = state.rooms["general"], state.rooms["tea"]
    told = m.LoggedIn(
        user="ann",
        role="guest",
        token="t",
        rooms=(summary("tea", epoch="e", head=1), summary("general", epoch="t")),
        resume={"general": "ok", "tea": "reset"},
    )
    assert state.logged_in(told) == ["general"]
    assert state.rooms == {"tea": hall, "general": tea}
    assert [one.room for one in hall.messages()] == ["tea"]


def test_a_name_that_another_room_takes_over_is_that_room(state: ClientState) -> None:
    other = state.created(summary("tea", epoch="t"))
    room = state.rooms["general"]
    state.apply(renamed("general", "tea"), NOW)
    assert state.rooms == {"tea": room}
    assert not other.joined


def test_who_is_sent_out_is_out_and_knows_why(state: ClientState) -> None:
    room = state.rooms["general"]
    why = mod.RemovedFromRoom(room="general", by="mod", reason="x" * 100_000, banned=True)
    state.apply(why, NOW)
    assert room.removed is not None
    assert (room.joined, room.removed.banned, len(room.removed.reason)) == (False, True, LONGEST_NOTICE)
    assert state.entered(joined()).removed is None


def test_roles_and_silence(state: ClientState) -> None:
    room = state.entered(joined(members=("ann", "bob")))
    state.apply(mod.RoleChanged(room="general", user="ann", role="moderator"), NOW)
    state.apply(mod.RoleChanged(room="general", user="nobody", role="owner"), NOW)
    assert state.role_in("general") == "moderator"
    assert set(room.members) == {"ann", "bob"}
    state.apply(mod.Muted(room="general", by="mod", reason="", until=None), NOW)
    assert room.muted is not None
    state.apply(mod.Unmuted(room="general"), NOW)
    assert room.muted is None


def test_an_own_new_name_from_another_device(state: ClientState) -> None:
    state.apply(m.UserRenamed(user="anna", was="ann"), NOW)
    assert state.user == "anna"


def test_an_invitation_shows_the_room(state: ClientState) -> None:
    state.apply(mod.Invited(room="den", topic="", users=1, head=9, epoch="d", private=True), NOW)
    assert not state.rooms["den"].joined
    assert state.rooms["den"].summary.private
