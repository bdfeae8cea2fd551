"""The rules, as conversations: who asks what, and who gets what."""

from __future__ import annotations

import pytest
from playbook import Stage, play

from chatkit.engine.limits import EngineLimits

ANN_AND_BOB = """
    ann: login user=ann
    ann < success user=ann rooms=general
    all < room_updated general (1)
    ann < system text='Welcome, ann.'
    bob: login user=bob
    bob < success user=bob rooms=general
    all < room_updated general (2)
    ann < user_joined room=general user=bob users=2
    bob < system text='Welcome, bob.'
"""


def two() -> Stage:
    return play(ANN_AND_BOB)


def test_a_script_that_comes_out_otherwise_shows_the_difference() -> None:
    with pytest.raises(AssertionError) as caught:
        play(ANN_AND_BOB.replace("users=2", "users=3"))
    shown = str(caught.value)
    assert "- ann < user_joined room=general user=bob users=3" in shown
    assert "+ ann < user_joined room=general user=bob users=2" in shown


# ── logging in ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "request_",
    [
        "send_message room=general text=hello",
        "join_room room=general",
        "leave_room room=general",
        "create_room room=tea",
        "delete_room room=general",
        "list_rooms",
        "list_users room=general",
        "rename user=bob",
        "history room=general",
    ],
)
def test_nothing_but_login_is_accepted_before_it(request_: str) -> None:
    play(f"""
        ann: {request_}
        ann < error not_logged_in
    """)


def test_a_taken_name_is_refused_and_another_accepted_on_the_same_link() -> None:
    play(
        """
        cid: login user=ANN
        cid < error name_taken
        cid: login user=cid
        cid < success user=cid rooms=general
        all < room_updated general (3)
        ann < user_joined room=general user=cid users=3
        bob < user_joined room=general user=cid users=3
        cid < system text='Welcome, cid.'
        """,
        two(),
    )


@pytest.mark.parametrize("name", ["''", "'a b'", "@ann", "a/b", "x" * 33, "'ann\u202e'", "a,b"])
def test_what_can_be_no_name_is_refused(name: str) -> None:
    play(f"""
        ann: login user={name}
        ann < error bad_name
        ann: login user=ann
        ann < success user=ann rooms=general
        all < room_updated general (1)
        ann < system text='Welcome, ann.'
    """)


def test_a_second_login_on_one_link_is_refused() -> None:
    play(
        """
        ann: login user=anna
        ann < error already_logged_in
        """,
        two(),
    )


def test_a_password_is_refused_where_there_are_no_accounts() -> None:
    play("""
        ann: login user=ann password=secret
        ann < error bad_credentials
    """)


def test_a_name_is_free_again_when_its_owner_is_gone() -> None:
    play(
        """
        ann: disconnects
        all < room_updated general (1)
        bob < user_left room=general user=ann users=1
        cid: login user=ann
        cid < success user=ann rooms=general
        all < room_updated general (2)
        bob < user_joined room=general user=ann users=2
        cid < system text='Welcome, ann.'
        """,
        two(),
    )


def test_a_login_with_the_token_takes_the_name_over_without_a_notice() -> None:
    play(
        """
        new: login user=ann token=token:ann
        new < success user=ann rooms=general
        ann < closed 4409
        new < system text='Welcome, ann.'
        bob: send_message room=general text=hello
        bob < message room=general seq=1 user=bob 'hello'
        new < message room=general seq=1 user=bob 'hello'
        bob < success room=general seq=1
        """,
        two(),
    )


def test_a_takeover_ends_what_the_older_link_alone_was_in() -> None:
    stage = play(
        """
        ann: create_room room=tea
        ann < room_created room=tea users=0
        bob < room_created room=tea users=0
        ann < success room=tea users=1
        all < room_updated tea (1)
        bob: join_room room=tea
        bob < success room=tea users=1 members=ann
        all < room_updated tea (2)
        ann < user_joined room=tea user=bob users=2
        """.replace("users=1 members=ann", "users=2 members=ann,bob"),
        two(),
    )
    play(
        """
        new: login user=ann token=token:ann
        new < success user=ann rooms=general
        ann < closed 4409
        all < room_updated tea (1)
        bob < user_left room=tea user=ann users=1
        new < system text='Welcome, ann.'
        """,
        stage,
    )


def test_a_wrong_token_does_not_take_a_name_over() -> None:
    play(
        f"""
        new: login user=ann token={"x" * 32}
        new < error name_taken
        new: login user=ann token=token:bob
        new < error name_taken
        """,
        two(),
    )


