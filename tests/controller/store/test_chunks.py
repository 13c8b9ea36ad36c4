"""Chunk codec: exact round trips, and every flipped bit is seen."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.store.chunks import SIMULATED, BadChunk, Block, Column, decode, encode
from devices.model import Quality

floats = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(10**7), 10**7).map(lambda n: n / 10),
    st.just(0.0),
)


@st.composite
def blocks(draw: st.DrawFn) -> Block:
    count = draw(st.integers(0, 40))
    times = draw(st.lists(st.integers(-(2**62), 2**62 - 1), min_size=count, max_size=count))
    steady = draw(st.booleans())
    if steady:
        times = [1_780_000_000_000 + 1_000 * index for index in range(count)]
    columns: list[Column] = []
    for _ in range(draw(st.integers(0, 4))):
        marks = bytes(
            draw(st.lists(st.sampled_from([0, 1, 2, 3, SIMULATED, SIMULATED | 3]), min_size=count, max_size=count))
        )
        values = tuple(None if mark & 15 == Quality.BAD else draw(floats) for mark in marks)
        columns.append(Column(values, marks))
    return Block(tuple(times), tuple(columns))


@given(blocks())
@settings(max_examples=300, deadline=None)
def test_what_is_written_comes_back(block: Block) -> None:
    times_ok = all(abs(b - a) < 2**63 for a, b in zip(block.times, block.times[1:], strict=False))
    if times_ok:
        assert decode(encode(block)) == block


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_a_block_or_a_bad_chunk(data: bytes) -> None:
    with pytest.raises(BadChunk):
        decode(data)


def test_every_single_flipped_bit_is_seen() -> None:
    chunk = encode(Block(tuple(range(0, 10_000, 1_000)), (Column(tuple(float(n * n) for n in range(10)), bytes(10)),)))
    for bit in range(len(chunk) * 8):
        broken = bytearray(chunk)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BadChunk):
            decode(bytes(broken))


def test_values_that_are_no_numbers_become_bad_without_value() -> None:
    marks = bytes([Quality.GOOD, Quality.GOOD, Quality.BAD, SIMULATED])
    block = decode(encode(Block((1, 2, 3, 4), (Column((math.nan, math.inf, 5.0, 1.5), marks),))))
    assert block.columns[0].values == (None, None, None, 1.5)
    assert block.columns[0].marks == bytes([Quality.BAD, Quality.BAD, Quality.BAD, SIMULATED])


def test_columns_must_have_the_length_of_the_times() -> None:
    with pytest.raises(ValueError, match="length"):
        encode(Block((1, 2), (Column((1.0,), bytes(1)),)))
