"""Codes: what programs go by."""

from __future__ import annotations

import pickle

import pytest

from chatkit.protocol import CLOSE_CODES, ErrorCode, may_reconnect


@pytest.mark.parametrize("code", ErrorCode)
def test_every_error_code_is_a_string_with_a_meaning(code: ErrorCode) -> None:
    assert code == code.value == str(code) == f"{code}"
    assert ErrorCode(str(code)) is pickle.loads(pickle.dumps(code)) is code
    assert code.meaning.endswith(".")


def test_codes_that_say_not_to_come_back() -> None:
    assert [code for code in CLOSE_CODES if not may_reconnect(code)] == [1000, 4403, 4409]
    assert may_reconnect(4999)


def test_the_table_is_by_number() -> None:
    assert all(close.code == code and close.meaning for code, close in CLOSE_CODES.items())
