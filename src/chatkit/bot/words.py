"""A line as somebody typed it, taken apart into words: quotes of every kind, and where each word began.

Laws: no line is wrong; quoting a text and taking the line apart gives the text back; the time is linear in the line.
"""

from __future__ import annotations

from attrs import frozen

CLOSERS: dict[str, str] = {
    '"': '"',
    "'": "'",
    "“": "”“",
    "„": "“”",
    "”": "”",
    "«": "»",
    "»": "«",
    "‘": "’‘",  # noqa: RUF001
    "‚": "‘’",  # noqa: RUF001
    "「": "」",
}
"""What a quote may begin with, and what then ends it: English, German, French, Swedish and Japanese habits."""
_ESCAPABLE = frozenset("\\" + "".join(CLOSERS) + "".join(CLOSERS.values()))


@frozen
class Word:
    """A word, without its quotes; ``start`` is where it began in the line, ``quoted`` whether it had quotes."""

    text: str
    start: int
    quoted: bool = False


def quote(text: str) -> str:
    """Return a text in quotes, so that `split` gives it back as one word."""
    escaped = "".join(f"\\{char}" if char in _ESCAPABLE else char for char in text)
    return f'"{escaped}"'


def split(line: str) -> list[Word]:
    """Take a line apart at its white space.

    A quote at the beginning of a word lasts to its closing quote at the end of one, in any style people type; inside
    it ``\\`` before a quote or a backslash makes that an ordinary letter. A quote that is never closed is a letter.
    """
    return list(_Line(line).words())


class _Line:
    def __init__(self, line: str) -> None:
        self._line = line
        self._hopeless: set[str] = set()
        """Opening quotes that nothing closes from here on: searching again and again would be quadratic."""

    def words(self) -> list[Word]:
        words: list[Word] = []
        line, at = self._line, 0
        while at < len(line):
            if line[at].isspace():
                at += 1
                continue
            word, at = self._quoted(at) or self._plain(at)
            words.append(word)
        return words

    def _plain(self, start: int) -> tuple[Word, int]:
        end = start
        while end < len(self._line) and not self._line[end].isspace():
            end += 1
        return Word(self._line[start:end], start), end

    def _quoted(self, start: int) -> tuple[Word, int] | None:
        opening = self._line[start]
        closers = CLOSERS.get(opening)
        if closers is None or opening in self._hopeless:
            return None
        line, at = self._line, start + 1
        letters: list[str] = []
        while at < len(line):
            char = line[at]
            if char == "\\" and line[at + 1 : at + 2] in _ESCAPABLE and at + 1 < len(line):
                letters.append(line[at + 1])
                at += 2
                continue
            if char in closers and (at + 1 == len(line) or line[at + 1].isspace()):
                return Word("".join(letters), start, quoted=True), at + 1
            letters.append(char)
            at += 1
        self._hopeless.add(opening)
        return None
