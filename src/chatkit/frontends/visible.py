"""Text of other people, made safe to write to a terminal: what would steer it is shown instead of obeyed."""

from __future__ import annotations

import unicodedata

_JOINERS = {"\u200c", "\u200d"}
"""Part of ordinary writing and of emoji; they steer nothing."""


def visible(text: str) -> str:
    """Return the text with every control, escape and bidi character replaced by a picture or a code for it.

    The result is one line: a line break becomes ``⏎``, a tab four spaces.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if _harmless(char) else _shown(char) for char in text.replace("\r\n", "\n"))


def _harmless(char: str) -> bool:
    return char in _JOINERS or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _shown(char: str) -> str:
    code = ord(char)
    if char == "\n":
        return " ⏎ "
    if char == "\t":
        return "    "
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    return f"<{code:02X}>" if code < 0x100 else f"<U+{code:04X}>"
