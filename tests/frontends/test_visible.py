"""Text of other people on a terminal."""

from __future__ import annotations

import unicodedata

from hypothesis import example, given
from hypothesis import strategies as st

from chatkit.frontends.visible import visible

STEERING = {"Cc", "Cf", "Cs", "Zl", "Zp"}


@given(st.text())
@example("\x1b]0;title\x07")
@example("\u202eabc")
def test_nothing_that_steers_gets_through(text: str) -> None:
    shown = visible(text)
    assert not [char for char in shown if unicodedata.category(char) in STEERING and char not in "\u200c\u200d"]
    assert visible(shown) == shown


def test_what_is_shown_instead() -> None:
    assert visible("plain ünïcödé 👩‍🚀") == "plain ünïcödé 👩‍🚀"
    assert visible("a\x1b[31m\x9b\u202e\x7f") == "a␛[31m<9B><U+202E>␡"
    assert visible("two\r\nlines\n\tand") == "two ⏎ lines ⏎     and"
