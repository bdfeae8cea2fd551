"""The client: `connect` gives a session at a server; its `state` is what a frontend shows."""

from __future__ import annotations

from chatkit.client.backoff import Backoff
from chatkit.client.client import Client
from chatkit.client.connecting import connect
from chatkit.client.cursor import Cursor
from chatkit.client.devices import Device
from chatkit.client.message import Message, Pending
from chatkit.client.order import AuditEntry, AuditStream, BanInfo
from chatkit.client.outbox import Outbox, Unsent
from chatkit.client.room import Room
from chatkit.client.state import ClientState, RoomState
from chatkit.client.status import Closed, Connected, Reconnecting, Status, StatusStream
from chatkit.client.streams import EntryStream, EventStream, Happening, MessageStream
from chatkit.protocol.accounts import ApiToken
from chatkit.protocol.moderation import Muted, RemovedFromRoom
from chatkit.protocol.positions import Position

__all__ = [
    "ApiToken",
    "AuditEntry",
    "AuditStream",
    "Backoff",
    "BanInfo",
    "Client",
    "ClientState",
    "Closed",
    "Connected",
    "Cursor",
    "Device",
    "EntryStream",
    "EventStream",
    "Happening",
    "Message",
    "MessageStream",
    "Muted",
    "Outbox",
    "Pending",
    "Position",
    "Reconnecting",
    "RemovedFromRoom",
    "Room",
    "RoomState",
    "Status",
    "StatusStream",
    "Unsent",
    "connect",
]
