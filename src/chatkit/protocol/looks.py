"""What a name looks like: two names that a reader may take for each other have a look in common.

The look follows the skeleton of Unicode Technical Standard 39, section 4: canonical decomposition, and each character
replaced by the prototype of those it may be confused with. A look also forgets case, since names do.
"""

from __future__ import annotations

import unicodedata
from functools import cache, lru_cache

from confusable_homoglyphs import confusables

INVISIBLE = frozenset("\u200c\u200d\u200e\u200f")
"""Joiners and marks of direction: they show nothing of their own."""
STROKES = {"\u04cf": "l"}
"""Where fonts disagree with the standard's table: a small palochka is drawn as the capital one, a plain stroke."""


@lru_cache(maxsize=4096)
def looks(name: str) -> frozenset[str]:
    """Return what a name may be taken for: as it is written, and in lower case. Any string will do."""
    return frozenset({_look(name), _look(name.casefold())})


def alike(one: str, other: str) -> bool:
    """Whether two names may be taken for each other."""
    return not looks(one).isdisjoint(looks(other))


def _look(name: str) -> str:
    """A skeleton without case; casting case away can bring out further likenesses, so until nothing changes."""
    for _ in range(4):
        look = _skeleton(_skeleton(name).casefold())
        if look == name:
            break
        name = look
    return name


def _skeleton(name: str) -> str:
    prototypes = _prototypes()
    decomposed = unicodedata.normalize("NFD", name)
    replaced = "".join(prototypes.get(character, character) for character in decomposed)
    return unicodedata.normalize("NFD", replaced)


@cache
def _prototypes() -> dict[str, str]:
    """Each confusable character's prototype: the one that all it may be confused with have in common."""
    found: dict[str, str] = {}
    for character, alike_ones in confusables.confusables_data.items():
        if len(character) != 1:
            continue
        others = [_visible(one["c"]) for one in alike_ones]
        if len(others) == 1 and (others[0] != character) and _is_prototype_of(others[0], character):
            found[character] = others[0]
    return found | STROKES


def _visible(text: str) -> str:
    return "".join(character for character in text if character not in INVISIBLE)


def _is_prototype_of(prototype: str, character: str) -> bool:
    """Of two characters that only name each other, the one that sorts first stands for both."""
    back = confusables.confusables_data.get(prototype, ())
    return len(back) > 1 or len(prototype) > 1 or prototype < character
