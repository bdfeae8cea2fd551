"""Where rooms and their logs are kept: one URL, one backend.

`open_backend` finds the scheme's opener in the entry-point group ``chatkit.backends``; an opener is an async function
that takes the URL and returns a `Backend`.
"""

from __future__ import annotations

from chatkit.backend.interface import Backend, Bus, Directory, Log
from chatkit.backend.registry import open_backend

__all__ = ["Backend", "Bus", "Directory", "Log", "open_backend"]
