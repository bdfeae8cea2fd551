"""What one HTTP request may take on the WebSocket's port. Times are in seconds, sizes in bytes."""

from __future__ import annotations

from attrs import frozen


@frozen(kw_only=True)
class HttpLimits:
    """Deadlines and sizes of HTTP requests."""

    head_timeout: float = 10.0
    """A request's head may take this long, and so may the wait for another request on the same connection."""
    body_timeout: float = 30.0
    """A request's whole body may take this long."""
    write_timeout: float = 30.0
    """A peer that takes nothing of a write for this long is cut off."""
    body_bytes: int = 65_536
    """A longer body is answered by 413."""
    linger: float = 1.0
    """How long a peer may take to read the last bytes before its connection is closed."""
