"""Canonical bytes: RFC 8785, whole numbers, one form per document."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.ledger.canonical import NotCanonical, amount_text, decode, encode, parse_amount

WHOLE = st.integers(-(2**53) + 1, 2**53 - 1)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | WHOLE | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(DOCUMENTS)
def test_what_is_encoded_comes_back(document):
    assert decode(encode(document)) == document


def test_keys_are_sorted_by_utf16_as_rfc_8785_says():
    # Source: RFC 8785 section 3.2.3: U+1F600 (surrogates D83D DE00) sorts before U+FB33.
    assert encode({"\ufb33": 1, "\U0001f600": 2, "a": 3}) == '{"a":3,"\U0001f600":2,"\ufb33":1}'.encode()


@pytest.mark.parametrize("document", [2**53, -(2**53), {"a": 1.5}, [float("nan")]])
def test_large_integers_and_floats_are_refused(document):
    with pytest.raises(NotCanonical):
        encode(document)


@pytest.mark.parametrize(
    "data", [b'{"b":1,"a":2}', b'{"a": 1}', b'{"a":1.0}', b"[NaN]", b"\xff", b"{", b'{"a":1,"a":1}']
)
def test_any_other_form_is_refused(data):
    with pytest.raises(NotCanonical):
        decode(data)


@given(st.integers())
def test_amounts_have_one_text(amount):
    assert parse_amount(amount_text(amount)) == amount


@pytest.mark.parametrize("text", ["+1", "01", "-0", "1.0", "1e3", " 1", "", "١", 5, None])
def test_other_amount_texts_are_refused(text):
    with pytest.raises(NotCanonical):
        parse_amount(text)


def test_deep_nesting_is_a_refusal_not_a_crash():
    with pytest.raises(NotCanonical):
        decode(b"[" * 100_000 + b"]" * 100_000)
    assert json.loads(b"[]") == []


@pytest.mark.parametrize(
    "text",
    ['{"a":9007199254740992}', '{"a":"\\ud800"}', '{"a":1,"a":1}', '{"b":1,"a":1}', '{"a": 1}', '{"\\u0061":1}', "1e3"],
)
def test_what_is_not_canonical_is_refused_also_on_the_quick_way(text):
    with pytest.raises(NotCanonical):
        decode(text.encode())


def test_long_digits_in_a_text_are_no_number():
    assert decode(b'{"a":"12345678901234567890"}') == {"a": "12345678901234567890"}
    assert decode(b'{"a":9007199254740991}') == {"a": 9007199254740991}
