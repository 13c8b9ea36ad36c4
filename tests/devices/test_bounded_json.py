"""JSON from outside: limits before the parser, no number that is none."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.bounded_json import BYTES_MAX, BadJson, compact, parse

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_what_is_written_is_read(value):
    assert parse(compact(value), depth_max=64) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_bad_json(payload):
    try:
        value = parse(payload)
    except BadJson:
        return
    assert value == json.loads(payload)


@pytest.mark.parametrize(
    "payload",
    [b"NaN", b"[Infinity]", b"-Infinity", b"1e999", b"[-1e999]", b"9" * 5000, b"\xff", b'{"a":', b"", b"[" * 100_000],
)
def test_bad_numbers_bad_text_and_bad_shapes_are_refused(payload):
    with pytest.raises(BadJson):
        parse(payload)


def test_limits_hold_before_the_parser():
    with pytest.raises(BadJson, match="bytes"):
        parse(b" " * (BYTES_MAX + 1))
    with pytest.raises(BadJson, match="deeper"):
        parse(b"[" * 17 + b"]" * 17)
    assert parse(b'["' + b"[{" * 100 + b'"]') == ["[{" * 100]


def test_brackets_in_a_text_with_escaped_quotes_are_not_depth():
    text = '\\"[[[[' * 20
    assert parse(json.dumps([text]).encode(), depth_max=1) == [text]


def test_we_never_write_nan():
    with pytest.raises(ValueError):
        compact({"W": float("nan")})
