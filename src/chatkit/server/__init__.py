"""The server: `open_server` runs one inside your program, `Extension` adds actions of your own to it."""

from __future__ import annotations

from chatkit.server.config import ServerConfig
from chatkit.server.extension import Extension, RequestContext
from chatkit.server.server import ConnectionInfo, Server, open_server, serve

__all__ = ["ConnectionInfo", "Extension", "RequestContext", "Server", "ServerConfig", "open_server", "serve"]
