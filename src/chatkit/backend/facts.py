"""Directory changes as text, the way a database keeps them for the feed."""

from __future__ import annotations

from typing import Any

import orjson
from attrs import asdict

from chatkit.backend.records import CreateRoom, DeleteRoom, Fact, Member, PutMember, RemoveMember, RoomRecord, Trim
from chatkit.errors import StorageUnavailable

_KINDS: dict[type[Fact], str] = {
    CreateRoom: "create_room",
    DeleteRoom: "delete_room",
    PutMember: "put_member",
    RemoveMember: "remove_member",
    Trim: "trim",
}


def dump_fact(fact: Fact) -> str:
    """Return a directory change as JSON."""
    return orjson.dumps([_KINDS[type(fact)], asdict(fact)]).decode()


def load_fact(text: str) -> Fact:
    """Return the directory change a text stands for. Raises `StorageUnavailable` if it stands for none."""
    try:
        kind, data = orjson.loads(text)
        return _load(kind, data)
    except (ValueError, TypeError, KeyError) as error:
        raise StorageUnavailable(f"the store is damaged: a directory change that cannot be read ({error})") from error


def _load(kind: str, data: dict[str, Any]) -> Fact:
    match kind:
        case "create_room":
            owner = data["owner"]
            return CreateRoom(room=RoomRecord(**data["room"]), owner=owner and Member(**owner))
        case "delete_room":
            return DeleteRoom(**data)
        case "put_member":
            return PutMember(member=Member(**data["member"]))
        case "remove_member":
            return RemoveMember(**data)
        case "trim":
            return Trim(**data)
        case _:
            raise ValueError(kind)
