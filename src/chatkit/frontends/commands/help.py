"""``/help``: what one may do here, by what it is about; then what others may."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from chatkit.frontends.commands.command import Command, May
from chatkit.frontends.commands.words import SERVER


def help_lines(groups: Mapping[str, Iterable[Command]], may: frozenset[May]) -> Sequence[str]:
    """Return the help for somebody who may do these things."""
    known = [command for group in groups.values() for command in group]
    width = max(len(command.usage) for command in known if command.may in may)
    lines: list[str] = []
    for title, group in groups.items():
        mine = [f"  {command.usage:<{width}}  {command.meaning}" for command in group if command.may in may]
        lines += [title, *mine] if mine else []
    lines.append(f"  {'//text':<{width}}  say something that begins with a slash")
    if May.ADMIN in may:
        lines.append(f"Behind /kick, /ban, /unban, /bans and /audit, {SERVER} means the whole server,")
        lines.append("where an address can be banned as well as a name.")
    for one in May:
        others = [f"/{command.name}" for command in known if command.may is one and one not in may]
        if others:
            lines.append(f"For {one.whose}: {' '.join(others)}")
    return lines
