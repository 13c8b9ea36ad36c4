"""Who signed: did:key names of Ed25519 keys, and signatures over canonical documents.

    key = SigningKey(seed)                       # 32 random bytes, on the member's own stick or phone
    paper = sign_document("ballot", {...}, key)  # {"document", "purpose", "signature", "signer"}
    verify_document("ballot", paper)             # -> (signer, document), or BadSignature

A signature is over `atoll/<purpose>/v1`, a newline and the document's RFC 8785 bytes: what was signed for one
purpose (a ballot) is never good for another (an approval).

Source: W3C CCG did:key 0.9, section 2 (multicodec 0xed01, base58-btc multibase `z`); RFC 8032.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import NewType

import base58
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from controller.ledger.canonical import Json, encode

Did = NewType("Did", str)
"""The name of a key: `did:key:z6Mk...`."""

ED25519_CODE = b"\xed\x01"
PREFIX = "did:key:z"
DID_LENGTH = len("did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK")
PURPOSE = re.compile(r"[a-z0-9][a-z0-9.-]{0,39}")
PARTS = {"document", "purpose", "signature", "signer"}


class BadDid(ValueError):
    """Not the one form of a did:key of an Ed25519 key."""


class BadSignature(ValueError):
    """A signed document that must not be counted."""


def did_of(public_key: bytes) -> Did:
    """Returns the did:key of a 32-byte Ed25519 public key."""
    return Did(PREFIX + base58.b58encode(ED25519_CODE + public_key).decode())


def public_key_of(did: str) -> bytes:
    """Returns the 32-byte Ed25519 public key that a did:key names.

    Raises:
        BadDid: another method, another kind of key, or not in its one form.
    """
    if not did.startswith(PREFIX) or len(did) > DID_LENGTH + 1:
        raise BadDid(f"{did[:80]!r} is not did:key:z6Mk… (`atoll key show FILE` prints yours)")
    try:
        data = base58.b58decode(did.removeprefix(PREFIX))
    except ValueError as error:
        raise BadDid(f"{did!r} is not base58: a letter is wrong") from error
    if len(data) != 34 or data[:2] != ED25519_CODE or did_of(data[2:]) != did:
        raise BadDid(f"{did!r} is not the name of an Ed25519 key")
    return data[2:]


class SigningKey:
    """A private key of a member or a device."""

    __slots__ = ("_key", "did")

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.did = did_of(self._key.public_key().public_bytes_raw())

    def sign(self, purpose: str, data: bytes) -> bytes:
        """Returns the 64-byte signature over bytes for one purpose."""
        return self._key.sign(message(purpose, data))


def message(purpose: str, data: bytes) -> bytes:
    """Returns the bytes that are signed for a purpose.

    Raises:
        ValueError: the purpose is not a short lower-case word.
    """
    if PURPOSE.fullmatch(purpose) is None:
        raise ValueError(f"purpose {purpose!r} is not a word of a-z, 0-9, `-` and `.`")
    return f"atoll/{purpose}/v1\n".encode() + data


def verify(did: str, purpose: str, data: bytes, signature: bytes) -> bool:
    """Returns whether `signature` is the key's over the bytes for that purpose; a name that is none gives False."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key_of(did)).verify(signature, message(purpose, data))
    except (BadDid, InvalidSignature):
        return False
    return True


def sign_document(purpose: str, document: Mapping[str, Json], key: SigningKey) -> dict[str, Json]:
    """Returns a document with its signature: what `atoll key sign` writes.

    Raises:
        NotCanonical: the document holds a float or an integer of 2^53 or more.
    """
    signature = key.sign(purpose, encode(dict(document)))
    return {
        "document": dict(document),
        "purpose": purpose,
        "signer": key.did,
        "signature": base64.b64encode(signature).decode(),
    }


def verify_document(purpose: str, paper: Json) -> tuple[Did, Mapping[str, Json]]:
    """Returns (signer, document) of what `sign_document` made.

    Raises:
        BadSignature: it is none, was signed for something else, or was altered.
    """
    if not isinstance(paper, Mapping) or set(paper) != PARTS:
        raise BadSignature(f"a signed document has the parts {', '.join(sorted(PARTS))} and no others")
    document, signer, signature = paper["document"], paper["signer"], paper["signature"]
    if paper["purpose"] != purpose:
        raise BadSignature(f"it was signed as {paper['purpose']!r}, not as {purpose!r}")
    if not isinstance(document, Mapping) or not isinstance(signer, str) or not isinstance(signature, str):
        raise BadSignature("document is an object, signer and signature are texts")
    try:
        data = base64.b64decode(signature, validate=True)
        public_key_of(signer)
    except (binascii.Error, ValueError) as error:
        raise BadSignature(str(error)) from error
    if not verify(signer, purpose, encode(dict(document)), data):
        raise BadSignature(f"the signature of {signer} does not match the document: one of them was altered")
    return Did(signer), document
