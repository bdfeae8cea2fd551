"""Guessing passwords: so many tries and no more, and never at the owner's expense."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatkit.errors import UsageError
from chatkit.protocol.rates import Rate
from chatkit.server.throttle import LoginRates, Throttle

HOME, ELSEWHERE = "192.0.2.1", "198.51.100.7"
MINUTE = 60.0
START = 1000.0


def tries(throttle: Throttle, wanted: Sequence[tuple[str | None, str, float]]) -> list[float]:
    """Try in turn; return when a password was compared."""
    return [now for address, key, now in wanted if throttle.check(address, key, now) is None]


@pytest.mark.parametrize(
    "whence",
    [
        lambda number: HOME,
        lambda number: None,
        lambda number: f"10.0.{number // 256}.{number % 256}",
        lambda number: f"2001:db8:{number:x}::1",
        lambda number: f"2001:db8::{number:x}",
        lambda number: f"::ffff:10.0.{number // 256}.{number % 256}",
    ],
    ids=["one address", "in memory", "many addresses", "many networks", "one network", "mapped"],
)
def test_a_thousand_guesses_at_one_name_are_ten_at_most_in_a_minute(whence: Callable[[int], str | None]) -> None:
    wanted = [(whence(number), "ann", START + number * MINUTE / 1000) for number in range(1000)]
    assert 1 <= len(tries(Throttle(), wanted)) <= 10


def test_a_thousand_names_from_one_address_are_ten_at_most_in_a_minute() -> None:
    wanted = [(HOME, f"user{number}", START + number * MINUTE / 1000) for number in range(1000)]
    assert 1 <= len(tries(Throttle(), wanted)) <= 10


def test_the_addresses_of_one_ipv6_customer_are_one() -> None:
    wanted = [(f"2001:db8:0:1:{number:x}::1", f"user{number}", START) for number in range(1000)]
    assert len(tries(Throttle(), wanted)) == LoginRates().address.burst


def test_hours_of_guessing_from_everywhere_are_three_a_minute() -> None:
    wanted = [(f"10.{n // 65536}.{n // 256 % 256}.{n % 256}", "ann", START + n / 10) for n in range(36_000)]
    assert len(tries(Throttle(), wanted)) <= 6 + 60 * 3


def test_whoever_waits_as_told_may_try() -> None:
    throttle = Throttle()
    now = START
    for _ in range(30):
        wait = throttle.check(HOME, "ann", now)
        if wait is not None:
            assert throttle.check(HOME, "ann", now + wait / 2) is not None
            now += wait
            assert throttle.check(HOME, "ann", now) is None


def test_a_guesser_elsewhere_never_locks_the_owner_out() -> None:
    throttle = Throttle()
    assert throttle.check(HOME, "ann", START) is None
    throttle.succeeded(HOME, "ann", START)
    for number in range(1000):
        throttle.check(f"10.0.{number // 256}.{number % 256}", "ann", START + number)
        throttle.check(ELSEWHERE, "ann", START + number)
        if number % 60 == 0:
            assert throttle.check(HOME, "ann", START + number) is None
            throttle.succeeded(HOME, "ann", START + number)


def test_a_guesser_at_the_owners_address_who_tries_other_names_does_not_either() -> None:
    throttle = Throttle()
    throttle.succeeded(HOME, "ann", START)
    for number in range(1000):
        throttle.check(HOME, f"user{number}", START)
    assert throttle.check(HOME, "bob", START) is not None
    assert throttle.check(HOME, "ann", START) is None


def test_one_guesser_leaves_tries_for_an_owner_on_a_new_address() -> None:
    throttle = Throttle()
    let_in = 0
    for second in range(600):
        throttle.check(ELSEWHERE, "ann", START + second)
        if second % 60 == 30:
            let_in += throttle.check(f"192.0.2.{second // 60}", "ann", START + second) is None
    assert let_in == 10


def test_being_right_costs_nothing() -> None:
    throttle = Throttle()
    for number in range(500):  # an office behind one address on Monday morning
        assert throttle.check(HOME, f"user{number}", START) is None
        throttle.succeeded(HOME, f"user{number}", START)
    assert throttle.check(HOME, "stranger", START) is None


def test_an_own_account_buys_no_guesses() -> None:
    throttle = Throttle()
    guesses = 0
    for number in range(1000):
        now = START + number * MINUTE / 1000
        guesses += throttle.check(HOME, "ann", now) is None
        if throttle.check(HOME, "mallory", now) is None:
            throttle.succeeded(HOME, "mallory", now)
    assert guesses <= 10


def test_a_known_address_has_so_many_tries_too() -> None:
    throttle = Throttle()
    throttle.succeeded(HOME, "ann", START)
    wanted = [(HOME, "ann", START + number * 0.06) for number in range(1000)]
    assert len(tries(throttle, wanted)) <= 10


def test_an_address_is_forgotten_in_the_end() -> None:
    throttle = Throttle(LoginRates(remembered=100))
    throttle.succeeded(HOME, "ann", START)
    for number in range(50):
        throttle.check(HOME, f"user{number}", START + 101)
    assert throttle.check(HOME, "ann", START + 101) is not None


def test_new_passwords_are_counted_by_address_alone_and_are_no_guesses() -> None:
    throttle = Throttle()
    assert [throttle.check(HOME, None, START) is None for _ in range(40)] == [True] * 30 + [False] * 10
    assert throttle.check(ELSEWHERE, None, START) is None
    assert throttle.check(HOME, "ann", START) is None


def test_a_refused_try_is_not_counted_anywhere() -> None:
    throttle = Throttle()
    for _ in range(6):
        assert throttle.check(HOME, "bob", START) is None
    for _ in range(100):
        assert throttle.check(HOME, "ann", START) is not None
    assert [throttle.check(f"10.0.0.{number}", "ann", START) is None for number in range(7)] == [True] * 6 + [False]


def test_the_tables_are_bounded() -> None:
    throttle = Throttle(most=100, most_of_one=3)
    for number in range(5000):
        address = f"10.0.{number // 256}.{number % 256}"
        throttle.check(address, f"user{number}", START)
        throttle.succeeded(address, f"user{number % 10}", START)
    assert len(throttle) <= 100 + 100 + 10 * 3


def test_one_who_comes_from_everywhere_crowds_only_themselves_out() -> None:
    throttle = Throttle(most=100, most_of_one=3)
    throttle.succeeded(HOME, "ann", START)
    for number in range(5000):
        throttle.succeeded(f"10.0.{number // 256}.{number % 256}", "mallory", START)
    for number in range(20):
        throttle.check(f"10.9.0.{number}", "ann", START)
    assert throttle.check(HOME, "ann", START) is None


def test_to_remember_for_no_time_is_refused() -> None:
    with pytest.raises(UsageError, match="remembered"):
        LoginRates(remembered=0)


ADDRESSES = st.sampled_from([HOME, ELSEWHERE, "2001:db8::1", "2001:db8::2", None])
Steps: TypeAlias = list[tuple[float, str | None, str]]
KEYS = st.sampled_from(["ann", "bob", "cy"])
STEPS = st.lists(st.tuples(st.floats(0, 30), ADDRESSES, KEYS), max_size=120)


@given(STEPS)
def test_in_any_minute_a_name_is_tried_ten_times_at_most_from_addresses_unknown(steps: Steps) -> None:
    throttle, now = Throttle(), START
    compared: list[tuple[float, str]] = []
    for pause, address, key in steps:
        now += pause
        if throttle.check(address, key, now) is None:
            compared.append((now, key))
    for since, key in compared:
        assert sum(since <= when < since + MINUTE and name == key for when, name in compared) <= 10


@given(STEPS)
def test_in_any_minute_an_address_tries_ten_times_at_most(steps: Steps) -> None:
    throttle, now = Throttle(), START
    compared: list[float] = []
    for pause, _, key in steps:
        now += pause
        if throttle.check(HOME, key, now) is None:
            compared.append(now)
    for since in compared:
        assert sum(since <= when < since + MINUTE for when in compared) <= 10


@given(STEPS, st.integers(1, 20))
def test_the_owner_who_errs_now_and_then_always_gets_in(steps: Steps, most: int) -> None:
    throttle, now = Throttle(LoginRates(known=Rate(2, 1 / 30)), most=100), START
    throttle.succeeded("203.0.113.5", "ann", now)
    for pause, address, key in steps:
        now += pause
        for _ in range(most):
            throttle.check(address, key, now)
    now += 30
    assert throttle.check("203.0.113.5", "ann", now) is None  # a wrong one
    assert throttle.check("203.0.113.5", "ann", now) is None
    throttle.succeeded("203.0.113.5", "ann", now)
