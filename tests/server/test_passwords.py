"""Hashing and comparing passwords: the same work for everybody, few at a time, and never for longer than asked."""

from __future__ import annotations

import logging
import subprocess
import sys
from statistics import median
from time import perf_counter

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from chatkit.errors import ProtocolError, RequestFailed
from chatkit.server.logbook import say_what_was_held
from chatkit.server.passwords import Passwords, check_new, prepared


def cheap(workers: int = 1, most_waiting: int = 64) -> Passwords:
    return Passwords(memory_kib=8, passes=1, workers=workers, most_waiting=most_waiting)


async def test_the_right_password_and_no_other() -> None:
    passwords = cheap()
    kept = await passwords.hash("correct horse")
    assert kept.startswith("$argon2id$v=19$m=8,t=1,p=1$")
    assert await passwords.verify(kept, "correct horse")
    assert not await passwords.verify(kept, "Correct horse")
    assert not await passwords.verify(None, "correct horse")


async def test_two_hashes_of_one_password_differ() -> None:
    passwords = cheap()
    assert await passwords.hash("correct horse") != await passwords.hash("correct horse")


async def test_the_defaults_are_those_of_owasp() -> None:
    assert "$m=19456,t=2,p=1$" in await Passwords().hash("correct horse")


async def test_a_hash_made_with_other_costs_counts_and_is_outdated() -> None:
    old, new = cheap(), Passwords(memory_kib=16, passes=1)
    kept = await old.hash("correct horse")
    assert await new.verify(kept, "correct horse")
    assert new.outdated(kept)
    assert not old.outdated(kept)


@pytest.mark.parametrize(
    "damaged",
    ["", "x", "$argon2id$v=19$m=8,t=1,p=1$", "$argon2id$v=19$m=x$a$b", "$argon2id$ä", "$2b$12$abc", "\x00" * 97],
)
async def test_a_damaged_hash_lets_nobody_in(damaged: str) -> None:
    passwords = cheap()
    assert not await passwords.verify(damaged, "correct horse")
    assert not passwords.outdated(damaged)


async def test_a_damaged_hash_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    say_what_was_held(everything=True)  # nothing of the tests before is counted
    with caplog.at_level(logging.ERROR):
        assert not await cheap().verify("$argon2id$nonsense", "correct horse")
    assert "damaged" in caplog.text
    assert "nonsense" not in caplog.text
    assert "correct" not in caplog.text


@given(st.text(max_size=40))
async def test_any_text_is_compared(text: str) -> None:
    passwords = cheap()
    kept = await passwords.hash("correct horse")
    assert await passwords.verify(kept, text) is (text == "correct horse")


@pytest.mark.parametrize(
    ("typed", "same"),
    [("caf\u00e9 au lait", "cafe\u0301 au lait"), ("two words", "two\u00a0words"), ("two words", "two\u3000words")],
)
async def test_what_keyboards_write_differently_is_the_same_password(typed: str, same: str) -> None:
    assert prepared(typed) == prepared(same)
    passwords = cheap()
    assert await passwords.verify(await passwords.hash(typed), same)


@pytest.mark.parametrize("bad", ["", "tab\there", "nul\x00", "\ud800"])
async def test_what_cannot_be_a_password_is_refused_when_new_and_wrong_when_tried(bad: str) -> None:
    passwords = cheap()
    with pytest.raises(ProtocolError, match="the password "):
        await passwords.hash(bad)
    assert not await passwords.verify(await passwords.hash("correct horse"), bad)


def test_a_new_password_has_a_length() -> None:
    check_new("12345678")
    check_new("x" * 1024)
    with pytest.raises(ProtocolError, match="is 7 bytes long: expected 8 to 1024"):
        check_new("1234567")
    with pytest.raises(ProtocolError, match="1025"):
        check_new("x" * 1025)
    with pytest.raises(ProtocolError, match="cannot have"):
        check_new("1234567\n8")


async def test_nobodys_password_is_as_much_work_as_a_wrong_one() -> None:
    passwords = Passwords(memory_kib=4096, passes=2, workers=1)
    kept = await passwords.hash("correct horse")
    seconds: dict[str | None, list[float]] = {kept: [], None: []}
    for _ in range(15):
        for hash, measured in seconds.items():
            start = perf_counter()
            await passwords.verify(hash, "wrong password")
            measured.append(perf_counter() - start)
    assert 0.5 < median(seconds[None]) / median(seconds[kept]) < 2


async def test_so_many_wait_and_no_more() -> None:
    passwords = Passwords(memory_kib=1024, passes=1, workers=1, most_waiting=3)
    kept = await passwords.hash("correct horse")
    answers: list[bool] = []
    refusals: list[RequestFailed] = []

    async def log_in() -> None:
        try:
            answers.append(await passwords.verify(kept, "correct horse"))
        except RequestFailed as error:
            refusals.append(error)

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(log_in)
    assert answers == [True] * 4  # one at work and three who wait
    assert {(error.code, error.scope, error.retry_after) for error in refusals} == {("rate_limited", "login", 2.0)}
    assert await passwords.verify(kept, "correct horse")


async def test_whoever_leaves_waits_no_longer_and_the_work_still_counts() -> None:
    passwords = Passwords(memory_kib=32_768, passes=6, workers=1)  # some tenths of a second
    async with trio.open_nursery() as nursery:
        nursery.start_soon(passwords.hash, "correct horse")
        while not passwords.busy:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert passwords.busy == 1
    with trio.move_on_after(0):
        await passwords.hash("one who waits and leaves")
    assert passwords.busy == 1
    await passwords.hash("correct horse")
    assert passwords.busy == 0


async def test_the_loop_goes_on_meanwhile() -> None:
    passwords = Passwords(workers=1)
    await passwords.hash("correct horse")
    rounds = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(passwords.hash, "correct horse")
        while nursery.child_tasks:
            rounds += 1
            await trio.sleep(0.001)
    assert rounds > 3


def test_argon2_is_loaded_when_it_is_needed_and_its_lack_names_the_extra() -> None:
    program = """
import sys, trio
from chatkit.errors import MissingExtra
from chatkit.server.passwords import Passwords
passwords = Passwords()
assert "argon2" not in sys.modules
sys.modules["argon2"] = None
try:
    trio.run(passwords.hash, "correct horse")
except MissingExtra as error:
    print(error)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert "pip install 'chatkit[server]'" in ended.stdout
