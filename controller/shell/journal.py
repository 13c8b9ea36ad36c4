"""The one writer of the log: core rules, tree, signed checkpoints and their tables, kept in step."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from controller.ledger.core import (
    ACCOUNT_OPENED,
    Command,
    Duplicate,
    LedgerState,
    Rejection,
    absorb,
    apply,
)
from controller.ledger.entries import EntryState, SealedEntry
from controller.ledger.merkle import Frontier
from controller.ledger.note import Checkpoint, Signer, sign
from controller.store.ledger_file import LedgerFile
from controller.store.sqlite import open_writer
from devices.clock import Instant

_KEYS_SCHEMA = "CREATE TABLE keys(name TEXT PRIMARY KEY, seed BLOB NOT NULL) STRICT"
_LOG_KEY = "log"


class BookRefused(RuntimeError):
    """The core refused an entry that the books themselves made: a bug, not bad input."""


class JournalDamaged(OSError):
    """The log in the file does not match its last signed checkpoint; nothing may be appended to it."""


class Journal:
    """Appends entries to one ledger file; durable after the file's commit."""

    def __init__(self, file: LedgerFile, signer: Signer, checkpoint_ms: int) -> None:
        self.file = file
        self.state = LedgerState()
        self._frontier = Frontier()
        self._signer = signer
        self._checkpoint_ms = checkpoint_ms
        self._signed_size = 0
        self._signed_at: Instant | None = None
        self._dirty: set[tuple[str, str]] = set()
        self._load()

    @property
    def origin(self) -> str:
        """Returns the log's name."""
        return self._signer.verifier.name

    @property
    def verifier(self) -> str:
        """Returns the log's public key as C2SP text."""
        return self._signer.verifier.text()

    @property
    def size(self) -> int:
        """Returns the number of entries, those not yet committed included."""
        return self._frontier.size

    def root(self) -> bytes:
        """Returns the tree root over all entries."""
        return self._frontier.root()

    def write(self, command: Command) -> SealedEntry | Duplicate | Rejection:
        """Judges a command and, if it stands, appends its entry; durable after `flush` and commit."""
        outcome = apply(self.state, command)
        if isinstance(outcome, SealedEntry):
            absorb(self.state, outcome)
            entry = outcome.entry
            self.file.add_entry(self._frontier.size, outcome)
            if entry.kind == ACCOUNT_OPENED and entry.state is EntryState.POSTED:
                name = str(entry.body["account"])
                self.file.put_account(name, self.state.accounts[name])
            self._frontier.append(outcome.leaf)
            self._dirty.update((posting.account, posting.asset) for posting in entry.postings)
        return outcome

    def must(self, command: Command) -> SealedEntry | Duplicate:
        """Writes an entry of our own making.

        Raises:
            BookRefused: the core rejected it.
        """
        outcome = self.write(command)
        if isinstance(outcome, Rejection):
            raise BookRefused(f"{outcome.code}: {outcome.message}")
        return outcome

    def flush(self, now: Instant, *, force: bool = False) -> None:
        """Writes balances, and a signed checkpoint when one is due."""
        if self._dirty:
            self.file.put_balances((key, self.state.balances[key]) for key in sorted(self._dirty))
            self._dirty.clear()
        due = self._signed_at is None or now - self._signed_at >= self._checkpoint_ms
        if self.size > self._signed_size and (due or force):
            checkpoint = Checkpoint(self.origin, self.size, self.root())
            self.file.add_checkpoint(self.size, sign(checkpoint.text(), [self._signer]))
            self._signed_size, self._signed_at = self.size, now

    def _load(self) -> None:
        last = self.file.last_checkpoint()
        for identity, leaf in self.file.identities():
            self.state.leaves[identity] = leaf
            self._frontier.append(leaf)
            if last is not None and self._frontier.size == last[0]:
                signed = Checkpoint(self.origin, self._frontier.size, self._frontier.root()).text()
                if not last[1].startswith(signed + "\n"):
                    raise JournalDamaged(
                        f"{self.file.path}: the first {last[0]} entries do not give the root that {self.origin} signed;"
                        " run `atoll ledger verify` and restore the file"
                    )
        if last is not None:
            if self._frontier.size < last[0]:
                raise JournalDamaged(f"{self.file.path}: {self._frontier.size} entries, but {last[0]} were signed")
            self._signed_size = last[0]
        self.state.accounts = self.file.accounts()
        self.state.balances = self.file.balances()
        for row in self.file.resolutions():
            entry = row.sealed().entry
            match entry.state:
                case EntryState.PENDING:
                    self.state.pending[entry.id] = entry
                case EntryState.REVERSAL:
                    self.state.reversed.add(entry.refers)
                case EntryState.POST | EntryState.VOID | EntryState.EXPIRE:
                    self.state.pending.pop(entry.refers, None)
                case EntryState.POSTED:
                    pass


def log_origin(site_id: str) -> str:
    """Returns the name of a community's log: its origin line and key name."""
    return f"{site_id}.atoll/ledger"


def log_seed(path: str | Path, site_id: str) -> bytes:
    """Returns the Ed25519 seed from `keys.db` beside the ledger, made on first use.

    A ledger in memory (simulation) gets a seed made from the site's id: its signatures prove nothing, but
    equal runs give equal logs.
    """
    if str(path) == ":memory:":
        return hashlib.sha256(b"atoll simulation key " + site_id.encode()).digest()
    keys = Path(path).parent / "keys.db"
    return _seed(keys, lambda: os.urandom(32))


def _seed(keys: Path, make: Callable[[], bytes]) -> bytes:
    if not keys.exists():
        keys.touch(mode=0o600)
    db = open_writer(keys, "FULL", _KEYS_SCHEMA, 1)
    try:
        rows = db.execute("SELECT seed FROM keys WHERE name = ?", (_LOG_KEY,)).fetchall()
        if rows and isinstance(rows[0][0], bytes):
            return rows[0][0]
        seed = make()
        db.execute("INSERT INTO keys VALUES(?, ?)", (_LOG_KEY, seed))
        return seed
    finally:
        db.close()
