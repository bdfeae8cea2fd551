"""The table of roles, drawn from the object that the rules look up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from protocol_tables import Table, table
from sphinx.application import Sphinx

from chatkit.engine import permissions
from chatkit.engine.permissions import PERMISSIONS, RoomMode, Standing


class Standings(Table):
    """What somebody can be in a room."""

    sources: ClassVar[tuple[Any, ...]] = (permissions,)

    def lines(self) -> Iterator[str]:
        yield from table(("standing", "who that is"), ((word(one), one.meaning) for one in Standing))


class Permissions(Table):
    """Who may do what, in each state of a room."""

    sources: ClassVar[tuple[Any, ...]] = (permissions,)

    def lines(self) -> Iterator[str]:
        rows = ((act, *(word(by_mode[mode]) for mode in RoomMode)) for act, by_mode in PERMISSIONS.items())
        yield from table(("what", *(f"{mode.value} room" for mode in RoomMode)), rows)


def word(standing: Standing) -> str:
    """Return a standing as people write it."""
    return standing.name.lower()


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("role-standings", Standings)
    app.add_directive("role-permissions", Permissions)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
