"""chatkit: real-time chat for Python, on Trio.

A server to embed (`open_server`), a client (`connect`), and everything chatkit raises. Names are loaded when first
used, so that ``import chatkit.protocol`` loads no more than it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chatkit.bot import Bot, Context
    from chatkit.client import ApiToken, AuditEntry, Backoff, BanInfo, Client, Cursor, Device, Message, Room, connect
    from chatkit.errors import (
        ChatError,
        ConnectFailed,
        Disconnected,
        ListenFailed,
        MissingExtra,
        PositionLost,
        ProtocolError,
        RequestFailed,
        StorageError,
        StorageUnavailable,
        StorageUnreadable,
        UsageError,
    )
    from chatkit.server import Extension, RequestContext, Server, ServerConfig, open_server, serve
    from chatkit.version import __version__

_HOMES = {
    "chatkit.bot": ("Bot", "Context"),
    "chatkit.client": (
        "ApiToken",
        "AuditEntry",
        "Backoff",
        "BanInfo",
        "Client",
        "Cursor",
        "Device",
        "Message",
        "Room",
        "connect",
    ),
    "chatkit.errors": (
        "ChatError",
        "ConnectFailed",
        "Disconnected",
        "ListenFailed",
        "MissingExtra",
        "PositionLost",
        "ProtocolError",
        "RequestFailed",
        "StorageError",
        "StorageUnavailable",
        "StorageUnreadable",
        "UsageError",
    ),
    "chatkit.server": ("Extension", "RequestContext", "Server", "ServerConfig", "open_server", "serve"),
    "chatkit.version": ("__version__",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "ApiToken",
    "AuditEntry",
    "Backoff",
    "BanInfo",
    "Bot",
    "ChatError",
    "Client",
    "ConnectFailed",
    "Context",
    "Cursor",
    "Device",
    "Disconnected",
    "Extension",
    "ListenFailed",
    "Message",
    "MissingExtra",
    "PositionLost",
    "ProtocolError",
    "RequestContext",
    "RequestFailed",
    "Room",
    "Server",
    "ServerConfig",
    "StorageError",
    "StorageUnavailable",
    "StorageUnreadable",
    "UsageError",
    "__version__",
    "connect",
    "open_server",
    "serve",
]


def __getattr__(name: str) -> Any:
    """Load a public name from where it lives (PEP 562)."""
    try:
        home = _HOME_OF[name]
    except KeyError:
        raise AttributeError(f"module 'chatkit' has no attribute {name!r}") from None
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
