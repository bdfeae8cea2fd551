"""The rules of chat as a pure machine: requests in, decisions out, committed changes applied back. No I/O, no clock."""

from __future__ import annotations

from chatkit.engine.decisions import (
    Attach,
    Changed,
    CloseSession,
    Decision,
    Detach,
    Effect,
    Joining,
    Proposal,
    Reading,
    Refusal,
    Reply,
    Tell,
    TellEveryone,
    TellRoom,
)
from chatkit.engine.engine import Engine, Moment

__all__ = [
    "Attach",
    "Changed",
    "CloseSession",
    "Decision",
    "Detach",
    "Effect",
    "Engine",
    "Joining",
    "Moment",
    "Proposal",
    "Reading",
    "Refusal",
    "Reply",
    "Tell",
    "TellEveryone",
    "TellRoom",
]
