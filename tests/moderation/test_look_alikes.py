"""Nobody passes for somebody else by a name that looks the same; names that only share an alphabet are all free."""

from __future__ import annotations

import itertools
from functools import partial

import pytest
import trio
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from places import PASSWORD, place

from chatkit.errors import ProtocolError
from chatkit.protocol.looks import alike, looks
from chatkit.protocol.names import check_name, name_key

LOOK_ALIKES = [
    # Cyrillic
    ("alice", "\u0430lice"),
    ("alice", "al\u0456ce"),
    ("alice", "ali\u0441e"),
    ("alice", "alic\u0435"),
    ("alice", "\u0430l\u0456\u0441\u0435"),
    ("ALICE", "\u0410LICE"),
    ("bob", "b\u043eb"),
    ("Bob", "\u0412ob"),
    ("max", "m\u0430x"),
    ("max", "ma\u0445"),
    ("paypal", "\u0440\u0430ypal"),
    ("sophos", "s\u043eph\u043es"),
    ("jess", "\u0458ess"),
    ("hans", "\u04bbans"),
    ("lee", "\u04cfee"),
    ("Ivan", "\u04c0van"),
    # Greek
    ("alice", "\u03b1lice"),
    ("bob", "b\u03bfb"),
    ("root", "r\u03bf\u03bft"),
    ("vera", "\u03bdera"),
    ("pia", "\u03c1ia"),
    ("Anna", "\u0391nna"),
    ("ZOE", "\u0396OE"),
    # Armenian, Cherokee, Latin of other kinds
    ("oona", "\u0585\u0585na"),
    ("hugo", "\u0570ugo"),
    ("gina", "\u0261ina"),
    ("alice", "\u0251lice"),
    # Fullwidth and other forms of one letter
    ("alice", "\uff41lice"),
    ("alice", "\uff21\uff2c\uff29\uff23\uff25"),
    ("bob", "\uff42\uff4f\uff42"),
    # Digits and letters
    ("bob", "b0b"),
    ("Bob", "BOB"),
    ("oliver", "0liver"),
    ("alice", "a1ice"),
    ("lola", "1ola"),
    ("Ina", "lna"),
    ("Ina", "1na"),
    ("bill", "biII"),
    ("bill", "bi11"),
    ("bill", "BILL"),
    # Two letters for one
    ("marna", "mama"),
    ("modern", "modem"),
    ("rnax", "max"),
    ("barney", "bamey"),
    # Marks
    ("jos\u00e9", "jose\u0301"),
    ("\u00c5sa", "A\u030asa"),
    ("\u1e69am", "s\u0323\u0307am"),
    ("\u1e69am", "s\u0307\u0323am"),
    # Case across alphabets
    ("anna", "\u0410NNA"),
    ("olga", "\u041eLGA"),
]
"""Pairs of names that a reader may take for each other."""
NEVER = ["ali\u200dce", "ali\u200cce", "al\u2060ice", "\u202ealice", "alice\u00ad", "\ufeffalice"]
"""What would look like another name, and is none."""
DIFFERENT = [
    "alice",
    "alicia",
    "bob",
    "rob",
    "ann",
    "anna",
    "hannah",
    "zoë",
    "zoe",
    "josé",
    "jose",
    "müller",
    "muller",
    "björn",
    "bjorn",
    "łukasz",
    "Łucja",
    "đorđe",
    "Şule",
    "i\u015f\u0131k",
    "анна",
    "иван",
    "борис",
    "ольга",
    "юрий",
    "яна",
    "ελένη",
    "γιώργος",
    "νίκος",
    "דוד",
    "משה",
    "שרה",
    "محمد",
    "فاطمة",
    "علي",
    "王伟",
    "李娜",
    "张敏",
    "山田",
    "佐藤",
    "さくら",
    "ハルト",
    "김민준",
    "이서연",
    "राज",
    "सीता",
    "สมชาย",
    "გიორგი",
    "Արամ",
    "user1",
    "user2",
    "user10",
    "x_y",
    "x-y",
    "x.y",
]
"""Ordinary names of many scripts, of which none is another."""


def test_there_are_enough() -> None:
    assert len(LOOK_ALIKES) >= 45
    assert len(DIFFERENT) >= 50


@pytest.mark.parametrize(("one", "other"), LOOK_ALIKES, ids=ascii)
def test_names_that_look_alike_are_alike(one: str, other: str) -> None:
    one, other = check_name(one), check_name(other)
    assert alike(one, other)
    assert alike(other, one)


