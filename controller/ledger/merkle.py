"""RFC 9162 Merkle trees over SHA-256: append, proofs, verification.

Source: RFC 9162 section 2.1 (hashes), 2.1.3 (inclusion), 2.1.4 (consistency).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256

EMPTY_ROOT = sha256(b"").digest()
_leaf_start = sha256(b"\x00").copy  # copying a started hash is a fifth cheaper than starting one
_node_start = sha256(b"\x01").copy


def leaf_hash(data: bytes) -> bytes:
    """Returns the 32-byte hash of a leaf: SHA-256(0x00 || data)."""
    state = _leaf_start()
    state.update(data)
    return state.digest()


def leaf_hashes(documents: Iterable[bytes]) -> list[bytes]:
    """Returns the hashes of many leaves."""
    found: list[bytes] = []
    for data in documents:
        state = _leaf_start()
        state.update(data)
        found.append(state.digest())
    return found


def node_hash(left: bytes, right: bytes) -> bytes:
    """Returns the 32-byte hash of an inner node: SHA-256(0x01 || left || right)."""
    state = _node_start()
    state.update(left + right)
    return state.digest()


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Returns the root over leaf hashes, level by level."""
    if not leaves:
        return EMPTY_ROOT
    level = list(leaves)
    while len(level) > 1:
        above: list[bytes] = []
        for left, right in zip(level[::2], level[1::2], strict=False):
            state = _node_start()
            state.update(left + right)
            above.append(state.digest())
        if len(level) % 2:
            above.append(level[-1])
        level = above
    return level[0]


class Frontier:
    """The right edge of a growing tree: O(log n) memory, enough to append and to tell the root."""

    __slots__ = ("_peaks", "size")

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        """Adds one leaf hash."""
        node = leaf
        size = self.size
        while size & 1:
            node = node_hash(self._peaks.pop(), node)
            size >>= 1
        self._peaks.append(node)
        self.size += 1

    def root(self) -> bytes:
        """Returns the root of the tree as it stands."""
        if not self._peaks:
            return EMPTY_ROOT
        node = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            node = node_hash(peak, node)
        return node


class Tree:
    """All complete nodes of a growing tree (64 bytes a leaf): makes proofs for any size up to its own."""

    __slots__ = ("_levels",)

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        self._levels: list[list[bytes]] = [[]]
        self.extend(leaves)

    @property
    def size(self) -> int:
        """Returns the number of leaves."""
        return len(self._levels[0])

    def leaf(self, index: int) -> bytes:
        """Returns the hash of a leaf."""
        return self._levels[0][index]

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Adds leaf hashes."""
        self._levels[0].extend(leaves)
        level = 0
        while len(self._levels[level]) > 1:
            below = self._levels[level]
            if level + 1 == len(self._levels):
                self._levels.append([])
            above = self._levels[level + 1]
            above.extend(node_hash(below[2 * i], below[2 * i + 1]) for i in range(len(above), len(below) // 2))
            level += 1

    def root(self, size: int | None = None) -> bytes:
        """Returns the root over the first `size` leaves (all by default)."""
        size = self.size if size is None else self._known(size)
        return EMPTY_ROOT if size == 0 else self._range(0, size)

    def inclusion(self, index: int, size: int | None = None) -> tuple[bytes, ...]:
        """Returns the hashes that prove leaf `index` to be in the tree of `size` leaves, lowest first.

        Raises:
            IndexError: no such leaf in a tree of that size.
        """
        size = self.size if size is None else self._known(size)
        if not 0 <= index < size:
            raise IndexError(f"no leaf {index} in a tree of {size}")
        proof: list[bytes] = []
        low, high = 0, size
        while high - low > 1:
            middle = low + _split(high - low)
            if index < middle:
                proof.append(self._range(middle, high))
                high = middle
            else:
                proof.append(self._range(low, middle))
                low = middle
        return tuple(reversed(proof))

    def consistency(self, first: int, size: int | None = None) -> tuple[bytes, ...]:
        """Returns the hashes that prove the tree of `size` leaves to begin with the tree of `first` leaves.

        Raises:
            IndexError: `first` is zero or larger than `size`.
        """
        size = self.size if size is None else self._known(size)
        if not 0 < first <= size:
            raise IndexError(f"no consistency proof from {first} to {size}")
        proof: list[bytes] = []
        low, high = 0, size
        whole = True  # the tree of `first` leaves is a complete subtree on the way so far
        while first != high:
            middle = low + _split(high - low)
            if first <= middle:
                proof.append(self._range(middle, high))
                high = middle
            else:
                proof.append(self._range(low, middle))
                low = middle
                whole = False
        if not whole:
            proof.append(self._range(low, high))
        return tuple(reversed(proof))

    def _known(self, size: int) -> int:
        if not 0 <= size <= self.size:
            raise IndexError(f"the tree has {self.size} leaves, not {size}")
        return size

    def _range(self, low: int, high: int) -> bytes:
        """Returns the hash over [low, high); `low` is a multiple of the largest power of two in the range."""
        width = high - low
        if width & (width - 1) == 0:
            level = width.bit_length() - 1
            return self._levels[level][low >> level]
        middle = low + _split(width)
        return node_hash(self._range(low, middle), self._range(middle, high))


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> bool:
    """Returns whether `proof` shows leaf hash `leaf` at `index` of the tree of `size` leaves with `root`.

    Source: RFC 9162 section 2.1.3.2.
    """
    if not 0 <= index < size:
        return False
    fn, sn, node = index, size - 1, leaf
    for sibling in proof:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            node = node_hash(sibling, node)
            while not fn & 1 and fn:
                fn >>= 1
                sn >>= 1
        else:
            node = node_hash(node, sibling)
        fn >>= 1
        sn >>= 1
    return sn == 0 and node == root


def verify_consistency(first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]) -> bool:
    """Returns whether the tree of `second` leaves begins with the tree of `first` leaves.

    Source: RFC 9162 section 2.1.4.2.
    """
    if not 0 < first <= second:
        return False
    if first == second:
        return not proof and first_root == second_root
    path = list(proof)
    if first & (first - 1) == 0:
        path.insert(0, first_root)
    if not path:
        return False
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn >>= 1
        sn >>= 1
    old = new = path[0]
    for node in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            old = node_hash(node, old)
            new = node_hash(node, new)
            while not fn & 1 and fn:
                fn >>= 1
                sn >>= 1
        else:
            new = node_hash(new, node)
        fn >>= 1
        sn >>= 1
    return sn == 0 and old == first_root and new == second_root


def _split(width: int) -> int:
    """Returns the largest power of two below `width` (`width` > 1)."""
    return 1 << (width - 1).bit_length() - 1
