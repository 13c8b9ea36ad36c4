"""A member's own key file: an Ed25519 key as PKCS #8 PEM, readable by its owner only, with a passphrase if wanted.

Any tool that knows PEM can use it (`openssl pkey -in FILE`); the file is the member's, the hub never sees it.
"""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from controller.ledger.identity import SigningKey


class KeyFileProblem(ValueError):
    """A key file that cannot be used or made."""


def new_key_file(path: Path, passphrase: str = "") -> SigningKey:
    """Makes a key and writes it; never over an existing file.

    Raises:
        KeyFileProblem: there is such a file, or it cannot be written.
    """
    key = Ed25519PrivateKey.generate()
    encryption = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    data = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise KeyFileProblem(f"{path} exists; a key is never written over") from error
    except OSError as error:
        raise KeyFileProblem(f"{path} cannot be written: {error.strerror}") from error
    with os.fdopen(number, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return SigningKey(key.private_bytes_raw())


def read_key_file(path: Path, passphrase: str = "") -> SigningKey:
    """Returns the key in a file.

    Raises:
        KeyFileProblem: no such file, not an Ed25519 key, or the passphrase is missing or wrong.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise KeyFileProblem(f"{path} cannot be read: {error.strerror}") from error
    try:
        key = load_pem_private_key(data, passphrase.encode() or None)
    except TypeError as error:
        what = "is not encrypted; leave the passphrase away" if passphrase else "needs its passphrase"
        raise KeyFileProblem(f"{path} {what}") from error
    except ValueError as error:
        what = "the passphrase is wrong, or it" if passphrase else "it"
        raise KeyFileProblem(f"{path} cannot be opened: {what} is not a PEM key") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileProblem(f"{path} holds another kind of key than Ed25519")
    return SigningKey(key.private_bytes_raw())
