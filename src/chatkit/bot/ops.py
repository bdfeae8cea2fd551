"""The marks a bot puts on what it says: the same for the same occasion, so that saying it again says it once.

An occasion is an event at its position, or a job at its time. The mark begins with ``bot-``, which is how bots know
one another: a bot does not hear other bots unless it asks to.
"""

from __future__ import annotations

from hashlib import blake2b

BOT = "bot-"
"""Every op of a bot begins with this."""


class Ops:
    """The ops of one occasion, in the order things are said; or by a key, whatever the order."""

    def __init__(self, *occasion: object) -> None:
        self._occasion = "\0".join(map(str, occasion))
        self._said = 0

    def next(self, key: str | None = None) -> str:
        """Return the next op; with a key, that key's."""
        if key is None:
            self._said += 1
            key = f"#{self._said}"
        digest = blake2b(f"{self._occasion}\0{key}".encode(), digest_size=20)
        return f"{BOT}{digest.hexdigest()}"


def is_bots(op: str | None) -> bool:
    """Whether a bot put this op on its message."""
    return op is not None and op.startswith(BOT)
