"""The rules of chat as a pure machine: requests in, decisions out, committed changes applied back. No I/O, no clock."""

from __future__ import annotations

from chatkit.engine.decisions import (
    Attach,
    Changed,
    CloseSession,
    Decision,
    Detach,
    Effect,
    Hash,
    Inspect,
    Joining,
    Proposal,
    ReadAudit,
    Reading,
    Refusal,
    Reply,
    Search,
    Tell,
    TellEveryone,
    TellRoom,
    Verify,
)
from chatkit.engine.engine import Engine
from chatkit.engine.limits import EngineLimits
from chatkit.engine.login import Identity
from chatkit.engine.state import Moment

__all__ = [
    "Attach",
    "Changed",
    "CloseSession",
    "Decision",
    "Detach",
    "Effect",
    "Engine",
    "EngineLimits",
    "Hash",
    "Identity",
    "Inspect",
    "Joining",
    "Moment",
    "Proposal",
    "ReadAudit",
    "Reading",
    "Refusal",
    "Reply",
    "Search",
    "Tell",
    "TellEveryone",
    "TellRoom",
    "Verify",
]
