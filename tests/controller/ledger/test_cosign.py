"""Cosignatures byte by byte as C2SP tlog-cosignature describes them, and policies over them."""

from __future__ import annotations

import base64
import hashlib
import struct

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from controller.ledger.cosign import (
    Algorithm,
    Cosigner,
    CosignKey,
    Policy,
    cosignatures,
    with_cosignatures,
)
from controller.ledger.merkle import leaf_hash
from controller.ledger.note import Checkpoint, NoteForged, NoteMalformed, Signer, sign, verify
from devices.clock import Instant

AT = Instant(1_679_315_147_123)
TEXT = Checkpoint("example.com/behind-the-sofa", 20852163, leaf_hash(b"root")).text()
LOG = Signer("example.com/behind-the-sofa", bytes(32))


def key(name: str, algorithm: Algorithm = Algorithm.ED25519) -> CosignKey:
    return CosignKey(name, algorithm, hashlib.sha256(f"{name}{algorithm}".encode()).digest())


def parts(line: str) -> tuple[str, bytes, int, bytes]:
    dash, name, encoded = line.rstrip("\n").split(" ")
    assert dash == "\u2014"
    data = base64.b64decode(encoded)
    return name, data[:4], struct.unpack(">Q", data[4:12])[0], data[12:]


def test_ed25519_signs_the_lines_of_the_specification():
    one = key("witness.example.com/w1")
    name, identity, seconds, signature = parts(one.cosign(TEXT, AT))
    message = b"cosignature/v1\ntime 1679315147\n" + TEXT.encode()
    Ed25519PublicKey.from_public_bytes(one.cosigner.public_key).verify(signature, message)
    assert (name, seconds) == ("witness.example.com/w1", 1679315147)
    assert identity == hashlib.sha256(b"witness.example.com/w1\n\x04" + one.cosigner.public_key).digest()[:4]


def test_ml_dsa_44_signs_the_structure_of_the_specification():
    one = key("w1", Algorithm.ML_DSA_44)
    _, identity, seconds, signature = parts(one.cosign(TEXT, AT))
    origin, size, root = TEXT.splitlines()
    message = b"subtree/v1\n\x00" + b"\x02w1" + struct.pack(">Q", seconds) + bytes([len(origin)]) + origin.encode()
    message += struct.pack(">QQ", 0, int(size)) + base64.b64decode(root)
    MLDSA44PublicKey.from_public_bytes(one.cosigner.public_key).verify(signature, message)
    assert len(signature) == 2420
    assert identity == hashlib.sha256(b"w1\n\x06" + one.cosigner.public_key).digest()[:4]


@pytest.mark.parametrize("algorithm", Algorithm)
def test_public_keys_are_read_back_and_judged(algorithm):
    text = key("school.local", algorithm).cosigner.text()
    assert Cosigner.parse(text).text() == text
    for wrong in (text[:-8], text.replace("school", "clinic"), "school.local", "", text.replace("+", " ")):
        with pytest.raises(NoteMalformed):
            Cosigner.parse(wrong)


@pytest.mark.parametrize("algorithm", Algorithm)
def test_a_cosignature_is_of_one_key_one_text_one_time(algorithm):
    one, note = key("school.local", algorithm), sign(TEXT, [LOG])
    good = note + one.cosign(TEXT, AT)
    assert cosignatures(good, [one.cosigner]) == [(one.cosigner, 1679315147)]
    assert cosignatures(good, [key("clinic.local", algorithm).cosigner]) == []
    other = Checkpoint("example.com/behind-the-sofa", 20852164, leaf_hash(b"root")).text()
    with pytest.raises(NoteForged):
        cosignatures(sign(other, [LOG]) + one.cosign(TEXT, AT), [one.cosigner])
    name, identity, seconds, signature = parts(one.cosign(TEXT, AT))
    for data in (struct.pack(">Q", seconds + 1) + signature, struct.pack(">Q", seconds) + signature[:-1]):
        line = f"\u2014 {name} {base64.b64encode(identity + data).decode()}\n"
        with pytest.raises(NoteForged):
            cosignatures(note + line, [one.cosigner])


def test_cosignatures_stand_beside_the_logs_own_signature():
    witnesses = [key(f"w{n}", algorithm) for n in range(3) for algorithm in Algorithm]
    lines = [one.cosign(TEXT, AT) for one in witnesses]
    known = [one.cosigner for one in witnesses]
    note = with_cosignatures(sign(TEXT, [LOG]), [*lines, *lines, key("stranger").cosign(TEXT, AT)], known)
    assert verify(note, [LOG.verifier]) == (TEXT, (LOG.verifier.name,))
    assert len(cosignatures(note, known)) == 6
    assert "stranger" not in note


def test_a_policy_counts_witnesses_not_signatures():
    witnesses = [key(f"w{n}", algorithm) for n in range(3) for algorithm in Algorithm]
    policy = Policy(tuple(one.cosigner for one in witnesses), 2)
    note = sign(TEXT, [LOG])
    both_of_one = note + "".join(one.cosign(TEXT, AT) for one in witnesses[:2])
    assert (policy.names(both_of_one), policy.met(both_of_one)) == (("w0",), False)
    assert policy.met(both_of_one + witnesses[2].cosign(TEXT, AT))


def test_sizes_of_proofs_with_three_witnesses():
    """20 hashes (a million entries) and the checkpoint: at most 1.6 kB with Ed25519, 11 kB with ML-DSA-44."""
    path = 20 * 45
    sizes = {
        algorithm: path
        + len(
            (sign(TEXT, [LOG]) + "".join(key(f"w{n}.example", algorithm).cosign(TEXT, AT) for n in range(3))).encode()
        )
        for algorithm in Algorithm
    }
    assert sizes[Algorithm.ED25519] <= 1_600
    assert sizes[Algorithm.ML_DSA_44] <= 11_000
