"""Opening a backend by the scheme of its URL."""

from __future__ import annotations

from chatkit.backend.interface import Backend
from chatkit.registry import find, scheme_of


async def open_backend(url: str) -> Backend:
    """Open the backend a URL names: ``memory://``, ``sqlite:///relative/path.db``, ``sqlite:////absolute/path.db``,
    or a scheme some installed package registers in ``chatkit.backends``.

    Raises `UsageError` for an unknown scheme or a malformed URL, `StorageUnreadable` when what is there cannot be
    opened. The caller closes it with ``aclose()``.
    """
    opener = find("chatkit.backends", scheme_of(url, "store"), "store scheme")
    backend: Backend = await opener(url)
    return backend