def test_names_that_are_different_stay_different() -> None:
    mixed_up = [(one, other) for one, other in itertools.combinations(DIFFERENT, 2) if alike(one, other)]
    assert not mixed_up
    for name in DIFFERENT:
        assert check_name(name) == name


@given(st.text(max_size=8))
def test_whatever_has_one_key_has_one_look(text: str) -> None:
    try:
        shown, key = check_name(text), name_key(text)
    except ProtocolError:
        return
    assert alike(shown, key)
    assert looks(shown) & looks(key)


async def test_no_look_alike_of_an_account_a_guest_or_a_room_gets_in() -> None:
    async with place(listen=("memory://",)) as here:
        root = await here.account("root", "memory", role="admin")
        refused = []
        for number, (one, other) in enumerate(LOOK_ALIKES):
            if any(alike(one, name) for name in ("root", "general")):
                continue
            guest = await here.site.wire("memory")
            if number % 2:
                await guest.data("register", user=one, password=PASSWORD)
            else:
                await guest.data("login", user=one)
            stranger = await here.site.wire("memory")
            for action, data in (("login", {}), ("register", {"password": PASSWORD})):
                code = await stranger.code(action, user=other, **data)
                # The same name in another guise is an account's own.
                assert code in ("name_taken", "bad_credentials"), (one, other, code)
                refused.append(code)
            await stranger.data("login", user="zz")
            assert await stranger.code("rename", user=other) == "name_taken"
            assert await root.code("rename", user=other) == "name_taken"
            await root.data("create_room", room=one)
            assert await root.code("create_room", room=other) == "room_exists", (one, other)
            await root.data("create_room", room="zz")
            assert await root.code("update_room", room="zz", name=other) == "room_exists"
            for room in (one, "zz"):
                await root.data("delete_room", room=room)
            await stranger.aclose()
            if number % 2:
                await guest.data("rename", user=f"free{number}")  # an account keeps its name when it goes
            await guest.aclose()
            await root.sync()
            # Nobody has it any more.
            again = await here.site.wire("memory")
            assert (await again.ask("login", user=other))["action"] == "success", other
            await again.aclose()
        assert len(refused) > 80


@pytest.mark.parametrize("name", NEVER, ids=ascii)
async def test_what_shows_nothing_is_in_no_name(name: str) -> None:
    try:
        shown = check_name(name)
    except ProtocolError:
        return
    assert alike(shown, "alice") or shown == "alice"


async def test_two_who_take_names_that_look_alike_at_once_do_not_both_get_theirs() -> None:
    async with place() as here:
        ann, bob = [await here.account(name) for name in ("ann", "bob")]
        for asked in (
            [("register", {"user": name, "password": PASSWORD}) for name in ("alice", "\u0430lice")],
            [("rename", {"user": name}) for name in ("carol", "c\u0430rol")],
            [("create_room", {"room": name}) for name in ("tea", "te\u0430")],
        ):
            wires = [ann, bob]
            if asked[0][0] == "register":
                wires = [await here.site.wire() for _ in asked]
            gate, go_on = trio.Event(), trio.Event()
            here.store.before_commit = partial(_hold, gate, go_on)
            bystander = await here.site.user(f"bystander{asked[0][0]}")
            await bystander.send("send_message", room="general", text="held up")
            await gate.wait()
            for wire, (action, data) in zip(wires, asked, strict=True):
                await wire.send(action, **data)
            with trio.fail_after(5):
                while here.site.server._core.committer.waiting < 2:  # noqa: ASYNC110  # there is no event for it
                    await trio.sleep(0.001)
            here.store.before_commit = None
            go_on.set()
            assert sorted([(await wire.reply())["action"] for wire in wires]) == ["error", "success"], asked


async def _hold(gate: trio.Event, go_on: trio.Event, changes: object) -> None:
    gate.set()
    await go_on.wait()


async def test_a_guest_who_looks_like_a_new_account_has_to_take_another_name() -> None:
    async with place() as here:
        guest, other = await here.site.user("\u0430lice"), await here.site.user("bob")
        ann = await here.account("ann")
        await here.put(evolve(here.record("ann"), id="@9", name="Alice", key="alice"))
        assert (await guest.wait_end())[0] == 4403
        for wire in (other, ann):
            await wire.sync()


async def test_names_that_are_different_are_all_free() -> None:
    async with place(listen=("memory://",)) as here:
        root = await here.account("root", "memory", role="admin")
        for name in DIFFERENT:
            await (await here.site.wire("memory")).data("login", user=name)
            await root.data("create_room", room=name)
            await root.data("leave_room", room=name)
