"""The client: `connect` gives a session at a server; its `state` is what a frontend shows."""

from __future__ import annotations

from chatkit.client.backoff import Backoff
from chatkit.client.client import Client, connect
from chatkit.client.cursor import Cursor
from chatkit.client.message import Message, Pending
from chatkit.client.outbox import Outbox, Unsent
from chatkit.client.room import Room
from chatkit.client.state import ClientState, RoomState
from chatkit.client.status import Closed, Connected, Reconnecting, Status, StatusStream
from chatkit.client.streams import EntryStream, EventStream, Happening, MessageStream
from chatkit.protocol.positions import Position

__all__ = [
    "Backoff",
    "Client",
    "ClientState",
    "Closed",
    "Connected",
    "Cursor",
    "EntryStream",
    "EventStream",
    "Happening",
    "Message",
    "MessageStream",
    "Outbox",
    "Pending",
    "Position",
    "Reconnecting",
    "Room",
    "RoomState",
    "Status",
    "StatusStream",
    "Unsent",
    "connect",
]
