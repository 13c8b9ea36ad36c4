"""Register codecs: every type, both word orders, sentinels, scaling without float dust."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.registers import TYPES, Block, encode_number, raw_reader, scaled, whole, within

WHOLE = [t for t in TYPES.values() if not t.real and t.name != "bit"]


@given(st.data(), st.sampled_from(WHOLE), st.booleans(), st.integers(0, 3))
def test_whole_numbers_read_back_what_was_written(data: st.DataObject, kind, low_first: bool, index: int) -> None:
    value = data.draw(st.integers(kind.low, kind.high))
    registers = (7,) * index + encode_number(kind, value, low_first)
    assert raw_reader(kind, index, frozenset(), low_first)(registers) == value


@given(st.floats(width=32, allow_nan=False, allow_infinity=False), st.booleans())
def test_float32_reads_back(value: float, low_first: bool) -> None:
    kind = TYPES["float32"]
    assert raw_reader(kind, 0, frozenset(), low_first)(encode_number(kind, value, low_first)) == value


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["float32", "float64"])
def test_nan_and_infinity_are_no_numbers(name: str, value: float) -> None:
    kind = TYPES[name]
    assert raw_reader(kind, 0, frozenset())(encode_number(kind, value)) is None


def test_sentinel_is_compared_before_the_sign() -> None:
    read = raw_reader(TYPES["int16"], 0, frozenset({0x8000}))
    assert read((0x8000,)) is None
    assert read((0x8001,)) == -32767


@given(st.integers(-(10**9), 10**9))
def test_tenths_leave_no_dust(raw: int) -> None:
    kind = TYPES["int32"]
    words = encode_number(kind, raw)
    assert scaled(raw_reader(kind, 0, frozenset()), 0.1)(words) == raw / 10
    assert scaled(raw_reader(kind, 0, frozenset()), 100)(words) == raw * 100


def test_minus_zero_is_never_shown() -> None:
    value = scaled(lambda _: 0.0, -1.0)(())
    assert value is not None
    assert math.copysign(1, value) == 1


def test_offset_range_and_rounding() -> None:
    read = whole(within(scaled(raw_reader(TYPES["uint16"], 0, frozenset()), 0.1, 5.0), 0, 50))
    assert read((104,)) == 15
    assert read((900,)) is None


def test_overflow_is_named() -> None:
    with pytest.raises(OverflowError, match="70000 does not fit uint16"):
        encode_number(TYPES["uint16"], 70000)


def test_block_of_the_wrong_length_has_no_values() -> None:
    block = Block(3, 0, 2, ("a", "b"), (lambda r: r[0], lambda r: r[1]))
    assert block.decode((1, 2)) == [1, 2]
    assert block.decode((1,)) == [None, None]
    assert block.decode((1, 2, 3)) == [None, None]
