"""The client: `connect` gives a session at a server; its `state` is what a frontend shows."""

from __future__ import annotations

from chatkit.client.client import Client, connect
from chatkit.client.message import Message, Pending
from chatkit.client.room import Room
from chatkit.client.state import ClientState, RoomState
from chatkit.client.streams import EntryStream, EventStream, Happening, MessageStream

__all__ = [
    "Client",
    "ClientState",
    "EntryStream",
    "EventStream",
    "Happening",
    "Message",
    "MessageStream",
    "Pending",
    "Room",
    "RoomState",
    "connect",
]
