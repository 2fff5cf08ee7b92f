"""Identifiers: what is a snowflake and when it was made."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.ids import is_snowflake, snowflake_time_ms


def test_snowflake_time_is_the_documentations_example() -> None:
    # docs: reference#snowflakes
    assert snowflake_time_ms("175928847299117063") == 1_462_015_105_796


@given(st.integers(min_value=1, max_value=2**63 - 1))
def test_every_positive_64_bit_number_is_a_snowflake(number: int) -> None:
    assert is_snowflake(str(number))


@pytest.mark.parametrize(
    "text",
    ["", "0", "-1", "+1", " 1", "1 ", "1.0", "1e3", "0x1", "٣", "²", "1_0", "*", ">", "1.>", "a",
     str(2**63), "9" * 21, "1\n"],
)  # fmt: skip
def test_anything_else_is_none(text: str) -> None:
    assert not is_snowflake(text)


@given(st.text())
def test_a_snowflake_is_always_one_subject_token(text: str) -> None:
    if is_snowflake(text):
        assert set(text) <= set("0123456789")
