"""Patterns: they find what `re` finds, refuse what they cannot do, and cannot blow up."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatkit.bot import Pattern
from chatkit.errors import UsageError

letters = st.sampled_from(
    ["a", "b", "c", ".", "[ab]", "[^a]", r"\w", r"\d", r"\s", "(?:ab)", "[a-c]", r"\b", "^", "$", " "]
)


def _repeated(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    # A repetition of what may be empty is left out: there `re` and everybody else disagree about groups.
    solid = st.sampled_from(["a", "b", "[ab]", r"\w", "(?:ab)", "(a)", "(b|c)"])
    return st.tuples(solid, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "*?", "+?", "{,2}", "??"])).map("".join)


patterns = st.recursive(
    letters | _repeated(letters),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4).map("".join),
        st.tuples(inner, inner).map("|".join).map("(?:{})".format),
        inner.map("({})".format),
    ),
    max_leaves=6,
)


@given(patterns, st.text("abc 1\n", max_size=12))
def test_it_finds_what_re_finds(pattern: str, text: str) -> None:
    # `$` before a last line break, and "." are the same in both; ours has no `$` before "\n".
    wanted = re.compile(pattern.replace("$", r"\Z")).search(text)
    found = Pattern(pattern).search(text)
    assert (found is None) == (wanted is None)
    if found is not None and wanted is not None:
        assert found[0] == wanted[0]
        assert found.groups() == wanted.groups()


@given(st.text(alphabet=r"ab()[]{}*+?|\^$.,-123<>=!:P", max_size=20))
def test_anything_is_a_pattern_or_a_usage_error(pattern: str) -> None:
    try:
        made = Pattern(pattern)
    except UsageError:
        return
    made.search("ab ab 12")


def test_groups_have_numbers_and_names() -> None:
    match = Pattern(r"(?P<count>\d+)d(\d+)?").search("roll 3d now")
    assert match is not None
    assert (match["count"], match[1], match[2], match[0]) == ("3", "3", None, "3d")
    with pytest.raises(IndexError):
        match[3]


def test_capitals_count_unless_told_otherwise() -> None:
    assert Pattern("hi").search("HI") is None
    assert Pattern("(?i)h[I-J]").search("HI") is not None


@pytest.mark.parametrize(
    "pattern",
    [
        r"(a)\1",
        "(?=a)",
        "(?<!a)",
        "a++",
        "(",
        ")",
        "[a",
        "*a",
        r"\q",
        "a{3,2}",
        "(?P<1>a)",
        "[b-a]",
        "a" * 2000,
        "((a{30}){30}){30}",
        "a{99999999999}",
        "(" * 3000,
    ],
)
def test_what_cannot_be_done_is_refused_when_it_is_made(pattern: str) -> None:
    with pytest.raises(UsageError, match="pattern"):
        Pattern(pattern)


@pytest.mark.parametrize("pattern", [r"(a*)*b", r"(a|aa)+$", r"(a|a)*b", r"a*a*a*a*b", r"(.*,)*x", r"^(\w+\s?)*$"])
def test_evil_patterns_take_no_time(pattern: str) -> None:
    begun = time.perf_counter()
    Pattern(pattern).search("a" * 64_000 + "!")
    assert time.perf_counter() - begun < 2
