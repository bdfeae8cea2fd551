"""The server's log: lines know their connection, and floods are thinned."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from wires import site

from chatkit.frontends.logs import JsonFormatter, PeopleFormatter, start_logging
from chatkit.server import Extension, RequestContext, ServerConfig
from chatkit.server.logbook import MOST_NOTES, MOST_WARNINGS, Logbook, Thinner, bind, say_what_was_held


@pytest.fixture(autouse=True)
def _nothing_held_before() -> None:
    say_what_was_held(everything=True)


# ── thinning ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_of_one_kind_from_one_address_a_few_a_second_are_written() -> None:
    thinner = Thinner()

    def written(kind: str, address: str | None, level: int, now: float) -> int:
        return sum(thinner.admit(kind, "event", address, level, now) for _ in range(100))

    assert written("a", "192.0.2.1", logging.WARNING, 0.0) == MOST_WARNINGS
    assert written("a", "192.0.2.1", logging.WARNING, 0.9) == 0
    assert written("b", "192.0.2.1", logging.WARNING, 0.9) == MOST_WARNINGS  # another kind
    assert written("a", "192.0.2.2", logging.WARNING, 0.9) == MOST_WARNINGS  # another address
    assert written("c", "192.0.2.1", logging.INFO, 0.9) == MOST_NOTES
    held = {(address, flood.event): flood.held for address, flood in thinner.summaries(1.5)}
    assert held == {("192.0.2.1", "event"): 195}
    assert written("a", "192.0.2.1", logging.WARNING, 1.5) == MOST_WARNINGS
    assert len(list(thinner.summaries(1.6, everything=True))) == 4
    assert not list(thinner.summaries(100.0, everything=True))


def test_a_thousand_addresses_are_no_way_around_it() -> None:
    thinner = Thinner()
    addresses = [f"198.51.{high}.{low}" for high in range(10) for low in range(100)]
    assert sum(thinner.admit("a", "event", one, logging.WARNING, 0.0) for one in addresses) == 10 * MOST_WARNINGS
    (summary,) = thinner.summaries(2.0)
    assert summary[0] is None
    assert summary[1].held == 1000 - 10 * MOST_WARNINGS
    assert not thinner._floods


async def test_a_flood_of_garbage_leaves_a_few_lines_and_a_count(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "chatkit")
    async with site(config=ServerConfig(rate_limits=False, garbage=1000)) as here:
        wire = await here.user("ann")
        for number in range(200):
            await wire.send_raw(b'{"action": %d}' % number)
        for _ in range(200):
            await wire.reply()
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    said = [record for record in warnings if not hasattr(record, "count")]
    counts = [record for record in warnings if hasattr(record, "count")]
    assert MOST_WARNINGS <= len(said) <= 3 * MOST_WARNINGS
    assert len(said) + sum(record.count for record in counts) == 200  # type: ignore[attr-defined]
    assert "more like it from 127.0.0.1: protocol_error" in counts[-1].getMessage()


# ── fields ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_every_line_of_a_connection_carries_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "chatkit")
    extension = Extension()

    @extension.before()
    async def fails(context: RequestContext, request: object) -> object:
        logging.getLogger("chatkit.anything").info("a line of the program's own")
        Logbook("chatkit.mine").info("a line that knows", event="mine")
        if context.user is not None:
            raise ValueError("no")
        return request

    async with site(extensions=[extension]) as here:
        wire = await here.user("ann")
        assert await wire.code("list_rooms") == "internal_error"
        (connection,) = here.server.connections()
        number, address = connection.id, connection.address
        await wire.aclose()
        while here.server.connections():
            await trio.lowlevel.checkpoint()
    lines = [record for record in caplog.records if getattr(record, "connection", None) == number]
    assert {record.address for record in lines} == {address}  # type: ignore[attr-defined]
    events = [record.event for record in lines if hasattr(record, "event")]
    assert events[:2] == ["connected", "request"]
    assert {"login", "mine", "extension_failed", "disconnected"} <= set(events)
    failed = next(record for record in lines if getattr(record, "event", "") == "extension_failed")
    assert failed.user == "ann"  # type: ignore[attr-defined]


async def test_what_is_bound_stays_in_its_task() -> None:
    seen: dict[str, object] = {}

    async def one(name: str) -> None:
        bind(connection=name)
        await trio.lowlevel.checkpoint()
        _, options = Logbook("chatkit.mine").process("", {})
        seen[name] = options["extra"]["connection"]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one, "a")
        nursery.start_soon(one, "b")
    assert seen == {"a": "a", "b": "b"}
    assert "connection" not in Logbook("chatkit.mine").process("", {})[1]["extra"]


# ── as it is written ─────────────────────────────────────────────────────────────────────────────────────────────────


def record(message: str, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("chatkit.server", logging.WARNING, __file__, 1, message, (), None)
    vars(made).update(fields)
    return made


def test_a_line_for_people_names_its_connection_once() -> None:
    plain = PeopleFormatter(colour=False)
    assert "warning  [3 192.0.2.1:5] it failed  chatkit.server" in plain.format(
        record("it failed", connection=3, address="192.0.2.1:5")
    )
    line = plain.format(record("[3 192.0.2.1:5 ann] it failed", connection=3, address="192.0.2.1:5"))
    assert line.count("192.0.2.1") == 1
    assert "\x1b" not in plain.format(record("\x1b[31mred\x1b[0m"))
    assert "\x1b[33m" in PeopleFormatter(colour=True).format(record("a warning"))


def test_a_line_for_programs_has_its_fields_apart() -> None:
    line = json.loads(JsonFormatter().format(record("x", connection=3, address="192.0.2.1:5", event="failed")))
    assert (line["connection"], line["address"], line["event"], line["level"]) == (
        3,
        "192.0.2.1:5",
        "failed",
        "warning",
    )
    assert "count" not in line
    assert "user" not in line


@pytest.fixture
def _restored() -> Iterator[None]:
    logger = logging.getLogger("chatkit")
    before = (logger.level, logger.handlers, logger.propagate)
    yield
    for handler in logger.handlers:
        handler.close()
    logger.level, logger.handlers, logger.propagate = before


@pytest.mark.usefixtures("_restored")
def test_a_file_that_is_moved_away_is_begun_anew(tmp_path: Path) -> None:
    start_logging("info", tmp_path / "log")
    logging.getLogger("chatkit").info("before")
    (tmp_path / "log").rename(tmp_path / "log.1")
    logging.getLogger("chatkit").info("behind")
    assert "before" in (tmp_path / "log.1").read_text()
    assert "behind" in (tmp_path / "log").read_text()
