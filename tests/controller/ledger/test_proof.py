"""Proof files (C2SP tlog-proof): made, read, judged."""

from __future__ import annotations

import base64

import pytest

from controller.ledger.cosign import Algorithm, CosignKey, Policy
from controller.ledger.merkle import Tree, leaf_hash
from controller.ledger.note import Checkpoint, NoteForged, NoteMalformed, Signer, sign
from controller.ledger.proof import LogProof, ProofWrong
from devices.clock import Instant

LOG = Signer("test.atoll/ledger", bytes(32))
WITNESSES = [CosignKey(f"w{n}.local", Algorithm.ED25519, bytes([n] * 32)) for n in (1, 2, 3)]
POLICY = Policy(tuple(key.cosigner for key in WITNESSES), 2)
LEAVES = [leaf_hash(bytes([n])) for n in range(70)]
# Source: C2SP tlog-proof.md, its example (signatures shortened there).
C2SP = """c2sp.org/tlog-proof@v1
extra YWdlLXYxLjIuMS1kYXJ3aW4tYXJtNjQudGFyLmd6kYXJ3aW4tYXJ
index 73894
gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=
B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=
EKNzoDWG8LGC0Yp9o+sv3qllpMP9uHQ9B20KNL+Q1zs=
RoopEkOdqkYqMB4MJXrbt/hMjOxsVn0IrWjpz1ZMMes=
AHCioX9nLjsrse6YhjRRmk1WUEirVOLLRoOQ6vfO5vk=

example.com/fancylog
109482
sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=

"""


def proof_of(index: int, witnesses: int = 2) -> LogProof:
    tree = Tree(LEAVES)
    text = Checkpoint("test.atoll/ledger", tree.size, tree.root()).text()
    note = sign(text, [LOG]) + "".join(key.cosign(text, Instant(5000)) for key in WITNESSES[:witnesses])
    return LogProof(index, tree.inclusion(index), note)


def test_a_proof_file_shows_its_leaf_and_who_has_witnessed_it():
    for index in range(len(LEAVES)):
        proof = LogProof.parse(proof_of(index).text())
        assert proof.check(LEAVES[index], [LOG.verifier], POLICY).size == 70
        with pytest.raises(ProofWrong, match="is not in the tree"):
            proof.check(LEAVES[index - 1], [LOG.verifier])


def test_one_witness_of_two_is_not_enough():
    with pytest.raises(ProofWrong, match=r"cosigned by w1\.local; 2 witnesses"):
        proof_of(3, 1).check(LEAVES[3], [LOG.verifier], POLICY)
    proof = proof_of(3)
    line = proof.note.splitlines()[-1].split(" ")[-1]
    data = bytearray(base64.b64decode(line))
    data[20] ^= 1
    forged = LogProof(3, proof.hashes, proof.note.replace(line, base64.b64encode(data).decode()))
    with pytest.raises(NoteForged, match=r"w2\.local"):
        forged.check(LEAVES[3], [LOG.verifier], POLICY)


def test_the_published_example_is_read():
    proof = LogProof.parse(C2SP)
    assert (proof.index, len(proof.hashes)) == (73894, 5)
    assert Checkpoint.parse(proof.note.rpartition("\n")[0]).size == 109482


@pytest.mark.parametrize(
    "text",
    [
        "",
        C2SP.replace("@v1", "@v2"),
        C2SP.replace("index 73894", "index 073894"),
        C2SP.replace("index 73894\n", ""),
        C2SP.replace("gSKy", "gSK"),
        C2SP.replace("gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=", "AAAA"),
    ],
)
def test_what_is_no_proof_is_refused(text):
    with pytest.raises(NoteMalformed):
        LogProof.parse(text)
