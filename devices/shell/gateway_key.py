"""The gateway's own key: made at its first start, in a file that only its owner may read."""

from __future__ import annotations

import os
from pathlib import Path

from devices.ocmf_keys import SigningKey

KEY_FILE = "gateway.key"


class KeyDamaged(OSError):
    """The key file cannot be used."""


def own_key(folder: Path) -> SigningKey:
    """Returns the key of the gateway that owns this folder, making it at the first start (mode 0600, on disk).

    Raises:
        KeyDamaged: the file holds no key, or others may read it.
    """
    path = folder / KEY_FILE
    if not path.exists():
        _make(path)
    if path.stat().st_mode & 0o077:
        raise KeyDamaged(
            f"{path} can be read by others: whoever reads it can sign meter records. Run: chmod 600 {path}"
        )
    try:
        return SigningKey.from_pem(path.read_bytes())
    except ValueError as error:
        raise KeyDamaged(
            f"{path} holds no key of a gateway ({error}). Put the file back from the backup; with a new key the hub"
            " refuses this gateway's signed days until an operator accepts it"
        ) from error


def _make(path: Path) -> None:
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(SigningKey.generate().pem())
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
