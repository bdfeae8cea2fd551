"""Times of the wire, to the millisecond and to the borders."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatkit.errors import UsageError
from chatkit.protocol import times
from chatkit.testing import strategies as draw


@given(milliseconds=draw.timestamps())
def test_round_trip(milliseconds: int) -> None:
    assert times.from_wire(times.to_wire(milliseconds)) == milliseconds
    assert len(times.to_wire(milliseconds)) == len("2026-11-20T10:30:00.123Z")


@given(one=draw.timestamps(), other=draw.timestamps())
def test_text_sorts_as_time_does(one: int, other: int) -> None:
    assert (times.to_wire(one) < times.to_wire(other)) == (one < other)


@given(moment=st.datetimes(datetime(1971, 1, 1), datetime(9998, 12, 31)), minutes=st.integers(-1439, 1439))
def test_any_offset_names_the_same_instant(moment: datetime, minutes: int) -> None:
    moment = moment.replace(microsecond=moment.microsecond // 1000 * 1000, tzinfo=UTC)
    elsewhere = moment.astimezone(timezone(timedelta(minutes=minutes)))
    assert times.to_datetime(times.from_wire(elsewhere.isoformat())) == moment


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t00:00:00.0z", 0),
        ("1970-01-01 00:00:00.001Z", 1),
        ("1970-01-01T00:00:00.000999999Z", 0),
        ("1970-01-01T00:00:00.1Z", 100),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T23:00:00-01:00", 0),
        ("2016-12-31T23:59:60Z", 1_483_228_799_000),
        ("2024-02-29T00:00:00-00:00", 1_709_164_800_000),
        ("9999-12-31T23:59:59.999Z", times.LAST),
        ("9999-12-31T23:59:60.999Z", times.LAST),
    ],
)
def test_what_is_a_time(text: str, milliseconds: int) -> None:
    assert times.from_wire(text) == milliseconds


@pytest.mark.parametrize(
    "text",
    [
        "", "now", "2026-11-20", "10:30:00Z", "2026-11-20T10:30Z", "2026-11-20T10:30:00", "2026-11-20T10:30:00.Z",
        "2026-11-20T10:30:00.1234567890Z", "2026-11-20T10:30:00,1Z", "2026-11-20T10:30:00+0100", "20261120T103000Z",
        "2026-13-20T10:30:00Z", "2026-00-20T10:30:00Z", "2026-02-30T10:30:00Z", "2025-02-29T10:30:00Z",
        "2026-11-20T24:00:00Z", "2026-11-20T10:60:00Z", "2026-11-20T10:30:61Z", "2026-11-20T10:30:99Z",
        "2026-11-20T10:30:00+24:00", "2026-11-20T10:30:00+99:99", "2026-11-20T10:30:00+01:60",
        "1970-01-01T00:00:00+00:01", "1969-12-31T23:59:59.999Z", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59.999-00:01", "10000-01-01T00:00:00Z", "-2026-11-20T10:30:00Z",
        "2026-11-20T10:30:00Z\n", " 2026-11-20T10:30:00Z", "٢٠٢٦-11-20T10:30:00Z", "2026-11-20T10:30:00\0Z",
    ],
)  # fmt: skip
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|must be in|out of range|is out of"):
        times.from_wire(text)


@pytest.mark.parametrize("milliseconds", [-1, -(10**15), times.LAST + 1, 2**63, 10**30])
def test_what_the_wire_cannot_say(milliseconds: int) -> None:
    with pytest.raises(UsageError, match="milliseconds since 1970"):
        times.to_wire(milliseconds)
