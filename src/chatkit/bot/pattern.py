"""Patterns that cannot blow up: what is common in regular expressions, matched in time linear in the text.

Laws: the text is read once, from left to right, with at most one thread of matching per place in the pattern, so the
time is bounded by text times pattern, whatever either is. What this way of matching cannot do (look-around,
back-references) is refused when the pattern is made, never when somebody speaks.

The way is Pike's: Russ Cox, "Regular Expression Matching: the Virtual Machine Approach".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from attrs import define, frozen

from chatkit.errors import UsageError

LONGEST_PROGRAM = 1000
"""Places in a compiled pattern; bounds the time for each character."""
LONGEST_TEXT = 4096
"""Characters of a text that are looked at; a message of 64 KiB must not hold up the bot."""

Test: TypeAlias = Callable[[str], bool]


@frozen
class Char:
    """Take one character that passes a test."""

    test: Test


@frozen
class Split:
    """Go on at both places, the first one preferred."""

    first: int
    second: int


@frozen
class Jump:
    """Go on elsewhere."""

    to: int


@frozen
class Save:
    """Remember where in the text one is."""

    slot: int


@frozen
class Assert:
    """Go on only if the place in the text passes a test."""

    test: Callable[[str, int], bool]


@frozen
class Accept:
    """The pattern has matched."""


Instruction: TypeAlias = Char | Split | Jump | Save | Assert | Accept
Slots: TypeAlias = tuple[int, ...]


@frozen
class Match:
    """Where a pattern matched. ``match[1]``, ``match["name"]`` is what a group took, None if it took no part."""

    text: str
    slots: Slots
    names: dict[str, int]

    def __getitem__(self, group: int | str) -> str | None:
        number = self.names[group] if isinstance(group, str) else group
        if not 0 <= number * 2 < len(self.slots):
            raise IndexError(f"the pattern has no group {group!r}")
        start, end = self.slots[number * 2], self.slots[number * 2 + 1]
        return None if start < 0 or end < 0 else self.text[start:end]

    def groups(self) -> tuple[str | None, ...]:
        """Return what each group took, from the first."""
        return tuple(self[number] for number in range(1, len(self.slots) // 2))


class Pattern:
    """A compiled pattern: the syntax of `re` without look-around and back-references.

    There are ``.``, classes, ``\\d \\w \\s \\b`` and their opposites, ``^ $``, groups (plain, ``(?:…)``, named),
    ``|``, ``* + ? {m,n}`` and their lazy forms, and a leading ``(?i)``. Raises `UsageError` for anything else.
    """

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        parser = _Parser(pattern)
        self._program = parser.compile()
        self._slots = (parser.groups + 1) * 2
        self._names = parser.names
        self._fold = parser.ignore_case

    def __repr__(self) -> str:
        return f"Pattern({self.pattern!r})"

    def search(self, text: str) -> Match | None:
        """Return the leftmost match in the first 4,096 characters of the text, or None."""
        text = text[:LONGEST_TEXT]
        slots = _Machine(self._program, self._slots, text, self._fold).run()
        return None if slots is None else Match(text, slots, self._names)


@define(eq=False)
class _Machine:
    """One run over a text."""

    program: list[Instruction]
    slots: int
    text: str
    fold: bool

    def run(self) -> Slots | None:
        threads: list[tuple[int, Slots]] = []
        found: Slots | None = None
        nothing: Slots = (-1,) * self.slots
        for at in range(len(self.text) + 1):
            seen: set[int] = set()
            ready = [thread for place, saved in threads for thread in self._follow(place, saved, at, seen)]
            if found is None:
                ready.extend(self._follow(0, nothing, at, seen))
            threads = []
            char = self._char(at)
            for place, saved in ready:
                instruction = self.program[place]
                if isinstance(instruction, Accept):
                    found = saved
                    break
                if char is not None and isinstance(instruction, Char) and instruction.test(char):
                    threads.append((place + 1, saved))
            if found is not None and not threads:
                return found
        return found

    def _char(self, at: int) -> str | None:
        if at == len(self.text):
            return None
        return self.text[at].lower() if self.fold else self.text[at]

    def _follow(self, start: int, saved: Slots, at: int, seen: set[int]) -> Iterator[tuple[int, Slots]]:
        """Go on from a place to every one that takes a character or accepts, preferred ones first."""
        waiting = [(start, saved)]
        while waiting:
            place, saved = waiting.pop()
            if place in seen:
                continue
            seen.add(place)
            match self.program[place]:
                case Jump(to):
                    waiting.append((to, saved))
                case Split(first, second):
                    waiting += [(second, saved), (first, saved)]
                case Save(slot):
                    waiting.append((place + 1, (*saved[:slot], at, *saved[slot + 1 :])))
                case Assert(test):
                    if test(self.text, at):
                        waiting.append((place + 1, saved))
                case Char() | Accept():
                    yield place, saved


# ── from text to program ─────────────────────────────────────────────────────────────────────────────────────────────

Code: TypeAlias = list[Instruction]


def _is_word(char: str) -> bool:
    return char.isalnum() or char == "_"


def _at_edge(text: str, at: int) -> bool:
    before = at > 0 and _is_word(text[at - 1])
    return before != (at < len(text) and _is_word(text[at]))


_CLASSES: dict[str, Test] = {
    "d": str.isdecimal,
    "w": _is_word,
    "s": str.isspace,
    "D": lambda char: not char.isdecimal(),
    "W": lambda char: not _is_word(char),
    "S": lambda char: not char.isspace(),
}
_PLACES: dict[str, Assert] = {
    "b": Assert(_at_edge),
    "B": Assert(lambda text, at: not _at_edge(text, at)),
    "A": Assert(lambda _, at: at == 0),
    "Z": Assert(lambda text, at: at == len(text)),
}
_LETTERS = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "0": "\0"}


class _Parser:
    """Reads a pattern once and writes its program."""

    def __init__(self, pattern: str) -> None:
        self.ignore_case = pattern.startswith("(?i)")
        self.groups = 0
        self.names: dict[str, int] = {}
        self._pattern = pattern
        self._at = 4 if self.ignore_case else 0

    def compile(self) -> list[Instruction]:
        try:
            body = self._either()
        except RecursionError:
            raise self._wrong("it is nested too deeply") from None
        if self._at < len(self._pattern):
            raise self._wrong("a ) without its (")
        program: Code = [Save(0), *_moved(body, 1), Save(1), Accept()]
        return self._bounded(program)

    def _wrong(self, what: str) -> UsageError:
        return UsageError(f"pattern {self._pattern!r}, character {self._at + 1}: {what}")

    def _bounded(self, code: Code) -> Code:
        if len(code) > LONGEST_PROGRAM:
            raise self._wrong(f"it is too large; repetitions count, and there is place for {LONGEST_PROGRAM}")
        return code

    def _peek(self) -> str:
        return self._pattern[self._at : self._at + 1]

    def _take(self, wanted: str = "") -> str:
        char = self._peek()
        if not char or (wanted and char != wanted):
            raise self._wrong(f"expected {wanted!r}" if wanted else "it ends too early")
        self._at += 1
        return char

    def _took(self, text: str) -> bool:
        if not self._pattern.startswith(text, self._at):
            return False
        self._at += len(text)
        return True

    def _either(self) -> Code:
        code = self._sequence()
        while self._took("|"):
            other = self._sequence()
            second = len(code) + 2
            code = self._bounded(
                [Split(1, second), *_moved(code, 1), Jump(second + len(other)), *_moved(other, second)]
            )
        return code

    def _sequence(self) -> Code:
        code: Code = []
        while self._peek() not in ("", "|", ")"):
            code += _moved(self._repeated(), len(code))
            self._bounded(code)
        return code

    def _repeated(self) -> Code:
        code = self._atom()
        while bounds := self._bounds():
            least, most = bounds
            lazy = self._took("?")
            if not lazy and self._peek() == "+":
                raise self._wrong("there are no possessive repetitions; none are needed")
            code = self._times(code, least, most, lazy)
        return code

    def _bounds(self) -> tuple[int, int | None] | None:
        for sign, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._took(sign):
                return bounds
        if self._peek() != "{":
            return None
        inside, brace, _ = self._pattern[self._at + 1 :].partition("}")
        least, comma, most = inside.partition(",")
        if not brace or not (least + most).isdecimal() or not (least or comma):
            return None
        self._at += len(inside) + 2
        if len(inside) > 9:
            raise self._wrong(f"{{{inside}}} is too often")
        upper = int(most) if most else None if comma else int(least)
        if upper is not None and upper < int(least or 0):
            raise self._wrong(f"{{{inside}}} is the wrong way round")
        return int(least or 0), upper

    def _times(self, code: Code, least: int, most: int | None, lazy: bool) -> Code:
        copies = max(least, most or 0)
        if (len(code) + 1) * copies > LONGEST_PROGRAM:
            raise self._wrong(f"so many repetitions need more than {LONGEST_PROGRAM} places")
        result: Code = []
        for _ in range(least):
            result += _moved(code, len(result))
        if most is None:
            loop: Code = [_split(1, len(code) + 2, lazy), *_moved(code, 1), Jump(0)]
            result += _moved(loop, len(result))
        else:
            for _ in range(most - least):
                result += _moved([_split(1, len(code) + 1, lazy), *_moved(code, 1)], len(result))
        return result

    def _atom(self) -> Code:
        char = self._take()
        match char:
            case "(":
                return self._group()
            case "[":
                return [Char(self._class())]
            case ".":
                return [Char(lambda char: char != "\n")]
            case "^":
                return [_PLACES["A"]]
            case "$":
                return [_PLACES["Z"]]
            case "\\":
                return [self._escape()]
            case "*" | "+" | "?":
                raise self._wrong(f"nothing is there to repeat with {char}")
        return [self._literal(char)]

    def _literal(self, char: str) -> Char:
        wanted = char.lower() if self.ignore_case else char
        return Char(lambda char: char == wanted)

    def _escape(self) -> Instruction:
        char = self._take()
        if char in _PLACES:
            return _PLACES[char]
        if char in _CLASSES:
            return Char(_CLASSES[char])
        if char.isdecimal() and char != "0":
            raise self._wrong("there are no back-references: they cannot be matched in linear time")
        return self._literal(self._letter(char))

    def _letter(self, char: str) -> str:
        if char in _LETTERS:
            return _LETTERS[char]
        if char.isascii() and char.isalnum():
            raise self._wrong(f"there is no \\{char}")
        return char

    def _group(self) -> Code:
        if self._took("?:"):
            return self._closed(self._either())
        name = ""
        if self._took("?P<"):
            name, _, _ = self._pattern[self._at :].partition(">")
            if not name.isidentifier() or name in self.names:
                raise self._wrong(f"{name!r} cannot be the name of a group, or is one already")
            self._at += len(name)
            self._take(">")
        elif self._peek() == "?":
            raise self._wrong("there is no look-around, and (?i) stands at the very beginning")
        self.groups += 1
        number = self.groups
        if name:
            self.names[name] = number
        body = self._closed(self._either())
        return [Save(number * 2), *_moved(body, 1), Save(number * 2 + 1)]

    def _closed(self, code: Code) -> Code:
        self._take(")")
        return code

    def _class(self) -> Test:
        opposite = self._took("^")
        tests: list[Test] = []
        chars: set[str] = set()
        first = True
        while first or self._peek() != "]":
            first = False
            low = self._member(tests)
            if low and self._peek() == "-" and self._pattern[self._at + 1 : self._at + 2] not in ("]", ""):
                self._take("-")
                high = self._member(tests)
                if not high or high < low:
                    raise self._wrong("a range in [] is the wrong way round")
                tests.append(self._range(low, high))
            elif low:
                chars.add(low.lower() if self.ignore_case else low)
        self._take("]")
        return lambda char: (char in chars or any(test(char) for test in tests)) != opposite

    def _range(self, low: str, high: str) -> Test:
        if self.ignore_case:
            return lambda char: low <= char <= high or low <= char.upper() <= high
        return lambda char: low <= char <= high

    def _member(self, tests: list[Test]) -> str:
        """Take one member of a class: return the character, or add a test and return nothing."""
        char = self._take()
        if char != "\\":
            return char
        char = self._take()
        if char in _CLASSES:
            tests.append(_CLASSES[char])
            return ""
        return self._letter(char)


def _split(body: int, after: int, lazy: bool) -> Split:
    return Split(after, body) if lazy else Split(body, after)


def _moved(code: Code, by: int) -> Code:
    """The code as it is when it begins ``by`` places later."""
    moved: Code = []
    for instruction in code:
        match instruction:
            case Split(first, second):
                moved.append(Split(first + by, second + by))
            case Jump(to):
                moved.append(Jump(to + by))
            case _:
                moved.append(instruction)
    return moved
