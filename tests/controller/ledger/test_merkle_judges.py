"""Two implementations that are not ours say the same: pymerkle, and @transmute/rfc9162 in JavaScript."""

from __future__ import annotations

import pymerkle
import pytest

from controller.ledger.merkle import Tree, leaf_hash, verify_consistency, verify_inclusion
from tests.npm_packages import installed, run_node

ENTRIES = [b"entry %d of the log" % n for n in range(67)]
SIZES = (1, 2, 3, 4, 5, 7, 8, 13, 16, 21, 32, 33, 64, 67)

ASK = """
const { RFC9162: r } = require('@transmute/rfc9162');
const hex = (b) => Buffer.from(b).toString('hex'), bin = (h) => Uint8Array.from(Buffer.from(h, 'hex'));
let text = '';
process.stdin.on('data', (d) => (text += d)).on('end', async () => {
  const { entries, sizes, ours } = JSON.parse(text), all = entries.map(bin);
  const answer = { roots: {}, inclusion: {}, consistency: {} };
  for (const size of sizes) answer.roots[size] = hex(await r.treeHead(all.slice(0, size)));
  const last = Math.max(...sizes);
  for (let at = 0; at < last; at++)
    answer.inclusion[at] = (await r.inclusionProof(all[at], all)).inclusion_path.map(hex);
  for (const size of sizes)
    answer.consistency[size] = (await r.consistencyProof({ tree_size: size }, all)).consistency_path.map(hex);
  answer.accepted = 0;
  for (const [at, path] of Object.entries(ours.inclusion)) {
    const proof = { tree_size: last, leaf_index: Number(at), inclusion_path: path.map(bin) };
    answer.accepted += await r.verifyInclusionProof(bin(ours.root), await r.leaf(all[at]), proof);
  }
  console.log(JSON.stringify(answer));
});
"""


def ours() -> Tree:
    return Tree(leaf_hash(entry) for entry in ENTRIES)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_pymerkle_gives_the_same_roots_and_proofs():
    theirs, tree = pymerkle.InmemoryTree(algorithm="sha256"), ours()
    for size, entry in enumerate(ENTRIES, 1):
        theirs.append_entry(entry)
        assert theirs.get_state() == tree.root(size)
    for size in SIZES:
        for index in range(size):
            path = theirs.prove_inclusion(index + 1, size).serialize()["path"]
            proof = tree.inclusion(index, size)
            assert {bytes.fromhex(node) for node in path} == {tree.leaf(index), *proof}
            assert verify_inclusion(index, size, tree.leaf(index), proof, theirs.get_state(size))
        # its consistency proofs have a form of their own: each side's proof must convince itself of the other's roots
        pymerkle.verify_consistency(tree.root(size), tree.root(), theirs.prove_consistency(size, len(ENTRIES)))
        assert verify_consistency(
            size, len(ENTRIES), theirs.get_state(size), theirs.get_state(), tree.consistency(size)
        )


@pytest.mark.integration
def test_a_javascript_library_gives_the_same_roots_and_proofs():
    tree = ours()
    inclusion = {at: [node.hex() for node in tree.inclusion(at)] for at in range(tree.size)}
    question = {
        "entries": [entry.hex() for entry in ENTRIES],
        "sizes": SIZES,
        "ours": {"inclusion": inclusion, "root": tree.root().hex()},
    }
    answer = run_node(installed("@transmute/rfc9162", "0.0.5"), ASK, question)
    assert isinstance(answer, dict)
    assert answer["roots"] == {str(size): tree.root(size).hex() for size in SIZES}
    assert answer["inclusion"] == {str(at): path for at, path in inclusion.items()}
    for size in SIZES:
        # RFC 9162 leaves the old root away where it is a node of the new tree (section 2.1.4.1); that library does not
        known = [tree.root(size)] if size & (size - 1) == 0 or size == tree.size else []
        theirs = answer["consistency"][str(size)]
        assert theirs == [node.hex() for node in (*known, *tree.consistency(size))]
    assert answer["accepted"] == tree.size
