"""Where the log's private key lies: `keys.db`.

Which key it is the log itself says, so that a crash in the middle of a rotation leaves a log that can be signed.
Rotation: the new key is made and on the disk (`fresh`), the entry that hands the log over is committed, and only then
the old key is destroyed (`settle`).
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import cast

from controller.ledger.log_keys import GENESIS, LOG_KEY, LogKey, next_key
from controller.ledger.log_policy import LogSigner
from controller.ledger.note import NoteError, Signer, Verifier
from controller.shell.journal import JournalDamaged
from controller.store.ledger_file import MEMORY
from controller.store.ledger_port import LedgerStore
from controller.store.member_keys import KEYS, open_keys, scrub

_NOW, _NEXT = "log", "log.next"


class LogKeyMissing(JournalDamaged):
    """The private key that this log is signed with is not beside it."""


def log_origin(site_id: str) -> str:
    """Returns the name of a community's log: its origin line and key name."""
    return f"{site_id}.atoll/ledger"


def simulation_seed(site_id: str) -> bytes:
    """Returns the seed of a ledger in memory: its signatures prove nothing, but equal runs give equal logs."""
    return hashlib.sha256(b"atoll simulation key " + site_id.encode()).digest()


def published_keys(store: LedgerStore) -> tuple[LogKey, ...]:
    """Returns the log's keys in the order of their entries; none in an empty log.

    Raises:
        NoteError: the first entry names no key, or one was not handed over by the one before.
    """
    keys: list[LogKey] = []
    first = store.entry(0)
    rows = [*([first] if first is not None and first.kind == GENESIS else []), *store.of_kind(LOG_KEY)]
    for row in rows:
        keys.append(next_key(keys, row.seq, row.sealed().entry.body))
    return tuple(keys)


class Keyring:
    """The log's private keys in `keys.db` beside one ledger file."""

    def __init__(self, ledger: str | Path, origin: str) -> None:
        self._memory = str(ledger) == MEMORY
        self._path = Path(ledger).parent / KEYS
        self._origin = origin

    @property
    def lasting(self) -> bool:
        """Returns whether there is a file that can hold a new key."""
        return not self._memory

    def signer(self, wanted: Verifier | None) -> Signer:
        """Returns the key that the log names (`wanted`), or a new one for an empty log.

        Raises:
            LogKeyMissing: `keys.db` has another one.
        """
        if self._memory:
            return Signer(self._origin, simulation_seed(self._origin.partition(".atoll/")[0]))
        seeds = self._seeds()
        if wanted is None and not seeds:
            return LogSigner(self._origin, self._add(_NOW))
        for name in (_NOW, _NEXT):
            signer = LogSigner(self._origin, seeds[name]) if name in seeds else None
            if signer is not None and wanted in (None, signer.verifier):
                if len(seeds) > 1:  # a rotation was cut off
                    self._keep(name)
                return signer
        assert wanted is not None
        raise LogKeyMissing(
            f"{self._path} has no private key of {wanted.text()}, which this log is signed with: bring back the keys.db"
            " that belongs to this ledger (a copy from before a rotation of the key cannot go on)"
        )

    def fresh(self) -> Signer:
        """Returns a new key, durable, in use only once the log says so."""
        return LogSigner(self._origin, self._add(_NEXT))

    def settle(self) -> None:
        """Puts the new key in the place of the old one, and destroys the old one and its traces."""
        self._keep(_NEXT)

    def _seeds(self) -> dict[str, bytes]:
        db = open_keys(self._path)
        try:
            rows = db.execute("SELECT name, seed FROM keys WHERE name IN (?, ?)", (_NOW, _NEXT)).fetchall()
            return dict(cast("list[tuple[str, bytes]]", rows))
        finally:
            db.close()

    def _add(self, name: str) -> bytes:
        seed = os.urandom(32)
        db = open_keys(self._path)
        try:
            db.execute("INSERT OR REPLACE INTO keys VALUES(?, ?)", (name, seed))
        finally:
            db.close()
        return seed

    def _keep(self, name: str) -> None:
        db = open_keys(self._path)
        try:
            db.execute("BEGIN IMMEDIATE")
            db.execute("DELETE FROM keys WHERE name = ?", (_NEXT if name == _NOW else _NOW,))
            db.execute("UPDATE keys SET name = ? WHERE name = ?", (_NOW, name))
            db.execute("COMMIT")
            scrub(db)
        finally:
            db.close()


def signer_for(store: LedgerStore, ledger: str | Path, origin: str) -> tuple[Signer, Keyring]:
    """Returns the key with which the ledger file at a path is signed now, and where it lies.

    Raises:
        LogKeyMissing: it is not there.
        JournalDamaged: the log names none.
    """
    keyring = Keyring(ledger, origin)
    try:
        keys = published_keys(store)
    except (NoteError, ValueError) as error:
        raise JournalDamaged(f"{ledger}: the log's own keys cannot be followed: {error}") from error
    return keyring.signer(keys[-1].verifier if keys else None), keyring
