"""Fixtures of `pages`."""

from __future__ import annotations

from pages import browser, come, server, visits

__all__ = ["browser", "come", "server", "visits"]
