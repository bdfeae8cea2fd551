"""Whether a change can be kept by any backend: types, Unicode, the range of integers.

The codec has refused such things long before; this is what keeps one bad change of an embedding program from failing
everybody else's in the same commit.
"""

from __future__ import annotations

from attrs import fields

from chatkit.backend.records import (
    Append,
    Change,
    CreateRoom,
    DeleteRoom,
    Member,
    PutMember,
    RemoveMember,
    RoomRecord,
    Trim,
)

INTEGER_MAX = 2**63 - 1
INTEGER_MIN = -(2**63)

_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "str | None": (str, type(None)),
    "int": (int,),
    "int | None": (int, type(None)),
    "bool": (bool,),
    "Body": (str, bytes, type(None)),
}
_FIELDS = {
    kind: tuple((field.name, _TYPES[str(field.type)]) for field in fields(kind))
    for kind in (Append, DeleteRoom, RemoveMember, Trim, Member, RoomRecord)
}


def why_not(change: Change) -> str | None:
    """Return a sentence that says why a change cannot be kept, or None if it can."""
    match change:
        case CreateRoom(room=room, owner=None):
            return _why_not(room)
        case CreateRoom(room=room, owner=Member() as owner):
            if owner.room_id != room.room_id:
                return "owner: a member of another room"
            return _why_not(room) or _why_not(owner)
        case PutMember(member=member):
            return _why_not(member)
        case Append() | DeleteRoom() | RemoveMember() | Trim():
            return _why_not(change)
        case _:
            return f"{type(change).__name__} is no change"


def _why_not(record: Append | DeleteRoom | RemoveMember | Trim | Member | RoomRecord) -> str | None:
    for name, types in _FIELDS.get(type(record), ()):
        value = getattr(record, name)
        if not isinstance(value, types):
            return f"{name}: expected {' or '.join(kind.__name__ for kind in types)}"
        if isinstance(value, str):
            if not (value.isascii() or _is_unicode(value)):
                return f"{name}: holds half of a surrogate pair"
        elif isinstance(value, int) and not INTEGER_MIN <= value <= INTEGER_MAX:
            return f"{name}: the number is too large"
    return None


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
