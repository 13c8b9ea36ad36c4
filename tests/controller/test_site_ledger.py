"""`[ledger]` and member keys in the site file."""

from __future__ import annotations

from controller.ledger.cosign import Algorithm, CosignKey
from controller.ledger.identity import SigningKey
from controller.site import load
from tests.controller.test_site import VILLAGE, problems

KEYS = [CosignKey(f"w{n}.local", Algorithm.ED25519, bytes([n] * 32)).cosigner.text() for n in range(4)]
DID = SigningKey(bytes(32)).did


def with_witnesses(*keys: str, more: str = "") -> str:
    rows = "".join(
        f'\n[[ledger.witnesses]]\nurl = "http://w{n}.local:8440"\nkeys = [{key}]\n' for n, key in enumerate(keys)
    )
    return f"{VILLAGE}\n[ledger]\n{more}{rows}"


def test_without_a_quorum_more_than_half_of_the_witnesses_must_cosign():
    assert load(VILLAGE, "site.toml").ledger.quorum == 0
    spec = load(with_witnesses(*(f'"{key}"' for key in KEYS[:3])), "site.toml").ledger
    assert (spec.quorum, len(spec.policy().cosigners)) == (2, 3)
    assert load(with_witnesses(f'"{KEYS[0]}"', more="alarm_after_min = 5\n"), "site.toml").ledger.alarm_after_min == 5


def test_a_member_s_key_is_read():
    text = VILLAGE.replace('[[member]]\nid = "home-01"', f'[[member]]\nkey = "{DID}"\nid = "home-01"', 1)
    assert text != VILLAGE
    assert load(text, "site.toml").ledger.member_keys == {"home-01": DID}
    twice = text.replace('[[member]]\nid = "home-02"', f'[[member]]\nkey = "{DID}"\nid = "home-02"', 1)
    assert [problem.code for problem in problems(twice)] == ["SITE-094"]
    assert [problem.code for problem in problems(text.replace(DID, "did:key:z6Mk" + 44 * "1"))] == ["SITE-093"]


def test_what_cannot_be_a_witness_is_told():
    assert [p.code for p in problems(with_witnesses(f'"{KEYS[0][:-3]}"'))] == ["SITE-090"]
    assert [p.code for p in problems(with_witnesses(f'"{KEYS[0]}"', f'"{KEYS[0]}"'))] == ["SITE-091"]
    assert [p.code for p in problems(with_witnesses(f'"{KEYS[0]}", "{KEYS[1]}"'))] == ["SITE-091", "SITE-091"]
    assert [p.code for p in problems(with_witnesses(f'"{KEYS[0]}"', more="quorum = 2\n"))] == ["SITE-092"]
