"""Whether a change can be kept by any backend: types, Unicode, the range of integers.

The codec has refused such things long before; this is what keeps one bad change of an embedding program from failing
everybody else's in the same commit.
"""

from __future__ import annotations

from typing import TypeAlias

from attrs import fields

from chatkit.backend.records import (
    RECORDS,
    UNCHECKED,
    Append,
    Change,
    CreateRoom,
    DeleteRoom,
    Member,
    Put,
    PutMember,
    Redact,
    Remove,
    RemoveMember,
    RoomRecord,
    Together,
    Trim,
    UpdateRoom,
)

INTEGER_MAX = 2**63 - 1
INTEGER_MIN = -(2**63)
EXACT_MAX = 2**53 - 1
"""Up to here every integer is a float, too."""

_NUMBER = (int, float)
_Fields: TypeAlias = tuple[tuple[str, tuple[type, ...]], ...]
_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "str | None": (str, type(None)),
    "int": (int,),
    "int | None": (int, type(None)),
    "float": _NUMBER,
    "bool": (bool,),
    "Body": (str, bytes, type(None)),
    "TokenKind": (str,),
    "BanKind": (str,),
}
_FIELDS: dict[type, _Fields] = {
    kind: tuple((field.name, _TYPES[str(field.type)]) for field in fields(kind))
    for kind in (Append, DeleteRoom, RemoveMember, Trim, Redact, Member, RoomRecord, *RECORDS)
}
_CHANGEABLE = {"name", "key", "topic", "private", "read_only", "slow", "closed", "head", "first"}


def why_not(change: Change) -> str | None:
    """Return a sentence that says why a change cannot be kept, or None if it can."""
    if type(change) is Append and _is_plain(change):
        return None
    match change:
        case CreateRoom(room=room, owner=None):
            return _why_not(room)
        case CreateRoom(room=room, owner=Member() as owner):
            if owner.room_id != room.room_id:
                return "owner: a member of another room"
            return _why_not(room) or _why_not(owner)
        case UpdateRoom(room=RoomRecord() as room, was=RoomRecord() as was):
            return _why_not(room) or _why_not(was) or _why_no_update(room, was)
        case PutMember(member=member, was=was):
            return _why_not(member) or (None if was is None or was is UNCHECKED else _why_not(was))
        case Put(record=record, was=was):
            return _why_no_record(record) or (None if was is None else _why_no_record(was))
        case Remove(record=record):
            return _why_no_record(record)
        case Append() | DeleteRoom() | RemoveMember() | Trim() | Redact():
            return _why_not(change)
        case Together(changes=tuple() as changes):
            return "a Together in a Together" if any(isinstance(one, Together) for one in changes) else None
        case _:
            return f"{type(change).__name__} is no change"


def _is_plain(said: Append) -> bool:
    """Whether it is what nearly all are, by the shortest way: a text in ASCII, in answer to nothing."""
    return (
        type(said.body) is type(said.name) is type(said.author) is type(said.room_id) is type(said.kind) is str
        and (said.op is None or type(said.op) is str)
        and type(said.time) is int
        and INTEGER_MIN <= said.time <= INTEGER_MAX
        and said.about is said.thread is None
        and said.body.isascii()
        and f"{said.name}{said.author}{said.room_id}{said.kind}{said.op}".isascii()
    )


def _why_not(record: object) -> str | None:
    for name, types in _FIELDS.get(type(record)) or _inherited(record):
        value = getattr(record, name)
        if not isinstance(value, types):
            return f"{name}: expected {' or '.join(kind.__name__ for kind in types)}"
        if isinstance(value, str):
            if not (value.isascii() or _is_unicode(value)):
                return f"{name}: holds half of a surrogate pair"
        elif (isinstance(value, int) and not INTEGER_MIN <= value <= INTEGER_MAX) or (
            types is _NUMBER and not _is_exact(value)
        ):
            return f"{name}: the number is too large"
    return None


def _inherited(record: object) -> _Fields:
    return next((known for kind, known in _FIELDS.items() if isinstance(record, kind)), ())


def _why_no_record(record: object) -> str | None:
    return _why_not(record) if type(record) in RECORDS else f"{type(record).__name__} is no record"


def _why_no_update(room: RoomRecord, was: RoomRecord) -> str | None:
    for name, _ in _FIELDS[RoomRecord]:
        if name not in _CHANGEABLE and getattr(room, name) != getattr(was, name):
            return f"{name}: cannot be changed"
    return None


def _is_exact(value: object) -> bool:
    return isinstance(value, _NUMBER) and -EXACT_MAX <= value <= EXACT_MAX  # what is not a number is not, either


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
