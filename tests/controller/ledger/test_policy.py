"""Trust policies as text files (C2SP tlog-policy)."""

from __future__ import annotations

import pytest

from controller.ledger.cosign import Algorithm, CosignKey, Policy
from controller.ledger.note import Checkpoint, Signer, sign
from controller.ledger.policy import PolicyBroken, parse_policy, policy_text
from devices.clock import Instant

LOG = Signer("test.atoll/ledger", bytes(32))
NAMES = ("x1", "x2", "x3", "y1", "y2", "y3")
ED = {name: CosignKey(name, Algorithm.ED25519, bytes([n] * 32)) for n, name in enumerate(NAMES, 1)}
ML = {name: CosignKey(name, Algorithm.ML_DSA_44, bytes([n] * 32)) for n, name in enumerate(NAMES[:3], 1)}
TEXT = Checkpoint("test.atoll/ledger", 1, bytes(32)).text()
# Source: the example of C2SP tlog-policy.md, with keys filled in.
EXAMPLE = (
    f"log {LOG.verifier.text()}\n\n"
    + "".join(f"witness {name.upper()} {key.cosigner.text()}\n" for name, key in ED.items())
    + "group X-witnesses 2 X1 X2 X3\n \t\n # Y is another house\ngroup Y-witnesses any Y1 Y2 Y3\n"
    "\tgroup X-and-Y all  X-witnesses Y-witnesses \nquorum X-and-Y\n"
)


def note_by(*keys: CosignKey) -> str:
    return sign(TEXT, [LOG]) + "".join(key.cosign(TEXT, Instant(9000)) for key in keys)


def test_the_published_example_wants_two_of_x_and_one_of_y():
    policy = parse_policy(EXAMPLE)
    assert policy.logs == (LOG.verifier,)
    for names, met in [
        ("x1 x2 y3", True),
        ("x1 x2 x3", False),
        ("x1 y1 y2 y3", False),
        ("x2 x3 y1", True),
        ("", False),
    ]:
        assert policy.met(note_by(*(ED[name] for name in names.split()))) is met, names


def test_our_own_policy_survives_being_written_and_counts_a_witness_once():
    keys = [key.cosigner for name in NAMES[:3] for key in (ED[name], ML[name])]
    text = policy_text(LOG.verifier, Policy(tuple(keys), 2), {"x1": "http://x1.local:8440"})
    policy = parse_policy(text)
    assert "http://x1.local:8440" in text
    assert not policy.met(note_by(ED["x1"], ML["x1"]))  # one witness, two keys
    assert policy.met(note_by(ED["x1"], ML["x2"]))
    assert parse_policy(policy_text(LOG.verifier, Policy((), 0))).met(note_by())


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("quorum X-and-Y", "", "no quorum"),
        ("quorum X-and-Y", "quorum Z", "line 14: 'Z' is not defined above"),
        ("quorum X-and-Y", "quorum X1\nquorum X2", "second quorum"),
        ("all  X-witnesses", "all  X1 X-witnesses", "'X1' is in two groups"),
        ("X-witnesses 2", "X-witnesses 4", "'4' is not any, all or 1 to 3"),
        ("X-witnesses 2", "X-witnesses 02", "'02' is not any"),
        ("group X-witnesses 2", "group X1 2", "'X1' is taken"),
        ("witness X2", "witness none", "'none' is taken"),
        ("log ", "blog ", "line 1"),
    ],
)
def test_a_broken_policy_is_named_by_its_line(old, new, said):
    with pytest.raises(PolicyBroken, match=said.replace(".", r"\.")):
        parse_policy(EXAMPLE.replace(old, new, 1))


def test_the_same_key_under_another_name_is_refused():
    again = f"witness Z {ED['x1'].cosigner.text()}\nquorum"
    with pytest.raises(PolicyBroken, match="stands there twice"):
        parse_policy(EXAMPLE.replace("quorum", again, 1))
