"""What a bot's own code raises, kept to what a supervisor may catch.

Law: an exception that is no `Exception`, and no sign to end the program or to cancel, comes out as a `RuntimeError`.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

import trio

T = TypeVar("T")
ENDS = (trio.Cancelled, KeyboardInterrupt, SystemExit, GeneratorExit)
"""What passes through: it does not belong to the handler."""


async def contained(call: Awaitable[T]) -> T:
    """Await a call of a handler, a hook or a job. Raises what it raises, but nothing odd."""
    try:
        return await call
    except (Exception, *ENDS):
        raise
    except BaseExceptionGroup as group:
        if group.subgroup(_is_odd) is None:
            raise
        ends = group.subgroup(ENDS)
        if ends is not None:
            raise ends from group
        raise RuntimeError(f"raised {group!r}, in which not everything is an Exception") from group
    except BaseException as error:
        raise RuntimeError(f"raised {error!r}, which is no Exception") from error


def _is_odd(error: BaseException) -> bool:
    return not isinstance(error, (Exception, BaseExceptionGroup, *ENDS))
