"""Judging a log again from its bytes: hashes, order, balance, reversals, tree heads. Trusts no stored sum."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from controller.ledger.canonical import NotCanonical
from controller.ledger.core import APPROVAL, PERIOD_CLOSE, LedgerState, absorb, judge_accounts
from controller.ledger.entries import MOVING, Entry, EntryState, Posting, SealedEntry, UnknownVersion, totals, unseal
from controller.ledger.linked import Chain
from controller.ledger.merkle import Frontier, leaf_hash
from controller.ledger.note import Checkpoint, NoteError, Verifier, verify
from controller.ledger.quorum import quorum_of, signed_by
from controller.ledger.trial import Movement, trial_balance, trial_root


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
        self._posted: dict[str, tuple[Posting, ...]] = {}
        self._moved: list[Movement] = []
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
        try:
            entry = unseal(document)
        except UnknownVersion as error:
            self._find(where, f"cannot judge: {error}")
            return None
        except NotCanonical as error:
            self._find(where, str(error))
            return None
        problem = self._chain.next(entry) or self._judge(entry)
        if problem:
            self._find(where, f"{entry.kind} {entry.id}: {problem}")
        else:
            self._posted[entry.id] = entry.postings
            if entry.postings and entry.state in MOVING:
                self._moved.append((entry.at, entry.postings))
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

    def _judge(self, entry: Entry) -> str:
        """Returns what is wrong with an entry in its place, or ''."""
        if entry.id in self.state.leaves:
            return "this id was used before"
        for asset, total in totals(entry.postings).items():
            if total:
                return f"{asset} sums to {total}, not to 0"
        for posting in entry.postings:
            if posting.account not in self.state.accounts:
                return f"account {posting.account!r} was never opened"
        refused = judge_accounts(self.state, entry)
        if refused is not None:
            return f"{refused.code}: {refused.message}"
        if entry.kind == APPROVAL:
            return self._judge_approval(entry)
        if entry.kind == PERIOD_CLOSE:
            return self._judge_close(entry)
        if entry.state in (EntryState.POSTED, EntryState.PENDING):
            return "" if not entry.refers else f"refers to {entry.refers}"
        return self._judge_reference(entry)

    def _judge_approval(self, entry: Entry) -> str:
        body = entry.body
        of, by, leaf = str(body.get("proposal")), str(body.get("by")), str(body.get("leaf"))
        pending = self.state.pending.get(of)
        if pending is None or self.state.leaves[of].hex() != leaf:
            return f"approves {of}, which is not pending with this content"
        quorum = quorum_of(pending.body)
        who = None if quorum is None else quorum.who.get(by)
        if who is None or who.role != body.get("role"):
            return f"{by} may not approve {of}"
        signed = not who.key or signed_by(who.key, leaf, str(body.get("signature")))
        return "" if signed else f"the signature of {by} is not by {who.key}"

    def _judge_close(self, entry: Entry) -> str:
        body = entry.body
        asked = self.state.closings.get(str(body.get("asked")))
        if asked is None or asked.by == body.get("by"):
            return "closes a period without a second person"
        root = trial_root(trial_balance(self._moved, asked.until))
        same = asked.until == body.get("until") and body.get("trial") == asked.trial == root
        return "" if same else f"its trial balance is not that of the entries before it ({root[:16]}…)"

    def _judge_reference(self, entry: Entry) -> str:
        target = self._posted.get(entry.refers)
        if target is None:
            return f"{entry.state} of {entry.refers}, which is not there"
        if entry.state is EntryState.REVERSAL:
            if entry.refers in self.state.reversed:
                return f"reverses {entry.refers} a second time"
            exact = tuple(Posting(posting.account, posting.asset, -posting.amount) for posting in target)
            return "" if entry.postings == exact else f"is not the exact inverse of {entry.refers}"
        if entry.refers not in self.state.pending:
            return f"{entry.state} of {entry.refers}, which is not pending"
        if entry.state is EntryState.POST:
            quorum = quorum_of(self.state.pending[entry.refers].body)
            missing = "" if quorum is None else quorum.missing(self.state.approvals.get(entry.refers, {}))
            if missing:
                return f"was made final without its quorum: {missing}"
        return "" if entry.postings == target else f"has other postings than {entry.refers}"

    def _find(self, where: str, message: str) -> None:
        self.findings.append(Finding("entries", where, message))


def _held(balance: tuple[int, int] | None) -> str:
    return "nothing" if balance is None else f"{balance[0]} (pending {balance[1]})"
