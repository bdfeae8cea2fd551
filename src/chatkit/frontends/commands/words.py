"""The words behind a command: names, terms and reasons."""

from __future__ import annotations

import ipaddress
import re
from datetime import datetime, timedelta
from typing import get_args

from attrs import frozen

from chatkit.client import Message
from chatkit.client.terms import EXAMPLES, term_of
from chatkit.errors import UsageError
from chatkit.protocol.accounts import NewPassword
from chatkit.protocol.bounds import Between

SERVER = "--server"
"""In front of a name: on the whole server, not in the room."""
REMOVED = "(removed)"
"""What stands where a message was that has been removed."""
_TERM = re.compile(r"\d+\w*")


@frozen(kw_only=True)
class Act:
    """What somebody wants to do to whom: ``NAME [TERM] [reason…]``, behind ``--server`` for the whole server."""

    server: bool
    who: str
    term: timedelta | None
    reason: str


def act_of(argument: str, *, term: bool) -> Act:
    """Read whom an act is about; ``term`` says whether it can have one. Raises `UsageError`."""
    server, rest = server_of(argument)
    who, _, rest = rest.partition(" ")
    if not who:
        raise UsageError(f"say who, behind {SERVER}")
    first, _, others = rest.strip().partition(" ")
    if term and _TERM.fullmatch(first):
        return Act(server=server, who=who, term=term_typed(first), reason=others.strip())
    return Act(server=server, who=who, term=None, reason=rest.strip())


def server_of(argument: str) -> tuple[bool, str]:
    """Take ``--server`` off the front."""
    first, _, rest = argument.partition(" ")
    return (True, rest.strip()) if first == SERVER else (False, argument)


def term_typed(text: str) -> timedelta:
    """Read a term. Raises `UsageError`."""
    try:
        return term_of(text)
    except ValueError:
        raise UsageError(f"{text!r} is no length of time: write {EXAMPLES}") from None


def switch(argument: str) -> bool:
    """Read ``on`` or ``off``. Raises `UsageError`."""
    if argument.lower() not in ("on", "off"):
        raise UsageError(f"on or off? {argument!r} is neither")
    return argument.lower() == "on"


def number_of(argument: str) -> int:
    """Read a message's number. Raises `UsageError`."""
    digits = argument.removeprefix("#")
    if not (digits.isascii() and digits.isdigit() and 0 < len(digits) < 16):
        raise UsageError(f"{argument!r} is no number of a message: /recent shows them")
    return int(digits)


def is_address(text: str) -> bool:
    """Whether this is an IP address or a network, and so nobody's name."""
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return not text.isdigit()


def when(moment: datetime) -> str:
    """Write a time for people, in their zone."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"


def because(reason: str) -> str:
    """Write a reason behind what it is for."""
    return f": {reason}" if reason else ""


def shown(message: Message) -> str:
    """Write a message with its number."""
    said = REMOVED if message.deleted else message.text or f"<{len(message.binary or b'')} bytes>"
    return f"{message.seq:>6}  {message.user}: {said}"


def unfit(password: str) -> str | None:
    """Say why a new password is too short or too long for any server; None if it is not."""
    bounds: Between = get_args(NewPassword)[1]
    size = len(password.encode("utf-8", "replace"))
    if bounds.least <= size <= bounds.most:
        return None
    return f"the password is {size} bytes long: expected {bounds.least} to {bounds.most}"