# ── rooms ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_rooms_are_left_and_joined_again_the_default_one_too() -> None:
    play(
        """
        ann: leave_room room=general
        ann < success
        all < room_updated general (1)
        bob < user_left room=general user=ann users=1
        bob: send_message room=general text=alone
        bob < message room=general seq=1 user=bob 'alone'
        bob < success room=general seq=1
        ann: send_message room=general text=hello
        ann < error not_in_room
        ann: history room=general
        ann < error not_in_room
        ann: leave_room room=general
        ann < error not_in_room
        ann: join_room room=GENERAL
        ann < success room=general users=2 members=bob,ann
        all < room_updated general (2)
        bob < user_joined room=general user=ann users=2
        ann: join_room room=general
        ann < success room=general users=2 members=bob,ann
        """,
        two(),
    )


@pytest.mark.parametrize(
    "request_",
    [
        "send_message room=tea text=hello",
        "join_room room=tea",
        "leave_room room=tea",
        "delete_room room=tea",
        "list_users room=tea",
        "history room=tea",
        "send_message room='' text=hello",
        "join_room room='a b'",
    ],
)
def test_an_unknown_room_is_no_such_room(request_: str) -> None:
    play(
        f"""
        ann: {request_}
        ann < error no_such_room
        """,
        two(),
    )


TEA = """
    ann: create_room room=tea {more}
    ann < success room=tea users=1
    all < room_updated tea (1)
"""


@pytest.mark.parametrize(
    "request_",
    [
        "send_message room=tea text=hello",
        "join_room room=tea",
        "leave_room room=tea",
        "delete_room room=tea",
        "list_users room=tea",
        "history room=tea",
    ],
)
def test_a_private_room_is_invisible_to_others(request_: str) -> None:
    stage = play(TEA.format(more="private=true"), two())
    play(
        f"""
        bob: {request_}
        bob < error no_such_room
        bob: list_rooms
        bob < success rooms=general
        ann: list_rooms
        ann < success rooms=general,tea
        """,
        stage,
    )


def test_the_owner_comes_back_to_a_private_room() -> None:
    stage = play(TEA.format(more="private=true"), two())
    play(
        """
        ann: leave_room room=tea
        ann < success
        all < room_updated tea (0)
        ann: join_room room=tea
        ann < success room=tea users=1 members=ann
        all < room_updated tea (1)
        ann: delete_room room=tea
        ann < room_deleted room=tea
        ann < success
        """,
        stage,
    )


def test_a_rooms_name_is_unique_in_whatever_case() -> None:
    play(
        """
        ann: create_room room=General
        ann < error room_exists
        ann: create_room room='a room'
        ann < error bad_name
        """,
        two(),
    )


def test_only_the_owner_deletes_a_room_and_everybody_is_told() -> None:
    stage = play(
        """
        ann: create_room room=tea
        ann < room_created room=tea users=0
        bob < room_created room=tea users=0
        ann < success room=tea users=1
        all < room_updated tea (1)
        """,
        two(),
    )
    play(
        """
        bob: delete_room room=tea
        bob < error forbidden
        ann: delete_room room=general
        ann < error forbidden
        ann: delete_room room=tea
        ann < room_deleted room=tea
        bob < room_deleted room=tea
        ann < success
        ann: send_message room=tea text=hello
        ann < error no_such_room
        ann: disconnects
        all < room_updated general (1)
        bob < user_left room=general user=ann users=1
        """,
        stage,
    )


def test_ownership_outlives_the_link_by_the_token_alone() -> None:
    stage = play(
        """
        ann: create_room room=tea
        ann < room_created room=tea users=0
        ann < success room=tea users=1
        all < room_updated tea (1)
        """,
        play("""
            ann: login user=ann
            ann < success user=ann rooms=general
            all < room_updated general (1)
            ann < system text='Welcome, ann.'
        """),
    )
    play(
        """
        ann: disconnects
        all < room_updated general (0)
        all < room_updated tea (0)
        imp: login user=ann
        imp < success user=ann rooms=general
        all < room_updated general (1)
        imp < system text='Welcome, ann.'
        imp: delete_room room=tea
        imp < error forbidden
        own: login user=anna token=token:ann
        own < success user=anna rooms=general
        all < room_updated general (2)
        imp < user_joined room=general user=anna users=2
        own < system text='Welcome, anna.'
        own: delete_room room=tea
        imp < room_deleted room=tea
        own < room_deleted room=tea
        own < success
        """,
        stage,
    )


def test_topics_are_bounded_in_bytes() -> None:
    play(
        f"""
        ann: create_room room=tea topic={"é" * 257}
        ann < error too_large
        ann: create_room room=tea topic={"é" * 256}
        ann < room_created room=tea users=0
        bob < room_created room=tea users=0
        ann < success room=tea users=1
        all < room_updated tea (1)
        """,
        two(),
    )


