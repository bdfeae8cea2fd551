"""Which names there may be, how they are shown, and which are the same."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chatkit.errors import ProtocolError
from chatkit.protocol import ErrorCode, check_name, name_key
from chatkit.protocol.names import LONGEST, NEVER, RESERVED_FIRST
from chatkit.testing import strategies as draw

GOOD = {  # name: (as it is shown, its key)
    "ann": ("ann", "ann"),
    "Ann": ("Ann", "ann"),
    "ANN": ("ANN", "ann"),
    "a": ("a", "a"),
    "7": ("7", "7"),
    "ann.b-c_d": ("ann.b-c_d", "ann.b-c_d"),
    "x" * LONGEST: ("x" * LONGEST, "x" * LONGEST),
    "é": ("é", "é"),
    "e\u0301": ("é", "é"),
    "É": ("É", "é"),
    "\uff21nn": ("Ann", "ann"),
    "\u212b": ("Å", "å"),
    "\u212a": ("K", "k"),
    "straße": ("straße", "straße"),
    "Ωmega": ("Ωmega", "ωmega"),
    "ΑΣ": ("ΑΣ", "ας"),
    "Михаил": ("Михаил", "михаил"),
    "名前": ("名前", "名前"),
    "\uff76\uff9e": ("ガ", "ガ"),
    "가나": ("가나", "가나"),
    "\u1100\u1161": ("가", "가"),
    "שלום": ("שלום", "שלום"),
    "مرحبا": ("مرحبا", "مرحبا"),
    "नमस्ते": ("नमस्ते", "नमस्ते"),
    "l·l": ("l·l", "l·l"),
    "é" * LONGEST: ("é" * LONGEST, "é" * LONGEST),
    "e\u0301" * LONGEST: ("é" * LONGEST, "é" * LONGEST),
    "a!b": ("a!b", "a!b"),
    "c++": ("c++", "c++"),
    "a'b": ("a'b", "a'b"),
}
BAD = {
    "": "is empty",
    "x" * (LONGEST + 1): "longer than 32",
    "x" * 100_000: "longer than 32",
    "é" * (LONGEST + 1): "longer than 32",
    " ": "a space",
    " ann": "a space",
    "ann ": "a space",
    "a b": "a space",
    "x" * (LONGEST - 1) + "İ": "longer than 32",
    "@ann": "begin with '@'",
    "#ann": "begin with '#'",
    "&ann": "begin with '&'",
    "+ann": "begin with '\\+'",
    "!ann": "begin with '!'",
    "~ann": "begin with '~'",
    "%ann": "begin with '%'",
    "\uff20ann": "begin with '@'",
    "\uff03ann": "begin with '#'",
    "a,b": "contain ','",
    "a/b": "contain '/'",
    "a:b": "contain ':'",
    "a\uff0fb": "contain '/'",
    "a\uff0cb": "contain ','",
    "a\uff1ab": "contain ':'",
    "-ann": "neither a letter nor a digit",
    ".ann": "neither a letter nor a digit",
    "_ann": "neither a letter nor a digit",
    "'ann": "neither a letter nor a digit",
    "\u0301a": "neither a letter nor a digit",
    "a\u00a0b": "character that names cannot have",
    "a\u3000b": "character that names cannot have",
    "a\0": "character that names cannot have",
    "a\n": "character that names cannot have",
    "a\x1b[2J": "character that names cannot have",
    "a\x7f": "character that names cannot have",
    "ann\u200b": "character that names cannot have",
    "ann\u200d": "character that names cannot have",
    "ann\u202e": "character that names cannot have",
    "ann\u2066": "character that names cannot have",
    "ann\ufeff": "character that names cannot have",
    "\ufb01sh": "character that names cannot have",
    "\u2167": "character that names cannot have",
    "a²": "character that names cannot have",
    "☃": "character that names cannot have",
    "😀": "character that names cannot have",
    "a·b": "character that names cannot have",
    "\ud800": "character that names cannot have",
    "\uffff": "character that names cannot have",
    "\u0378": "character that names cannot have",
    "a\u0661": "character that names cannot have",
    "שa": "character that names cannot have",
}


@pytest.mark.parametrize("name", GOOD, ids=ascii)
def test_good_names(name: str) -> None:
    assert (check_name(name), name_key(name)) == GOOD[name]


@pytest.mark.parametrize("name", BAD, ids=lambda name: ascii(name)[:40])
def test_bad_names(name: str) -> None:
    with pytest.raises(ProtocolError, match=BAD[name]) as caught:
        check_name(name, "room's name")
    assert caught.value.code == ErrorCode.BAD_NAME
    assert caught.value.message.startswith("the room's name ")
    assert len(caught.value.message) < 100
    with pytest.raises(ProtocolError) as caught:
        name_key(name)
    assert caught.value.code == ErrorCode.BAD_NAME


def shown(name: str) -> str | None:
    try:
        return check_name(name)
    except ProtocolError:
        return None


ANYTHING = st.one_of(
    draw.names(), st.text(max_size=20), st.text(st.sampled_from("aBß İıſΣσς.\u0307\u0301\uff0f@·lـא1"), max_size=6)
)


@given(name=ANYTHING)
def test_checking_again_changes_nothing(name: str) -> None:
    once = shown(name)
    assume(once is not None)
    assert once is not None
    assert check_name(once) == once
    assert 1 <= len(once) <= LONGEST
    assert once[0] not in RESERVED_FIRST
    assert not NEVER.intersection(once)
    assert once.isprintable()


@given(name=ANYTHING)
def test_a_key_is_its_own_key(name: str) -> None:
    assume(shown(name) is not None)
    key = name_key(name)
    assert name_key(key) == key
    assert name_key(check_name(name)) == key


@given(one=ANYTHING, other=ANYTHING)
def test_names_that_are_shown_alike_are_the_same(one: str, other: str) -> None:
    assume(shown(one) is not None and shown(other) is not None)
    if check_name(one) == check_name(other):
        assert name_key(one) == name_key(other)
    if name_key(one) == name_key(other):
        assert check_name(one).lower() == check_name(other).lower()


@given(name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}", fullmatch=True))
def test_case_of_ascii_never_makes_another_name(name: str) -> None:
    assert name_key(name.upper()) == name_key(name.lower()) == name_key(name)
    assert check_name(name) == name


@given(name=draw.names())
def test_names_that_are_drawn_are_names(name: str) -> None:
    assert check_name(name) == name
