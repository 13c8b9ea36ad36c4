"""The tree against a naive recursive reading of RFC 9162, and against the RFC's own example tree."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.ledger.merkle import (
    EMPTY_ROOT,
    Frontier,
    Tree,
    leaf_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)

SIZES = st.integers(1, 70)


def leaves_of(size: int) -> list[bytes]:
    return [leaf_hash(bytes([n])) for n in range(size)]


def split(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def naive_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 9162 section 2.1.1."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_path(m: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of RFC 9162 section 2.1.3.1."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return [*naive_path(m, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(m - k, leaves[k:]), naive_root(leaves[:k])]


def naive_subproof(m: int, leaves: list[bytes], whole: bool) -> list[bytes]:
    """SUBPROOF of RFC 9162 section 2.1.4.1."""
    if m == len(leaves):
        return [] if whole else [naive_root(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*naive_subproof(m, leaves[:k], whole), naive_root(leaves[k:])]
    return [*naive_subproof(m - k, leaves[k:], False), naive_root(leaves[:k])]


@given(st.integers(0, 70))
def test_all_ways_to_the_root_agree(size):
    leaves = leaves_of(size)
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    assert frontier.root() == root_of(leaves) == Tree(leaves).root() == naive_root(leaves)
    assert frontier.size == size


@given(SIZES, st.data())
def test_inclusion_proofs_are_the_rfcs_and_verify(size, data):
    index = data.draw(st.integers(0, size - 1))
    at = data.draw(st.integers(index + 1, size))
    leaves = leaves_of(size)
    proof = Tree(leaves).inclusion(index, at)
    root = naive_root(leaves[:at])
    assert list(proof) == naive_path(index, leaves[:at])
    assert verify_inclusion(index, at, leaves[index], proof, root)
    assert not verify_inclusion(index, at, leaf_hash(b"other"), proof, root)
    assert not verify_inclusion(index, at, leaves[index], (*proof, root), root)
    if proof:
        assert not verify_inclusion(index, at, leaves[index], proof[:-1], root)
        assert not verify_inclusion(index, at, leaves[index], (*proof[:-1], b"\0" * 32), root)


@given(SIZES, st.data())
def test_consistency_proofs_are_the_rfcs_and_verify(size, data):
    first = data.draw(st.integers(1, size))
    leaves = leaves_of(size)
    proof = Tree(leaves).consistency(first)
    old, new = naive_root(leaves[:first]), naive_root(leaves)
    assert list(proof) == naive_subproof(first, leaves, True)
    assert verify_consistency(first, size, old, new, proof)
    assert not verify_consistency(first, size, b"\0" * 32, new, proof)
    if first < size:
        assert not verify_consistency(first, size, old, b"\0" * 32, proof)


def test_a_tree_grown_in_pieces_is_the_same():
    leaves = leaves_of(133)
    tree = Tree()
    for start in range(0, 133, 7):
        tree.extend(leaves[start : start + 7])
    assert tree.root() == naive_root(leaves)
    assert tree.root(64) == naive_root(leaves[:64])


def test_impossible_questions_are_refused():
    tree = Tree(leaves_of(5))
    for ask in (
        lambda: tree.inclusion(5),
        lambda: tree.inclusion(-1),
        lambda: tree.inclusion(0, 6),
        lambda: tree.consistency(0),
    ):
        with pytest.raises(IndexError):
            ask()
    assert Tree().root() == EMPTY_ROOT
    assert not verify_inclusion(0, 0, EMPTY_ROOT, (), EMPTY_ROOT)
    assert not verify_consistency(0, 5, EMPTY_ROOT, tree.root(), ())
