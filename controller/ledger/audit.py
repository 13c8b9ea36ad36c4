"""Judging a log again from its bytes: hashes, order, tree heads, and every entry by the rules that wrote it.

Each entry is turned back into the command that it came from, and `core.apply` must give the same bytes again. Trusts
no stored sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from controller.ledger.arriving import apply_entry, read_entry
from controller.ledger.entries import MOVING, Entry, SealedEntry
from controller.ledger.linked import Chain
from controller.ledger.merkle import Frontier, leaf_hash
from controller.ledger.note import Checkpoint, NoteError, Verifier, verify
from controller.ledger.orders import PERIOD_CLOSE, Duplicate, Rejection
from controller.ledger.state import LedgerState, absorb
from controller.ledger.trial import trial_balance, trial_root
from devices.clock import Instant


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: in which table, where in it, and what was seen."""

    table: str
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.table} {self.where}: {self.message}"


class LogAudit:
    """Replays a log entry by entry; `findings` grows, `state` and the roots are what the log really says."""

    def __init__(self, sizes: Iterable[int]) -> None:
        self.findings: list[Finding] = []
        self.state = LedgerState()
        self.roots: dict[int, bytes] = {}  # tree size -> root, for the sizes that were signed
        self._wanted = set(sizes)
        self._frontier = Frontier()
        self._written: dict[str, SealedEntry] = {}  # without texts: what a reversal and a close look back at
        self._chain = Chain()

    @property
    def size(self) -> int:
        """Returns the number of entries seen."""
        return self._frontier.size

    def root(self) -> bytes:
        """Returns the root over the entries seen."""
        return self._frontier.root()

    def entry(self, seq: int, document: bytes, leaf: bytes) -> Entry | None:
        """Judges the next entry; returns it, or None where its bytes say nothing."""
        where = f"entry {seq}"
        if seq != self._frontier.size:
            self._find(where, f"expected entry {self._frontier.size} here: entries are missing or doubled")
        computed = leaf_hash(document)
        if computed != leaf:
            self._find(where, f"its bytes hash to {computed.hex()[:16]}…, the table says {leaf.hex()[:16]}…")
        self._frontier.append(computed)
        if self._frontier.size in self._wanted:
            self.roots[self._frontier.size] = self._frontier.root()
        entry = read_entry(document)
        if isinstance(entry, Rejection):
            self._find(where, entry.message)
            return None
        problem = self._chain.next(entry) or self._judge(entry, document)
        if problem:
            self._find(where, f"{entry.kind} {entry.id}: {problem}")
        else:
            self._written[entry.id] = SealedEntry(replace(entry, body={}), b"", computed)
            absorb(self.state, SealedEntry(entry, document, computed))
        return entry

    def balances(self, stored: Mapping[tuple[str, str], tuple[int, int]]) -> None:
        """Compares the balances table with the sum of all entries."""
        computed = {key: (held.posted, held.pending) for key, held in self.state.balances.items()}
        for key in sorted(stored.keys() | computed.keys()):
            seen, right = stored.get(key), computed.get(key)
            if seen != right:
                message = f"the table says {_held(seen)}, the entries give {_held(right)}"
                self.findings.append(Finding("balances", f"{key[0]} {key[1]}", message))
        if self.state.imbalance():
            self.findings.append(Finding("balances", "all", f"sums differ from 0 by {self.state.imbalance()}"))

    def accounts(self, stored: Mapping[str, tuple[int | None, int | None]]) -> None:
        """Compares the accounts table with the entries that opened accounts."""
        computed = {name: (account.floor, account.ceiling) for name, account in self.state.accounts.items()}
        for name in sorted(stored.keys() | computed.keys()):
            if stored.get(name) != computed.get(name):
                message = f"the table says {stored.get(name)}, the entries {computed.get(name)}"
                self.findings.append(Finding("accounts", name, message))

    def checkpoint(self, size: int, note: str, verifier: Verifier) -> None:
        """Judges a signed tree head against the entries."""
        where = f"size {size}"
        try:
            text, _ = verify(note, [verifier])
            signed = Checkpoint.parse(text)
        except NoteError as error:
            self.findings.append(Finding("checkpoints", where, str(error)))
            return
        root = self.roots.get(size)
        if root is None:
            message = f"{signed.size} entries were signed, the log has {self.size}: entries are missing"
            self.findings.append(Finding("checkpoints", where, message))
        elif signed != Checkpoint(verifier.name, size, root):
            message = (
                f"signed {signed.origin} {signed.size} {signed.root.hex()[:16]}…, the entries give {root.hex()[:16]}…"
            )
            self.findings.append(Finding("checkpoints", where, message))

    def _judge(self, entry: Entry, document: bytes) -> str:
        """Returns what is wrong with an entry in its place, or ''."""
        match apply_entry(self.state, entry, document, self._written.get):
            case Rejection(code, message):
                return f"{code}: {message}"
            case Duplicate():
                return "this id was used before"
            case SealedEntry():
                return self._judge_trial(entry) if entry.kind == PERIOD_CLOSE else ""

    def _judge_trial(self, entry: Entry) -> str:
        """Compares the trial balance of a close, which the rules take from two people, with the entries before it."""
        moved = [(one.entry.at, one.entry.postings) for one in self._written.values() if one.entry.state in MOVING]
        root = trial_root(trial_balance(moved, Instant(int(str(entry.body["until"])))))
        if entry.body["trial"] == root:
            return ""
        return f"its trial balance is not that of the entries before it ({root[:16]}…)"

    def _find(self, where: str, message: str) -> None:
        self.findings.append(Finding("entries", where, message))


def _held(balance: tuple[int, int] | None) -> str:
    return "nothing" if balance is None else f"{balance[0]} (pending {balance[1]})"
