"""The audit log: what was done to keep order, by whom, to whom, when and why. A log like any room's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from chatkit.backend.records import Append, Fact, Row, Together
from chatkit.engine.decisions import Decision, ReadAudit
from chatkit.engine.places import place
from chatkit.engine.state import Moment, Room, SessionState
from chatkit.engine.world import World, known
from chatkit.protocol.moderation import Audit, AuditEntry

AUDITED = "audit"
"""The kind of the audit log's rows."""


def audit(world: World, state: SessionState, request: Audit, now: Moment) -> Decision:
    """Read what was done to keep order."""
    room = place(world, state, request.room, "see audit", now)
    return ReadAudit(room_id=room.id if room else None, before=request.before, limit=request.limit or 50)


def audited(
    world: World,
    state: SessionState,
    now: Moment,
    act: str,
    room: Room | None,
    *changes: Append | Fact,
    whom: str = "",
    principal: str = "",
    reason: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> Together:
    """Return the changes of an act together with the row that keeps it. ``whom`` is a name, ``principal`` the id of the
    person."""
    if world.audit is None:
        raise AssertionError("a world without an audit log")
    user = known(state.user)
    row = audit_row(
        world.audit.room_id,
        author=user.author,
        name=user.name,
        time=now.time,
        act=act,
        room=room,
        whom=whom,
        principal=principal,
        reason=reason or "",
        details=details or {},
    )
    return Together((*changes, row))


def audit_row(
    room_id: str,
    *,
    author: str,
    name: str,
    time: int,
    act: str,
    room: Room | None = None,
    whom: str = "",
    principal: str = "",
    reason: str = "",
    details: Mapping[str, Any] | None = None,
) -> Append:
    """Return the row that keeps one act in the audit log ``room_id``."""
    body = {
        "act": act,
        "room": room and room.name,
        "room_id": room and room.id,
        "whom": whom,
        "principal": principal,
        "reason": reason,
        "details": dict(details or {}),
    }
    return Append(room_id=room_id, kind=AUDITED, author=author, name=name, time=time, body=orjson.dumps(body).decode())


def facts_of(row: Row) -> dict[str, Any]:
    """Return what an audit row says; nothing if it says nothing that can be read."""
    try:
        said = orjson.loads(row.body or b"{}")
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def entry_of(row: Row) -> AuditEntry:
    """Return an audit row as moderators see it."""
    said = facts_of(row)
    return AuditEntry(
        seq=row.seq,
        at=row.time,
        by=row.name,
        act=str(said.get("act", "")),
        whom=str(said.get("whom", "")),
        room=said.get("room"),
        reason=str(said.get("reason", "")),
        details=said.get("details") or {},
    )
