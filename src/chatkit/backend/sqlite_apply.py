"""What each directory change does to the tables. Its preconditions have been looked at before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, assert_never

from chatkit.backend.facts import dump_record
from chatkit.backend.records import (
    Ban,
    CreateRoom,
    DeleteRoom,
    Fact,
    Member,
    Put,
    PutMember,
    Redact,
    Remove,
    RemoveMember,
    Trim,
    UpdateRoom,
)

Execute: TypeAlias = Callable[..., Any]
"""Runs a statement with values."""


def apply_fact(execute: Execute, fact: Fact) -> None:
    """Change the tables as a directory change says."""
    match fact:
        case CreateRoom(room=room, owner=owner):
            execute(
                "INSERT INTO rooms (room_id, epoch, name, key, topic, private, permanent, created_by, created_at, "
                "read_only, slow, closed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                room.room_id,
                room.epoch,
                room.name,
                room.key,
                room.topic,
                room.private,
                room.permanent,
                room.created_by,
                room.created_at,
                room.read_only,
                room.slow,
                room.closed,
            )
            if owner is not None:
                _put_member(execute, owner)
        case DeleteRoom(room_id=room_id):
            for table in ("log", "members", "rooms"):
                execute(f"DELETE FROM {table} WHERE room_id = ?", room_id)
            execute("DELETE FROM records WHERE kind = ? AND json_extract(body, '$.room_id') = ?", Ban.KIND, room_id)
        case UpdateRoom(room=room):
            execute(
                "UPDATE rooms SET name = ?, key = ?, topic = ?, private = ?, read_only = ?, slow = ?, closed = ? "
                "WHERE room_id = ?",
                room.name,
                room.key,
                room.topic,
                room.private,
                room.read_only,
                room.slow,
                room.closed,
                room.room_id,
            )
        case PutMember(member=member):
            _put_member(execute, member)
        case RemoveMember(room_id=room_id, principal=principal):
            execute("DELETE FROM members WHERE room_id = ? AND principal = ?", room_id, principal)
        case Trim(room_id=room_id, first=first):
            execute("DELETE FROM log WHERE room_id = ? AND seq < ?", room_id, first)
            execute("UPDATE rooms SET first = ? WHERE room_id = ?", first, room_id)
        case Redact(room_id=room_id, seq=seq):
            execute("UPDATE log SET body = NULL WHERE room_id = ? AND seq = ?", room_id, seq)
        case Put(record=record):
            execute(
                "INSERT INTO records (kind, id, key, body) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (kind, id) DO UPDATE SET key = excluded.key, body = excluded.body",
                record.KIND,
                record.id,
                record.unique,
                dump_record(record),
            )
        case Remove(record=record):
            execute("DELETE FROM records WHERE kind = ? AND id = ?", record.KIND, record.id)
        case _:
            assert_never(fact)


def _put_member(execute: Execute, member: Member) -> None:
    execute("INSERT OR REPLACE INTO members VALUES (?, ?, ?)", member.room_id, member.principal, member.role)
