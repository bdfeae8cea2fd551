"""Bytes in and out: listeners, connections, and the outlet that writes. `chatkit.transport.interface` has the laws."""

from chatkit.transport.interface import (
    Arrival,
    Connection,
    Encoding,
    Listener,
    TransportOptions,
    WireFormat,
)
from chatkit.transport.registry import open_connection, open_listener

__all__ = [
    "Arrival",
    "Connection",
    "Encoding",
    "Listener",
    "TransportOptions",
    "WireFormat",
    "open_connection",
    "open_listener",
]
