"""A refusal on its way out of a rule."""

from __future__ import annotations

from chatkit.engine.decisions import Refusal


class No(Exception):
    """Raised inside the rules, returned by the engine as a `Refusal`."""

    def __init__(self, code: str, message: str, *, retry_after: float | None = None, scope: str | None = None) -> None:
        super().__init__(message)
        self.refusal = Refusal(code, message, retry_after, scope)
