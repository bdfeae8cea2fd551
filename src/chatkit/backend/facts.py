"""Directory changes and records as text, the way a database keeps them."""

from __future__ import annotations

from typing import Any, assert_never

import orjson
from attrs import asdict

from chatkit.backend.records import (
    RECORDS,
    UNCHECKED,
    CreateRoom,
    DeleteRoom,
    Fact,
    Member,
    Put,
    PutMember,
    Record,
    Redact,
    Remove,
    RemoveMember,
    RoomRecord,
    Trim,
    UpdateRoom,
)
from chatkit.errors import StorageUnavailable

_RECORDS: dict[str, type[Record]] = {kind.KIND: kind for kind in RECORDS}


def dump_record(record: Record) -> str:
    """Return a record as JSON."""
    return orjson.dumps(asdict(record)).decode()


def load_record(kind: str, text: str) -> Record:
    """Return the record that a kind and a text stand for. Raises `StorageUnavailable` if they stand for none."""
    try:
        return _RECORDS[kind](**orjson.loads(text))
    except (ValueError, TypeError, KeyError) as error:
        raise StorageUnavailable(f"the store is damaged: a record that cannot be read ({error})") from error


def dump_fact(fact: Fact) -> str:
    """Return a directory change as JSON."""
    return orjson.dumps(_dump(fact)).decode()


def load_fact(text: str) -> Fact:
    """Return the directory change a text stands for. Raises `StorageUnavailable` if it stands for none."""
    try:
        name, data = orjson.loads(text)
        return _load(name, data)
    except (ValueError, TypeError, KeyError) as error:
        raise StorageUnavailable(f"the store is damaged: a directory change that cannot be read ({error})") from error


def _dump(fact: Fact) -> tuple[str, dict[str, Any]]:
    match fact:
        case CreateRoom():
            return "create_room", asdict(fact)
        case DeleteRoom():
            return "delete_room", asdict(fact)
        case UpdateRoom():
            return "update_room", asdict(fact)
        case PutMember(member=member, was=was):
            checked = {} if was is UNCHECKED else {"was": was and asdict(was)}
            return "put_member", {"member": asdict(member), **checked}
        case RemoveMember():
            return "remove_member", asdict(fact)
        case Trim():
            return "trim", asdict(fact)
        case Redact():
            return "redact", asdict(fact)
        case Put(record=record):
            return "put", {"kind": record.KIND, **asdict(fact)}
        case Remove(record=record):
            return "remove", {"kind": record.KIND, **asdict(fact)}
        case _:
            assert_never(fact)


def _load(name: str, data: dict[str, Any]) -> Fact:
    match name:
        case "create_room":
            owner = data["owner"]
            return CreateRoom(room=RoomRecord(**data["room"]), owner=owner and Member(**owner))
        case "delete_room":
            return DeleteRoom(**data)
        case "update_room":
            return UpdateRoom(room=RoomRecord(**data["room"]), was=RoomRecord(**data["was"]))
        case "put_member":
            was = data.get("was", UNCHECKED)
            return PutMember(member=Member(**data["member"]), was=Member(**was) if isinstance(was, dict) else was)
        case "remove_member":
            return RemoveMember(**data)
        case "trim":
            return Trim(**data)
        case "redact":
            return Redact(**data)
        case "put":
            kind, was = _RECORDS[data["kind"]], data["was"]
            return Put(record=kind(**data["record"]), was=was and kind(**was))
        case "remove":
            return Remove(record=_RECORDS[data["kind"]](**data["record"]))
        case _:
            raise ValueError(name)
