"""Approvals of a charter: only signatures by approvers over this hash, in time, once each."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from controller.settlement.proposals import Approval, Proposal, Quorum, Refused, approve, count, propose
from devices.clock import HOUR_MS, Instant

KEYS = [Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in range(1, 6)]
NAMES = tuple(base64.b64encode(key.public_key().public_bytes_raw()).decode() for key in KEYS)
QUORUM = Quorum(2, NAMES[:3], 24)
NOW = Instant(1_767_225_600_000)
LATE = Instant(NOW + 24 * HOUR_MS)
PROPOSAL = propose({"version": 2}, QUORUM, NOW)


def test_two_of_three_pass() -> None:
    found = count(PROPOSAL, QUORUM, [approve(PROPOSAL, KEYS[0], NOW), approve(PROPOSAL, KEYS[2], NOW)])
    assert found.passed
    assert found.approved == (NAMES[0], NAMES[2])


@pytest.mark.parametrize(
    ("approval", "reason"),
    [
        (approve(propose({"version": 3}, QUORUM, NOW), KEYS[1], NOW), Refused.OTHER_PROPOSAL),
        (approve(PROPOSAL, KEYS[1], LATE), Refused.EXPIRED),
        (approve(PROPOSAL, KEYS[1], Instant(NOW - 1)), Refused.EXPIRED),
        (approve(PROPOSAL, KEYS[4], NOW), Refused.STRANGER),
        (approve(PROPOSAL, KEYS[0], NOW), Refused.TWICE),
        (replace(approve(PROPOSAL, KEYS[4], NOW), key=NAMES[1]), Refused.FORGED),
        (approve(Proposal(PROPOSAL.digest, NOW, LATE), KEYS[1], NOW), None),
        (approve(replace(PROPOSAL, expires=Instant(LATE + 1)), KEYS[1], NOW), Refused.FORGED),
    ],
)
def test_each_reason_not_to_count(approval: Approval, reason: Refused | None) -> None:
    found = count(PROPOSAL, QUORUM, [approve(PROPOSAL, KEYS[0], NOW), approval])
    assert found.refused == (() if reason is None else ((approval.key, reason),))
    assert found.passed is (reason is None)


@given(st.lists(st.integers(0, 4), max_size=6))
def test_the_quorum_is_distinct_approvers(votes: list[int]) -> None:
    found = count(PROPOSAL, QUORUM, [approve(PROPOSAL, KEYS[vote], NOW) for vote in votes])
    assert found.passed is (len({vote for vote in votes if vote < 3}) >= 2)


def test_a_quorum_of_none_still_needs_somebody() -> None:
    assert not count(PROPOSAL, replace(QUORUM, approvals=0), []).passed
