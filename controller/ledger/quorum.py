"""Who must agree before a pending entry becomes final: m of n people, some with a role, before a time is over.

The pending entry carries its quorum in its own body, so whoever reads the log can judge it without other rules:
`{"need": 2, "roles": {"treasurer": 1}, "who": {"ana": ["treasurer", ""], "ben": ["auditor", "did:key:z..."]}}`.
Somebody with a key signs; the others are believed by name, as the hub's log names them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass

from controller.ledger.canonical import Json, NotCanonical, encode
from controller.ledger.identity import SigningKey, verify
from devices.clock import Instant

QUORUM = "quorum"
APPROVING, CLOSING = "approval", "close"
"""The purposes for which an officer signs."""


@dataclass(frozen=True, slots=True)
class Approver:
    """Somebody who may approve; `key` is a did:key, '' for somebody believed by name."""

    role: str
    key: str


@dataclass(frozen=True, slots=True)
class Quorum:
    """`need` different people of `who`, and of them at least so many of each role."""

    need: int
    roles: Mapping[str, int]
    who: Mapping[str, Approver]

    def document(self) -> dict[str, Json]:
        """Returns the quorum as a pending entry's body holds it."""
        return {
            "need": self.need,
            "roles": dict(self.roles),
            "who": {name: [one.role, one.key] for name, one in self.who.items()},
        }

    def missing(self, approved: Mapping[str, str]) -> str:
        """Returns what is missing with these approvals (name -> role), '' if nothing is."""
        parts: list[str] = []
        if len(approved) < self.need:
            parts.append(f"{len(approved)} of {self.need} approvals are there")
        for role, count in self.roles.items():
            found = sum(one == role for one in approved.values())
            if found < count:
                parts.append(f"{found} of {count} by a {role}")
        return ", ".join(parts)


def quorum_of(body: Mapping[str, Json]) -> Quorum | None:
    """Returns the quorum that a pending entry asks for, None if it asks for none.

    Raises:
        NotCanonical: it is not understood, or could never be reached.
    """
    document = body.get(QUORUM)
    if document is None:
        return None
    match document:
        case {"need": int() as need, "roles": Mapping() as roles, "who": Mapping() as who} if need >= 1:
            people = {str(name): _approver(row) for name, row in who.items()}
            wanted = {str(role): _count(count) for role, count in roles.items()}
        case _:
            raise NotCanonical(f"quorum {document!r} is not {{need, roles, who}}")
    quorum = Quorum(need, wanted, people)
    short = quorum.missing({name: one.role for name, one in people.items()})
    if short:
        raise NotCanonical(f"its quorum can never be reached: with everybody's approval {short}")
    return quorum


def sign_approval(key: SigningKey, leaf: str) -> str:
    """Returns the signature (base64) that agrees to the entry with this leaf hash (hex), and to nothing else.

    `atoll key sign` makes the same one for the document {"leaf": LEAF} and the purpose `approval`.
    """
    return _sign(key, APPROVING, {"leaf": leaf})


def signed_by(key: str, leaf: str, signature: str) -> bool:
    """Returns whether `signature` (base64) agrees to the entry with this leaf hash (hex) by the did:key `key`."""
    return _signed(key, APPROVING, {"leaf": leaf}, signature)


def close_document(until: Instant, trial: str) -> dict[str, Json]:
    """Returns what an officer signs to close everything before `until` with this trial balance, purpose `close`."""
    return {"trial": trial, "until": until}


def sign_close(key: SigningKey, until: Instant, trial: str) -> str:
    """Returns the signature (base64) that closes a period with this trial balance, as `atoll key sign` makes it."""
    return _sign(key, CLOSING, close_document(until, trial))


def closed_by(key: str, until: Instant, trial: str, signature: str) -> bool:
    """Returns whether `signature` (base64) closes this very period by the did:key `key`."""
    return _signed(key, CLOSING, close_document(until, trial), signature)


def _sign(key: SigningKey, purpose: str, document: Mapping[str, Json]) -> str:
    return base64.b64encode(key.sign(purpose, encode(document))).decode()


def _signed(key: str, purpose: str, document: Mapping[str, Json], signature: str) -> bool:
    try:
        raw = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return False
    return verify(key, purpose, encode(document), raw)


def _approver(row: Json) -> Approver:
    match row:
        case [str() as role, str() as key]:
            return Approver(role, key)
        case _:
            raise NotCanonical(f"approver {row!r} is not [role, key]")


def _count(value: Json) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise NotCanonical(f"{value!r} is no number of people")
    return value
