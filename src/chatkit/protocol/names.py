"""Names of people and rooms: what may be one, and which are the same.

A name follows PRECIS (RFC 8265). Two names are the same if their case-mapped forms are: that form is the *key*.
What is shown keeps the case its owner chose.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import precis_i18n

from chatkit.errors import ProtocolError
from chatkit.protocol.codes import ErrorCode

LONGEST = 32
RESERVED_FIRST = frozenset("@#&+!~%")
"""A name never begins with these: they mark roles and kinds of names in frontends to come."""
NEVER = frozenset(" ,/:")

_shown = precis_i18n.get_profile("UsernameCasePreserved")
_keyed = precis_i18n.get_profile("UsernameCaseMapped:ToLower")


class _Unfit(Exception):
    """Not a name; the text says why, after "the name"."""


def check_name(name: str, what: str = "name") -> str:
    """Return the name in its normal form as it will be shown.

    Raises `ProtocolError` with code ``bad_name`` and a sentence that says what is wrong with it.
    """
    return _forms_of(name, what)[0]


def name_key(name: str) -> str:
    """Return the form under which a name is unique. Raises `ProtocolError` (``bad_name``) as `check_name` does."""
    return _forms_of(name, "name")[1]


def _forms_of(name: str, what: str) -> tuple[str, str]:
    try:
        return _forms(name)
    except _Unfit as error:
        raise ProtocolError(f"the {what} {error}", code=ErrorCode.BAD_NAME) from error.__cause__


@lru_cache(maxsize=4096)
def _forms(name: str) -> tuple[str, str]:
    """The name as it is shown, and its key."""
    if not name:
        raise _Unfit("is empty")
    if len(name) > LONGEST * 4:
        raise _Unfit(f"is longer than {LONGEST} characters")
    _refuse_marks(name)
    shown = _settled(_shown, name)
    _refuse_marks(shown)  # again: a full-width slash has become a slash
    if not shown[0].isalnum():
        raise _Unfit("begins with neither a letter nor a digit")
    key = _settled(_keyed, shown)
    if max(len(shown), len(key)) > LONGEST:  # a key can be longer, and is a name as well
        raise _Unfit(f"is longer than {LONGEST} characters")
    return shown, key


def _refuse_marks(name: str) -> None:
    if name[0] in RESERVED_FIRST:
        raise _Unfit(f"may not begin with {name[0]!r}")
    found = NEVER.intersection(name)
    if found:
        raise _Unfit(f"may not contain {'a space' if ' ' in found else repr(min(found))}")


def _settled(profile: Any, name: str) -> str:
    """Apply a profile until nothing changes any more (RFC 8265, section 3.3.4, tries four times)."""
    for _ in range(4):
        try:
            enforced = str(profile.enforce(name))
        except UnicodeEncodeError as error:
            raise _Unfit("has a character that names cannot have") from error
        if enforced == name:
            return name
        name = enforced
    raise _Unfit("has no stable form")
