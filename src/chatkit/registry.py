"""Finding pluggable parts by name, ours and anybody's alike: entry-point groups."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any
from urllib.parse import urlsplit

from chatkit.errors import UsageError


@cache
def installed(group: str) -> Mapping[str, EntryPoint]:
    """Return what is registered in an entry-point group, by name."""
    return {entry.name: entry for entry in entry_points(group=group)}


def find(group: str, name: str, what: str) -> Any:
    """Load the object registered as ``name``. Raises `UsageError` naming what there is, nearest first."""
    entries = installed(group)
    if name not in entries:
        near = difflib.get_close_matches(name, entries, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; there is {', '.join(sorted(entries)) or 'none'}"
        raise UsageError(f"no {what} {name!r}{hint}")
    return entries[name].load()


def scheme_of(url: str, what: str) -> str:
    """Return the URL's scheme. Raises `UsageError` if it has none."""
    try:
        scheme = urlsplit(url).scheme
    except ValueError as error:
        raise UsageError(f"{what} {url!r} is not a URL: {error}") from error
    if not scheme or "://" not in url:
        raise UsageError(f"{what} {url!r} is not a URL: it starts with a scheme, such as ws://127.0.0.1:8765")
    return scheme
