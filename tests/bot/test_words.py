"""Taking lines apart: quotes as people type them, every line is fine, linear time."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatkit.bot import quote, split


def texts(line: str) -> list[str]:
    return [word.text for word in split(line)]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", []),
        ("  one   two ", ["one", "two"]),
        ('say "good morning" twice', ["say", "good morning", "twice"]),
        ("say 'good morning'", ["say", "good morning"]),
        ("say “good morning”", ["say", "good morning"]),
        ("say „guten Morgen“", ["say", "guten Morgen"]),
        ("say „godmorgon”", ["say", "godmorgon"]),
        ("say «bon jour»", ["say", "bon jour"]),
        ("say »guten Tag«", ["say", "guten Tag"]),
        ("say \u2018good day\u2019", ["say", "good day"]),
        ("say 「good day」", ["say", "good day"]),
        ("it's ann's", ["it's", "ann's"]),
        ("'don't do it'", ["don't do it"]),
        ('5" screen', ['5"', "screen"]),
        ('"never closed', ['"never', "closed"]),
        ("“never closed", ["“never", "closed"]),
        ('"" empty', ["", "empty"]),
        (r'"a \"b\" c"', ['a "b" c']),
        (r'"back \\ slash"', ["back \\ slash"]),
        (r"C:\new\table", [r"C:\new\table"]),
        ('"one" "two"', ["one", "two"]),
        ("one\ntwo\tthree\u3000four", ["one", "two", "three", "four"]),
    ],
)
def test_split(line: str, words: list[str]) -> None:
    assert texts(line) == words


@given(st.lists(st.text()))
def test_what_is_quoted_comes_back(said: list[str]) -> None:
    assert texts(" ".join(quote(text) for text in said)) == said


@given(st.text(alphabet="\"'“”„«»\\ ab\n"))
def test_every_line_is_fine_and_words_are_where_they_say(line: str) -> None:
    for word in split(line):
        assert line[word.start] in (word.text[:1] or line[word.start]) or word.quoted
        assert not line[word.start].isspace()


@pytest.mark.parametrize("piece", ['"', '"a ', "“ ", "« ' „ ", '"\\" ', '\\"', '"\\ ', "a ", '" "'])
def test_time_is_linear(piece: str) -> None:
    def seconds(length: int) -> float:
        line = (piece * length)[:length]
        best = float("inf")
        for _ in range(3):
            begun = time.perf_counter()
            split(line)
            best = min(best, time.perf_counter() - begun)
        return best

    assert seconds(80_000) < 40 * seconds(8_000) + 0.01  # quadratic would be a hundredfold
