"""Which handlers an event is for: one command, or the listeners that fit."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any

from attrs import frozen

from chatkit.bot.command import Command, Handler, Tree
from chatkit.bot.incoming import Incoming
from chatkit.bot.pattern import Match
from chatkit.bot.scope import Listener, Scope
from chatkit.protocol.messages import ReceiveMessage

log = logging.getLogger("chatkit.bot")


@frozen(eq=False)
class Call:
    """A handler to run: of which scope, with the rest of a command's line, or how the filter matched. For a group
    named without a subcommand it is the help, and the line is the group's name."""

    scope: Scope
    handler: Handler
    line: str = ""
    match: Match | None = None


def calls_for(incoming: Incoming, scopes: Iterable[Scope], prefix: str, group_help: Command) -> list[Call]:
    """Return the handlers to run, in order. What was removed before it was heard is not heard."""
    if isinstance(incoming.event, ReceiveMessage) and incoming.event.deleted:
        return []
    found = _command(incoming, scopes, prefix, group_help)
    return [found] if found else list(_listeners(incoming, scopes))


def _command(incoming: Incoming, scopes: Iterable[Scope], prefix: str, group_help: Command) -> Call | None:
    text = incoming.text.lstrip()
    if incoming.message is None or not text.startswith(prefix):
        return None
    for scope in scopes:
        found = scope.tree.find(text[len(prefix) :])
        if found is None:
            continue
        entry, line = found
        if isinstance(entry, Tree):
            return Call(scope, group_help, " ".join(entry.path))
        return Call(scope, entry, line)
    return None


def _listeners(incoming: Incoming, scopes: Iterable[Scope]) -> Iterator[Call]:
    for scope in scopes:
        for listener in scope.listeners:
            if isinstance(incoming.event, listener.events) and (fits := _fits(listener, incoming)):
                yield Call(scope, listener, match=fits if isinstance(fits, Match) else None)
                if listener.last:
                    return


def _fits(listener: Listener, incoming: Incoming) -> Any:
    try:
        return listener.filter.test(incoming)
    except Exception as error:  # a predicate of the bot's own
        log.error("the filter %s of %s failed", listener.filter, listener.name, exc_info=error)
        return None
