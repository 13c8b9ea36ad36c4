"""What is a person's own: encrypted under a key of theirs, with a salted hash of it in the log.

An owner is `member:ID/own`, or `point:ID/MEMBER` for the time in which a usage point is that member's (`member:ID` and
`point:ID` in ledgers from before, which named no key where it was used). The place (an entry's id, a record's page) is
bound into ciphertext and salt, so that nothing can be moved elsewhere. Without the key nothing can be read, and the
salt, which is made from the key, is gone too: the hash in the log says nothing any more. Nonces are made from the
content (RFC 5297's idea): the same text at the same place gives the same bytes, and two texts never share a nonce.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Collection, Mapping
from hashlib import sha256
from typing import NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 12
MARK_BYTES = 4
"""By so much of a hash of a key it is found again, where one of several has sealed what lies there."""
NAMED = b"KEY1"
"""What stands before the mark of a key in a sealed body; bodies from before keys had marks have neither."""
TAG_BYTES = 16
KEY_BYTES = 32
BROKEN = (InvalidTag, ValueError)
"""What decrypting raises where the bytes were altered."""


class Unreadable(LookupError):
    """There is no key: the owner's data were erased, or this machine never had it."""


class Altered(ValueError):
    """The bytes are not what was sealed with the key that is there."""


class Vault:
    """The keys of owners; knows no file."""

    def __init__(self, keys: Mapping[str, bytes], gone: Collection[tuple[str, bytes]] = ()) -> None:
        """Takes the keys by owner, and of those that were destroyed what `gone_key` has left."""
        self._gone = frozenset(gone)
        self._known = {owner.partition("/")[0] for owner in keys}
        self._ciphers = {owner: AESGCM(_derived(key, b"payload")) for owner, key in keys.items()}
        self._nonces = {owner: _derived(key, b"nonce") for owner, key in keys.items()}
        self._salts = {owner: _derived(key, b"salt") for owner, key in keys.items()}
        self._marks = {owner: mark_of(key) for owner, key in keys.items()}
        self._marked = {
            (owner.partition("/")[0], mark): (owner, self._ciphers[owner]) for owner, mark in self._marks.items()
        }

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

    def seal_marked(self, owner: str, place: str, text: bytes) -> bytes:
        """Returns the key's mark, then nonce, ciphertext and tag.

        Raises:
            Unreadable: there is no key.
        """
        return self._marks.get(owner, b"") + self.seal(owner, place, text)

    def owner_of(self, first: str, sealed: bytes) -> str:
        """Returns the owner (`first`, or `first/...`) whose key has sealed what begins with a mark.

        Raises:
            Unreadable: that key is not here.
            Altered: there never was such a key.
        """
        return self._found(first, sealed)[0]

    def open_marked(self, first: str, place: str, sealed: bytes) -> bytes:
        """Returns the text that `seal_marked` has sealed for `first`, or for `first/...`.

        Raises:
            Unreadable: there is no key.
            Altered: it is not what was sealed there.
        """
        cipher = self._found(first, sealed)[1]
        return _decrypted(cipher, first, place, sealed, MARK_BYTES)

    def opener(self, first: str, mark: bytes) -> Callable[[bytes, bytes, bytes], bytes]:
        """Returns what decrypts (nonce, ciphertext and tag, place) under one key: for who opens them by the thousand.

        Raises:
            Unreadable: there is no key.
            Altered: there never was such a key. What the opener raises is one of `BROKEN`.
        """
        return self._found(first, mark)[1].decrypt

    def _found(self, first: str, sealed: bytes) -> tuple[str, AESGCM]:
        found = self._marked.get((first, sealed[:MARK_BYTES]))
        if found is None:
            self._missing(first, sealed[:MARK_BYTES])
        return found

    def _missing(self, first: str, mark: bytes) -> NoReturn:
        if first in self._known and (first, mark) not in self._gone:
            raise Altered(f"it was altered: it names no key that {first} ever had")
        raise Unreadable(f"there is no such key of {first}")

    def seal_named(self, owner: str, place: str, text: bytes) -> bytes:
        """Returns what `open_named` opens: as `seal_marked`, and told from what was sealed before keys had marks.

        Raises:
            Unreadable: there is no key.
        """
        return NAMED + self.seal_marked(owner, place, text)

    def named_owner(self, first: str, sealed: bytes) -> str:
        """Returns the owner (`first`, or `first/...`) whose key has sealed something.

        Raises:
            Unreadable: that key is not here.
        """
        return self.owner_of(first, sealed[len(NAMED) :]) if sealed.startswith(NAMED) else first

    def open_named(self, first: str, place: str, sealed: bytes) -> bytes:
        """Returns the text that was sealed for `first`, or for `first/...`.

        Raises:
            Unreadable: there is no key.
            Altered: it is not what was sealed there.
        """
        if sealed.startswith(NAMED):
            return self.open_marked(first, place, sealed[len(NAMED) :])
        return self.open(first, place, sealed)

    def open(self, owner: str, place: str, sealed: bytes) -> bytes:
        """Returns the text.

        Raises:
            Unreadable: there is no key.
            Altered: it is not what was sealed there.
        """
        cipher = self._ciphers.get(owner)
        if cipher is None:
            self._missing(owner, b"")
        return _decrypted(cipher, owner, place, sealed, 0)


def mark_of(key: bytes) -> bytes:
    """Returns by what a key is named where it was used."""
    return _derived(key, b"mark")[:MARK_BYTES]


def gone_key(owner: str, key: bytes) -> tuple[str, bytes]:
    """Returns what is left of a key that is destroyed: what it was named by; what it has sealed is not altered then."""
    first, _, rest = owner.partition("/")
    return first, mark_of(key) if rest else b""


def _decrypted(cipher: AESGCM, owner: str, place: str, sealed: bytes, at: int) -> bytes:
    text = at + NONCE_BYTES
    try:
        return cipher.decrypt(sealed[at:text], sealed[text:], place.encode())
    except BROKEN as error:
        raise Altered(f"what lies at {place} of {owner} was altered") from error


def _derived(key: bytes, use: bytes) -> bytes:
    return hmac.digest(key, b"atoll vault v1 " + use, "sha256")
