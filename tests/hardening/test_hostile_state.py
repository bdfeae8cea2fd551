"""Anything at all that a server may say, in any order: what a client holds stays sound, or the link is nonsense."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from chatkit.client import ClientState, Pending
from chatkit.client.state import LONGEST_NAME, MOST_MEMBERS, MOST_ROOMS
from chatkit.client.window import ROOM_BYTES, Allowance, Window, size_of
from chatkit.errors import ProtocolError
from chatkit.protocol import messages as m
from chatkit.protocol import moderation as mod

NOW = 1_700_000_000_000
names = st.one_of(st.sampled_from(["general", "tea", "ann", "bob", ""]), st.text(max_size=20), st.just("x" * 5_000))
seqs = st.one_of(st.integers(0, 12), st.sampled_from([2**53 - 1, 2**53 - 2, 2**31]))
summaries = st.builds(
    m.Summary, room=names, topic=names, users=st.integers(-1, 5), head=seqs, epoch=names, private=st.booleans()
)
users = st.builds(m.UserInfo, user=names, role=names)
events = st.one_of(
    st.builds(m.ReceiveMessage, room=names, seq=seqs, user=names, text=names, op=st.none() | names),
    st.builds(m.UserJoined, room=names, user=names, users=st.integers(-1, 5), role=st.none() | names),
    st.builds(m.UserLeft, room=names, user=names, users=st.integers(-1, 5)),
    st.builds(m.UserRenamed, user=names, was=names),
    st.builds(m.RoomCreated, room=names, topic=names, users=st.integers(0, 5), head=seqs, epoch=names),
    st.builds(m.RoomUpdated, room=names, topic=names, users=st.integers(0, 5), head=seqs, epoch=names),
    st.builds(m.RoomDeleted, room=names),
    st.builds(m.CaughtUp, room=names, seq=seqs),
    st.builds(m.System, text=names),
    st.builds(m.ReceiveMessage, room=names, seq=seqs, user=names, text=names, deleted=st.none() | st.booleans()),
    st.builds(mod.MessageDeleted, room=names, seq=seqs, user=names, about=seqs),
    st.builds(mod.RoomRenamed, room=names, was=names),
    st.builds(mod.RemovedFromRoom, room=names, by=names, reason=names, banned=st.booleans()),
    st.builds(mod.Invited, room=names, topic=names, users=st.integers(0, 5), head=seqs, epoch=names),
    st.builds(mod.RoleChanged, room=names, user=names, role=names),
    st.builds(mod.Muted, room=names, by=names, reason=names, until=st.none() | st.integers()),
    st.builds(mod.Unmuted, room=names),
    st.builds(
        m.UnknownEvent,
        action=names,
        data=st.dictionaries(st.sampled_from(["room", "seq", "x"]), st.one_of(names, seqs, st.booleans(), st.none())),
    ),
)
entries = st.builds(m.Entry, event=events, timestamp=st.just(NOW))
pages = st.lists(entries, max_size=5).map(tuple)
Step = Callable[[ClientState], object]


def joined(summary: m.Summary, page: tuple[m.Entry, ...], people: list[m.UserInfo], more: bool) -> m.Joined:
    fields = {name: getattr(summary, name) for name in ("room", "topic", "users", "head", "epoch", "private")}
    return m.Joined(**fields, members=tuple(people), members_more=more, events=page, more_after=more)


def logged_in(user: str, rooms: list[m.Summary], resume: dict[str, str] | None) -> m.LoggedIn:
    return m.LoggedIn(user=user, role="guest", token="t", rooms=tuple(rooms), resume=resume)  # type: ignore[arg-type]


def fetched(state: ClientState, name: str, page: tuple[m.Entry, ...]) -> None:
    room = state.rooms.get(name)
    if room is not None:
        state.fetched(room, page)


resumes = st.none() | st.dictionaries(names, st.sampled_from(["ok", "reset"]), max_size=3)
steps: st.SearchStrategy[Step] = st.one_of(
    events.map(lambda event: lambda state: state.apply(event, NOW)),
    st.builds(logged_in, names, st.lists(summaries, max_size=3), resumes).map(
        lambda reply: lambda state: state.logged_in(reply)
    ),
    st.builds(joined, summaries, pages, st.lists(users, max_size=3), st.booleans()).map(
        lambda reply: lambda state: state.entered(reply)
    ),
    st.tuples(st.lists(summaries, max_size=3), st.booleans(), st.booleans()).map(
        lambda page: lambda state: state.listed(page[0], first=page[1], more=page[2])
    ),
    summaries.map(lambda reply: lambda state: state.created(reply)),
    summaries.map(lambda reply: lambda state: state.changed(reply)),
    st.tuples(names, names).map(lambda given: lambda state: state.room_renamed(*given)),
    names.map(lambda name: lambda state: state.left(name)),
    names.map(lambda name: lambda state: state.renamed(name)),
    st.tuples(names, pages).map(lambda given: lambda state: fetched(state, *given)),
    st.tuples(names, names).map(lambda given: lambda state: state.sending(given[0], Pending(op=given[1], text="x"))),
    st.builds(m.Sent, room=names, epoch=names, seq=seqs, duplicate=st.booleans()).map(
        lambda reply: lambda state: state.sent(reply.room, "general", reply)
    ),
)


@settings(max_examples=300)
@given(steps=st.lists(steps, max_size=25))
def test_whatever_a_server_says_the_state_is_sound(steps: list[Step]) -> None:
    state = ClientState(keep=4)
    for step in steps:
        with suppress(ProtocolError):
            step(state)
        for name, room in state.rooms.items():
            assert room.name == name
            assert len(name) <= LONGEST_NAME
            window = room.window
            held = [entry.event.seq for entry in window.entries if hasattr(entry.event, "seq")]
            assert len(window) <= 4
            assert held == sorted(set(held)) or not held
            assert window.first == window.track.seq - len(window) + 1
            removed = {entry.event.about for entry in window.entries if isinstance(entry.event, mod.MessageDeleted)}
            assert not any(message.text or message.binary for message in room.messages() if message.seq in removed)
            assert all(message.room == name for message in room.messages())
            for told in (room.muted, room.removed):
                assert told is None or len(told.by) <= LONGEST_NAME
        assert len(state.rooms) <= MOST_ROOMS
        total = sum(size_of(entry.event) for room in state.rooms.values() for entry in room.window.entries)
        assert state._allowance.held == total, "what is held is not what is counted"


@given(sizes=st.lists(st.integers(0, ROOM_BYTES // 2), max_size=40), keep=st.integers(0, 10))
@settings(max_examples=30)
def test_windows_share_what_they_may_hold(sizes: list[int], keep: int) -> None:
    shared = Allowance(most=ROOM_BYTES)
    windows = [Window("e", 0, keep, shared) for _ in range(3)]
    for number, size in enumerate(sizes):
        window = windows[number % 3]
        text = "x" * size
        window.take(
            m.Entry(event=m.ReceiveMessage(room="r", seq=window.track.seq + 1, user="u", text=text), timestamp=0)
        )
        assert shared.held == sum(size_of(one.event) for each in windows for one in each.entries)
        assert shared.held <= ROOM_BYTES
        assert all(len(each) <= keep for each in windows)


def test_a_crowd_that_only_ever_comes_is_known_so_far_only() -> None:
    state = ClientState()
    summary = m.Summary(room="general", topic="", users=1, head=0, epoch="e")
    state.logged_in(logged_in("ann", [summary], None))
    for number in range(MOST_MEMBERS + 100):
        state.apply(m.UserJoined(room="general", user=f"u{number}", users=number), NOW)
    room = state.rooms["general"]
    assert len(room.members) == MOST_MEMBERS
    assert room.members_stale
