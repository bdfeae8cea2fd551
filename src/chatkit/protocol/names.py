"""Names of people and rooms: what may be one, and which are the same.

A name follows PRECIS (RFC 8265). Two names are the same if their case-mapped forms are: that form is the *key*.
What is shown keeps the case its owner chose.
"""

from __future__ import annotations

from functools import lru_cache

import precis_i18n

from chatkit.errors import ProtocolError
from chatkit.protocol.codes import ErrorCode

LONGEST = 32
RESERVED_FIRST = frozenset("@#&+!~%")
"""A name never begins with these: they mark roles and kinds of names in frontends to come."""
NEVER = frozenset(" ,/:")

_shown = precis_i18n.get_profile("UsernameCasePreserved")
_keyed = precis_i18n.get_profile("UsernameCaseMapped:ToLower")


def check_name(name: str, what: str = "name") -> str:
    """Return the name in its normal form as it will be shown.

    Raises `ProtocolError` with code ``bad_name`` and a sentence that says what is wrong with it.
    """
    if not name:
        raise _bad(what, "is empty")
    if len(name) > LONGEST * 4:
        raise _bad(what, f"is longer than {LONGEST} characters")
    if name[0] in RESERVED_FIRST:
        raise _bad(what, f"may not begin with {name[0]!r}")
    found = NEVER.intersection(name)
    if found:
        raise _bad(what, f"may not contain {'a space' if ' ' in found else repr(min(found))}")
    shown = _enforced(name, what)
    if len(shown) > LONGEST:
        raise _bad(what, f"is longer than {LONGEST} characters")
    if not shown[0].isalnum():
        raise _bad(what, "begins with a letter or a digit")
    return shown


@lru_cache(maxsize=4096)
def name_key(name: str) -> str:
    """Return the form under which a name is unique. Raises `ProtocolError` (``bad_name``) as `check_name` does."""
    shown = check_name(name)
    try:
        return str(_keyed.enforce(shown))
    except UnicodeEncodeError as error:
        raise _bad("name", "has a character that names cannot have") from error


def _enforced(name: str, what: str) -> str:
    try:
        return str(_shown.enforce(name))
    except UnicodeEncodeError as error:
        raise _bad(what, "has a character that names cannot have") from error


def _bad(what: str, why: str) -> ProtocolError:
    return ProtocolError(f"the {what} {why}", code=ErrorCode.BAD_NAME)
