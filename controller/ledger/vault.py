"""What is a person's own: encrypted under a key of theirs, with a salted hash of it in the log.

An owner is `member:ID` or `point:ID`; the place (an entry's id, a record's page) is bound into ciphertext and salt,
so that nothing can be moved elsewhere. Without the key nothing can be read, and the salt, which is made from the
key, is gone too: the hash in the log says nothing any more. Nonces are made from the content (RFC 5297's idea):
the same text at the same place gives the same bytes, and two texts never share a nonce.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 12
TAG_BYTES = 16
KEY_BYTES = 32


class Unreadable(LookupError):
    """There is no key: the owner's data were erased, or this machine never had it."""


class Altered(ValueError):
    """The bytes are not what was sealed with the key that is there."""


class Vault:
    """The keys of owners; knows no file."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._ciphers = {owner: AESGCM(_derived(key, b"payload")) for owner, key in keys.items()}
        self._nonces = {owner: _derived(key, b"nonce") for owner, key in keys.items()}
        self._salts = {owner: _derived(key, b"salt") for owner, key in keys.items()}

    def has(self, owner: str) -> bool:
        """Returns whether there is a key of this owner."""
        return owner in self._ciphers

    def salt(self, owner: str, place: str) -> bytes:
        """Returns the 32-byte salt of what lies at a place.

        Raises:
            Unreadable: there is no key.
        """
        if owner not in self._salts:
            raise Unreadable(f"there is no key of {owner}")
        return hmac.digest(self._salts[owner], place.encode(), "sha256")

    def commitment(self, owner: str, place: str, text: bytes) -> str:
        """Returns the hex hash that the log holds in place of a text: SHA-256(salt || text).

        Raises:
            Unreadable: there is no key.
        """
        return sha256(self.salt(owner, place) + text).hexdigest()

    def seal(self, owner: str, place: str, text: bytes) -> bytes:
        """Returns nonce, ciphertext and tag.

        Raises:
            Unreadable: there is no key.
        """
        cipher = self._ciphers.get(owner)
        if cipher is None:
            raise Unreadable(f"there is no key of {owner}")
        where = place.encode()
        nonce = hmac.digest(self._nonces[owner], where + b"\0" + text, "sha256")[:NONCE_BYTES]
        return nonce + cipher.encrypt(nonce, text, where)

    def open(self, owner: str, place: str, sealed: bytes) -> bytes:
        """Returns the text.

        Raises:
            Unreadable: there is no key.
            Altered: it is not what was sealed there.
        """
        cipher = self._ciphers.get(owner)
        if cipher is None:
            raise Unreadable(f"there is no key of {owner}")
        try:
            return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], place.encode())
        except (InvalidTag, ValueError) as error:
            raise Altered(f"what lies at {place} of {owner} was altered") from error


def _derived(key: bytes, use: bytes) -> bytes:
    return hmac.digest(key, b"atoll vault v1 " + use, "sha256")
