"""All the checks, by the law they hold a backend to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import trio

from chatkit.backend.interface import Backend
from chatkit.errors import ChatError
from chatkit.testing.backend.bus import the_bus_reaches_all
from chatkit.testing.backend.cancelling import cancelled_commits_are_whole, cancelled_readers_leave_nothing
from chatkit.testing.backend.directory import (
    a_deleted_room_is_gone,
    memberships_are_compared,
    rooms_are_updated,
    the_directory_is_kept,
)
from chatkit.testing.backend.feeds import (
    a_slow_feed_misses_nothing,
    feeds_carry_everything_once,
    feeds_join_without_a_gap,
    what_is_at_hand_is_not_gone_through_again,
)
from chatkit.testing.backend.lifetime import closing_ends_feeds, what_is_kept_survives
from chatkit.testing.backend.records import (
    bans_go_with_their_room,
    keys_have_one_holder,
    records_are_compared,
    records_are_kept,
)
from chatkit.testing.backend.redaction import redacting_empties_bodies
from chatkit.testing.backend.refusals import a_refusal_harms_nobody, a_repeat_is_kept_once, changes_see_those_before
from chatkit.testing.backend.rows import (
    commits_keep_their_order,
    fields_are_kept,
    pages_are_consecutive,
    seq_is_dense,
    trimming_lets_go,
)
from chatkit.testing.backend.together import together_is_all_or_nothing, together_the_later_see_the_earlier

PATIENCE = 20.0
"""Seconds after which something that should have come is missing."""

Check = Callable[[Backend], Awaitable[None]]


async def check_backend(open_: Callable[[], Awaitable[Backend]]) -> None:
    """Run every check over a backend, each over an opening of its own.

    ``open_`` opens it. For a durable backend every call opens the same store; for another it may be a new one each
    time. The store may hold anything before and holds more afterwards (some MiB); nobody else should be slowing it
    down. Nothing is left open.

    Raises AssertionError that begins with the law that was broken. Needs the real clock, not a jumping one, if the
    backend works in threads; takes a few seconds. Cancelling it closes the backend.
    """
    for law, check in CHECKS:
        backend = await open_()
        try:
            await _hold_to(law, partial(check, backend))
        finally:
            await backend.aclose()
    await _hold_to("law 1, what is kept is there when the store is opened again", partial(what_is_kept_survives, open_))
    await _hold_to("closing ends the feeds and is safe to repeat", partial(closing_ends_feeds, open_))


async def _hold_to(law: str, check: Callable[[], Awaitable[None]]) -> None:
    try:
        with trio.fail_after(PATIENCE):
            await check()
    except AssertionError as error:
        raise AssertionError(f"{law}: {error}") from error
    except trio.TooSlowError as error:
        raise AssertionError(f"{law}: nothing happened for {PATIENCE} seconds") from error
    except ChatError as error:
        raise AssertionError(f"{law}: unexpected {type(error).__name__}: {error}") from error


CHECKS: tuple[tuple[str, Check], ...] = (
    ("law 1, what is kept comes back as it was", fields_are_kept),
    ("law 2, seq is dense", seq_is_dense),
    ("law 2, commits keep the order of the calls", commits_keep_their_order),
    ("law 3, a refusal harms nobody", a_refusal_harms_nobody),
    ("law 3, a repeat is kept once", a_repeat_is_kept_once),
    ("law 3, changes see those before", changes_see_those_before),
    ("reading, pages are consecutive", pages_are_consecutive),
    ("the directory is kept", the_directory_is_kept),
    ("a deleted room is gone", a_deleted_room_is_gone),
    ("law 4, feeds carry everything once", feeds_carry_everything_once),
    ("law 4, feeds join without a gap", feeds_join_without_a_gap),
    ("law 4, a slow feed misses nothing", a_slow_feed_misses_nothing),
    ("law 4, what is at hand is not gone through again", what_is_at_hand_is_not_gone_through_again),
    ("law 5, cancelled commits are whole", cancelled_commits_are_whole),
    ("law 5, cancelled readers leave nothing", cancelled_readers_leave_nothing),
    ("the bus reaches all", the_bus_reaches_all),
    ("the directory, rooms are changed by those who know them", rooms_are_updated),
    ("the directory, memberships are compared", memberships_are_compared),
    ("records are kept", records_are_kept),
    ("records are compared", records_are_compared),
    ("records, a key has one holder", keys_have_one_holder),
    ("records, bans go with their room", bans_go_with_their_room),
    ("law 3, together is all or nothing", together_is_all_or_nothing),
    ("law 3, together the later see the earlier", together_the_later_see_the_earlier),
    ("law 4, redacting empties a body for good", redacting_empties_bodies),
    ("law 2, trimming lets go of rows, never of seqs", trimming_lets_go),
)
"""The checks by the law they hold a backend to, in the order they run."""
