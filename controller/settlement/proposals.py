"""A change of charter: one canonical proposal, and approvals that are signatures over its hash, with an expiry.

A signature covers the text `atoll charter approval v1`, the proposal's hash and its expiry, so it is good for
this document and this vote alone.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from controller.ledger.canonical import Json, encode
from devices.clock import HOUR_MS, Instant

CONTEXT = b"atoll charter approval v1\n"


class Refused(StrEnum):
    """Why an approval does not count."""

    OTHER_PROPOSAL = "other-proposal"
    EXPIRED = "expired-approval"
    STRANGER = "not-an-approver"
    FORGED = "forged-signature"
    TWICE = "approved-twice"


@dataclass(frozen=True, slots=True)
class Quorum:
    """What the charter in force asks of a change of itself; keys are base64 Ed25519 public keys."""

    approvals: int
    of: tuple[str, ...]
    expires_h: int


@dataclass(frozen=True, slots=True)
class Proposal:
    """A charter proposed: the hash of its canonical bytes, and until when it can be approved."""

    digest: bytes
    opened: Instant
    expires: Instant

    def signed_bytes(self) -> bytes:
        """Returns what an approver signs."""
        return CONTEXT + self.digest + b"\n" + str(self.expires).encode()


@dataclass(frozen=True, slots=True)
class Approval:
    """One approver's signature, given at an instant."""

    key: str
    digest: bytes
    at: Instant
    signature: bytes


@dataclass(frozen=True, slots=True)
class Count:
    """The result of counting: who counts, who does not and why, and whether the quorum is reached."""

    approved: tuple[str, ...]
    refused: tuple[tuple[str, Refused], ...]
    passed: bool


def propose(document: Mapping[str, Json], quorum: Quorum, now: Instant) -> Proposal:
    """Returns the proposal of a charter document; `quorum` is that of the charter in force, not of the new one.

    Raises:
        NotCanonical: the document has no canonical form.
    """
    return Proposal(sha256(encode(document)).digest(), now, Instant(now + quorum.expires_h * HOUR_MS))


def approve(proposal: Proposal, key: Ed25519PrivateKey, now: Instant) -> Approval:
    """Returns the signature of one approver."""
    public = base64.b64encode(key.public_key().public_bytes_raw()).decode()
    return Approval(public, proposal.digest, now, key.sign(proposal.signed_bytes()))


def count(proposal: Proposal, quorum: Quorum, approvals: Sequence[Approval]) -> Count:
    """Returns which approvals count and whether they are enough; the order of approvals decides nothing but doubles."""
    approved: list[str] = []
    refused: list[tuple[str, Refused]] = []
    for approval in approvals:
        reason = Refused.TWICE if approval.key in approved else _refusal(proposal, quorum, approval)
        if reason is None:
            approved.append(approval.key)
        else:
            refused.append((approval.key, reason))
    return Count(tuple(approved), tuple(refused), len(approved) >= max(1, quorum.approvals))


def _refusal(proposal: Proposal, quorum: Quorum, approval: Approval) -> Refused | None:
    if approval.digest != proposal.digest:
        return Refused.OTHER_PROPOSAL
    if not proposal.opened <= approval.at < proposal.expires:
        return Refused.EXPIRED
    if approval.key not in quorum.of:
        return Refused.STRANGER
    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(approval.key, validate=True))
        key.verify(approval.signature, proposal.signed_bytes())
    except (InvalidSignature, ValueError, binascii.Error):
        return Refused.FORGED
    return None