def test_one_session_is_in_a_bounded_number_of_rooms() -> None:
    stage = play(ANN_AND_BOB, Stage(EngineLimits(rooms_per_session=1)))
    play(
        """
        ann: create_room room=tea
        ann < error too_many
        ann: leave_room room=general
        ann < success
        all < room_updated general (1)
        bob < user_left room=general user=ann users=1
        ann: create_room room=tea
        ann < room_created room=tea users=0
        bob < room_created room=tea users=0
        ann < success room=tea users=1
        all < room_updated tea (1)
        ann: join_room room=general
        ann < error too_many
        """,
        stage,
    )


def test_lists_come_in_pages_by_name() -> None:
    stage = two()
    for name in ("zoo", "Bar", "alpha"):
        play(
            f"""
            ann: create_room room={name}
            ann < room_created room={name} users=0
            bob < room_created room={name} users=0
            ann < success room={name} users=1
            all < room_updated {name} (1)
            """,
            stage,
        )
    play(
        """
        ann: list_rooms limit=2
        ann < success rooms=alpha,Bar,…
        ann: list_rooms limit=2 after=Bar
        ann < success rooms=general,zoo
        ann: list_rooms after=b
        ann < success rooms=Bar,general,zoo
        ann: list_rooms after=zoo
        ann < success rooms=
        ann: list_users room=general limit=1
        ann < success users=ann,…
        ann: list_users room=general limit=1 after=ANN
        ann < success users=bob
        ann: list_rooms after='no name'
        ann < error bad_name
        """,
        stage,
    )


# ── talking ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_message_reaches_everybody_in_its_room_the_sender_included() -> None:
    play(
        """
        ann: send_message room=General text=hello
        ann < message room=general seq=1 user=ann 'hello'
        bob < message room=general seq=1 user=ann 'hello'
        ann < success room=general seq=1
        """,
        two(),
    )


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ("room=general text=''", "empty_message"),
        ("room=general text=' \t\u3000'", "empty_message"),
        ("room=general", "bad_request"),
        ("text=hello", "bad_request"),
        ("to=bob text=hello", "bad_request"),
        ("room=general to=bob text=hello", "bad_request"),
        ("room=general text=hello reply_to=1", "bad_request"),
    ],
)
def test_messages_that_are_none_are_refused(fields: str, code: str) -> None:
    play(
        f"""
        ann: send_message {fields}
        ann < error {code}
        """,
        two(),
    )


def test_a_repeat_with_the_same_op_is_kept_once() -> None:
    play(
        """
        ann: send_message room=general text=hello op=x
        ann < message room=general seq=1 user=ann 'hello'
        bob < message room=general seq=1 user=ann 'hello'
        ann < success room=general seq=1
        ann: send_message room=general text=hello op=x
        ann < success room=general seq=1
        ann: send_message room=general text=other op=x
        ann < error op_conflict
        bob: send_message room=general text=hello op=x
        ann < message room=general seq=2 user=bob 'hello'
        bob < message room=general seq=2 user=bob 'hello'
        bob < success room=general seq=2
        bob: send_message room=general text=yes reply_to=1
        ann < message room=general seq=3 user=bob 'yes'
        bob < message room=general seq=3 user=bob 'yes'
        bob < success room=general seq=3
        """,
        two(),
    )


def test_a_new_name_is_told_to_everybody_else_and_frees_the_old_one() -> None:
    play(
        """
        ann: rename user=bob
        ann < error name_taken
        ann: rename user='a b'
        ann < error bad_name
        ann: rename user=ann
        ann < success user=ann
        ann: rename user=Ann
        ann < success user=Ann
        bob < user_renamed user=Ann was=ann
        ann: rename user=eve
        ann < success user=eve
        bob < user_renamed user=eve was=Ann
        bob: rename user=ann
        bob < success user=ann
        ann < user_renamed user=ann was=bob
        """,
        two(),
    )


@pytest.mark.parametrize(
    ("bounds", "may"),
    [
        ("limit=7", "limit=7"),
        ("before=3", "before=3 limit=50"),
        ("after=0 limit=1", "after=0 limit=1"),
        ("around=2", "around=2 limit=50"),
    ],
)
def test_who_is_in_a_room_may_read_it(bounds: str, may: str) -> None:
    play(
        f"""
        ann: history room=general {bounds}
        ann may read {may}
        """,
        two(),
    )


@pytest.mark.parametrize("bounds", ["before=1 after=1", "after=1 around=1", "before=1 after=1 around=1"])
def test_history_takes_one_bound(bounds: str) -> None:
    play(
        f"""
        ann: history room=general {bounds}
        ann < error bad_request
        """,
        two(),
    )
