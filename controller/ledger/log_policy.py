"""Who must have signed a head of the log, written into the log itself: its own two keys, and its witnesses.

A `log.policy` entry is in force for every tree that holds it, until the next one. Its body has `policy`, a C2SP
tlog-policy text, and `cosigner`, the log's own ML-DSA-44 key ('' where it has none). The log signs each head twice:
Ed25519 for everybody who reads C2SP notes, ML-DSA-44 for the day on which Ed25519 can be forged.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from controller.ledger.canonical import Json
from controller.ledger.cosign import Algorithm, Cosigner, CosignKey, Policy, cosignatures, split_note
from controller.ledger.note import Signer
from controller.ledger.policy import TrustPolicy, parse_policy, policy_text
from devices.clock import Instant

LOG_POLICY = "log.policy"
_PURPOSE = b"atoll log ml-dsa-44\n"


class LogSigner(Signer):
    """The log's private keys, both made of one 32-byte seed.

    The second is made of a hash of the seed: whoever computes the Ed25519 scalar from its public key has neither.
    """

    __slots__ = ("cosign_key",)

    def __init__(self, name: str, seed: bytes) -> None:
        super().__init__(name, seed)
        self.cosign_key = CosignKey(name, Algorithm.ML_DSA_44, sha256(_PURPOSE + seed).digest())


@dataclass(frozen=True, slots=True)
class LogPolicy:
    """A policy, and the number of the entry with which it came."""

    since: int
    cosigner: Cosigner | None
    witnesses: TrustPolicy

    def signed_twice(self, note: str) -> bool:
        """Returns whether the log's own second key, if it has one, has cosigned a head."""
        return self.cosigner is None or bool(cosignatures(note, [self.cosigner]))

    def lacking(self, note: str) -> str:
        """Returns what a head still lacks, or ''.

        Raises:
            NoteError: it is no signed note, or the line of a known key does not match.
        """
        if self.cosigner is not None and not self.signed_twice(note):
            return f"it is not cosigned by {self.cosigner.name} (ML-DSA-44)"
        if self.witnesses.met(note):
            return ""
        names = {cosigner.name for cosigner, _ in cosignatures(note, tuple(self.witnesses.witnesses.values()))}
        return f"it is cosigned by {', '.join(sorted(names)) or 'no witness'}; the log's policy asks for more"


def second_key(signer: Signer) -> CosignKey | None:
    """Returns the key with which the log cosigns its own heads, if it has one."""
    return signer.cosign_key if isinstance(signer, LogSigner) else None


def policy_body(signer: Signer, policy: Policy) -> dict[str, Json]:
    """Returns the body of the entry that puts a policy into force."""
    return _body(signer, policy_text(signer.verifier, policy))


def handed_over(body: Mapping[str, Json], signer: Signer) -> dict[str, Json]:
    """Returns the body of a standing policy with the keys of a log that has been handed over."""
    _, _, rest = str(body["policy"]).partition("\n")
    return _body(signer, f"log {signer.verifier.text()}\n{rest}")


def _body(signer: Signer, policy: str) -> dict[str, Json]:
    own = second_key(signer)
    return {"policy": policy, "cosigner": "" if own is None else own.cosigner.text()}


def read_policy(seq: int, body: Mapping[str, Json]) -> LogPolicy:
    """Returns the policy in a `log.policy` entry.

    Raises:
        ValueError: there is none (PolicyBroken), or its key is none (NoteMalformed).
    """
    key = str(body.get("cosigner", ""))
    return LogPolicy(seq, Cosigner.parse(key) if key else None, parse_policy(str(body.get("policy"))))


def policy_of(policies: Sequence[LogPolicy], size: int) -> LogPolicy | None:
    """Returns the policy in force for the tree of `size` entries, if there was one by then."""
    return next((policy for policy in reversed(policies) if policy.since < size), None)


def sign_head(signer: Signer, note: str, now: Instant) -> str:
    """Returns a signed head with the log's own cosignature, where it has a second key."""
    own = second_key(signer)
    return note if own is None else note + own.cosign(split_note(note)[0], now)


def without_own(note: str, signer: Signer) -> str:
    """Returns a head without the log's own cosignature; those of witnesses stay."""
    own = second_key(signer)
    if own is None:
        return note
    text, lines = split_note(note)
    mine = own.cosigner.id
    return text + "\n" + "".join(f"{line}\n" for line in lines if b64decode(line.split(" ")[-1])[:4] != mine)
