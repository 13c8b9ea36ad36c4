"""An inclusion proof walked step by step as RFC 9162 section 2.1.3.2 does, for people to follow."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from controller.console.source import LedgerProof


@dataclass(frozen=True, slots=True)
class ProofStep:
    """One step up the tree."""

    number: int
    side: str  # on which side the sibling stands
    sibling: str
    result: str


def leaf_hash(leaf: str) -> str:
    """Returns SHA-256(0x00 || leaf) as hex."""
    return hashlib.sha256(b"\x00" + leaf.encode()).hexdigest()


def walk(proof: LedgerProof) -> tuple[tuple[ProofStep, ...], str]:
    """Returns (steps, the root that they lead to); the root is "" when the path cannot belong to this tree."""
    index, last = proof.entry.seq, proof.size - 1
    result = leaf_hash(proof.leaf)
    steps: list[ProofStep] = []
    if not 0 <= index <= last:
        return (), ""
    for number, sibling in enumerate(proof.path, 1):
        if last == 0:
            return tuple(steps), ""
        left = index % 2 == 1 or index == last
        result = _node(sibling, result) if left else _node(result, sibling)
        steps.append(ProofStep(number, "left" if left else "right", sibling, result))
        if left:
            while index % 2 == 0 and index != 0:
                index, last = index >> 1, last >> 1
        index, last = index >> 1, last >> 1
    return tuple(steps), result if last == 0 else ""


def _node(left: str, right: str) -> str:
    return hashlib.sha256(b"\x01" + bytes.fromhex(left) + bytes.fromhex(right)).hexdigest()


def bits(*parts: str) -> int:
    """Returns 74 bits that depend on all the parts."""
    return int.from_bytes(hashlib.sha256("\n".join(parts).encode()).digest()) >> (256 - 74)


def random_bits() -> int:
    """Returns 74 random bits for a command id."""
    return secrets.randbits(74)
