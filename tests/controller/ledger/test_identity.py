"""did:key names and signed documents."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.ledger.canonical import NotCanonical
from controller.ledger.identity import (
    BadDid,
    BadSignature,
    SigningKey,
    did_of,
    public_key_of,
    sign_document,
    verify,
    verify_document,
)

# W3C CCG did-method-key, section 3.1.1 and its test vectors (ed25519-x25519.json): seed -> did.
VECTORS = {
    "00" * 32: "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp",
    "0000000000000000000000000000000000000000000000000000000000000001": (
        "did:key:z6MkjchhfUsD6mmvni8mCdXHw216Xrm9bQe2mBH1P5RDjVJG"
    ),
}


def test_seeds_of_the_method_s_own_vectors_have_its_names():
    for seed, did in VECTORS.items():
        assert SigningKey(bytes.fromhex(seed)).did == did


@given(st.binary(min_size=32, max_size=32))
def test_a_name_and_its_key_are_one(key):
    assert public_key_of(did_of(key)) == key


@pytest.mark.parametrize(
    "did",
    [
        "",
        "did:web:example.org",
        "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooW",  # a letter short
        "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooW0",  # 0 is no base58 letter
        "did:key:zDnaerDaTF5BXEavCrfRZEk316dpbLsfPDZ3WJ5hRTPFU2169",  # a P-256 key
        "did:key:z" + "1" * 3000,
    ],
)
def test_other_names_are_refused(did):
    with pytest.raises(BadDid):
        public_key_of(did)
    assert not verify(did, "ballot", b"", bytes(64))


def test_a_signature_is_good_for_its_document_its_purpose_and_its_signer_only():
    anna, ben = SigningKey(bytes(32)), SigningKey(bytes(31) + b"\1")
    paper = sign_document("ballot", {"proposal": "ab", "vote": "yes"}, anna)
    assert verify_document("ballot", paper) == (anna.did, {"proposal": "ab", "vote": "yes"})
    altered = [
        {**paper, "document": {"proposal": "ab", "vote": "no"}},
        {**paper, "signer": ben.did},
        {**paper, "purpose": "approval"},
        {**paper, "signature": "AA=="},
        {**paper, "signature": "?"},
        {**paper, "more": 1},
        {key: value for key, value in paper.items() if key != "signer"},
        ["document"],
    ]
    for wrong in altered:
        with pytest.raises(BadSignature):
            verify_document("ballot", wrong)
    with pytest.raises(BadSignature, match="signed as 'ballot'"):
        verify_document("approval", paper)


def test_what_has_no_canonical_form_is_not_signed():
    with pytest.raises(NotCanonical):
        sign_document("ballot", {"amount": 2**53}, SigningKey(bytes(32)))


def test_a_signed_document_survives_being_printed():
    paper = sign_document("approval", {"text": "Zähler 7", "n": [1, None, True]}, SigningKey(bytes(32)))
    assert verify_document("approval", json.loads(json.dumps(paper, indent=4)))[1]["text"] == "Zähler 7"
