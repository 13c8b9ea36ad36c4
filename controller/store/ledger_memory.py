"""A ledger in memory: the same answers as the file, for tests and what-if questions. Nothing survives the process."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from controller.ledger.entries import MOVING, EntryState, Posting, SealedEntry
from controller.ledger.state import Account, Balance
from controller.ledger.trial import trial_balance
from controller.ledger.vault import Vault
from controller.store.ledger_rows import EntryRow, entry_period, member_owners
from devices.clock import Instant


class EntryTaken(ValueError):
    """The number or the id of an entry is in the store already, or a number was left out."""


class MemoryLedger:
    """See `controller.store.ledger_port.LedgerStore`."""

    path = ":memory:"

    def __init__(self) -> None:
        self.vault = Vault({})
        self._rows: list[EntryRow] = []
        self._postings: list[tuple[Posting, ...]] = []
        self._seq: dict[str, int] = {}
        self._accounts: dict[str, Account] = {}
        self._balances: dict[tuple[str, str], Balance] = {}
        self._checkpoints: dict[int, str] = {}

    def begin(self) -> None:
        """Does nothing: a commit takes nothing away from memory, and adds nothing."""

    commit = begin
    close = begin

    def add_entry(self, seq: int, sealed: SealedEntry) -> None:
        """Adds the entry with number `seq`.

        Raises:
            EntryTaken: not the next number, or the id is there already.
        """
        entry = sealed.entry
        if seq != len(self._rows) or entry.id in self._seq:
            raise EntryTaken(f"entry {seq} {entry.id} after {len(self._rows)} entries")
        period, member = entry_period(sealed)
        state = entry.state.value
        self._rows.append(EntryRow(seq, entry.id, entry.kind, state, period, member, sealed.document, sealed.leaf))
        self._postings.append(entry.postings)
        self._seq[entry.id] = seq

    def add_payload(self, seq: int, member: str, sealed: bytes) -> None:
        """Adds what of the entry `seq` is a member's own."""
        row = self._rows[seq]
        opened = self.vault.open_named(member_owners(member), row.id, sealed)
        salt = self.vault.salt(self.vault.named_owner(member_owners(member), sealed), row.id)
        self._rows[seq] = replace(row, opened=opened, salt=salt)

    def put_balances(self, balances: Iterable[tuple[tuple[str, str], Balance]]) -> None:
        """Writes what accounts hold now."""
        self._balances.update((key, Balance(held.posted, held.pending)) for key, held in balances)

    def put_account(self, name: str, account: Account) -> None:
        """Writes an opened account, or its new limits."""
        self._accounts[name] = Account(account.floor, account.ceiling)

    def add_checkpoint(self, size: int, note: str) -> None:
        """Writes a signed tree head; the first one of a size stays."""
        self._checkpoints.setdefault(size, note)

    def entry(self, seq: int) -> EntryRow | None:
        """Returns the entry with a number."""
        return self._rows[seq] if 0 <= seq < len(self._rows) else None

    def entries(self, first: int = 0, *, only: Collection[str] = (), but: Collection[str] = ()) -> Iterator[EntryRow]:
        """Yields the log from number `first` on, in order; only some kinds, or all but some, if given."""
        for row in self._rows[first:]:
            if row.kind not in but and (not only or row.kind in only):
                yield row

    def trial_balance(self, until: Instant) -> dict[tuple[str, str], int]:
        """Returns what everything booked before `until` adds up to, by (account, asset) in order, without zeros."""
        entries = (row.sealed().entry for row in self._rows)
        return trial_balance(((one.at, one.postings) for one in entries if one.state in MOVING), until)

    def by_id(self, identity: str) -> EntryRow | None:
        """Returns the entry with an id."""
        seq = self._seq.get(identity)
        return None if seq is None else self._rows[seq]

    def of_kind(self, kind: str, first: int = 0) -> list[EntryRow]:
        """Returns the entries of a kind from number `first` on, oldest first."""
        return [row for row in self._rows[first:] if row.kind == kind]

    def of_period(self, period: str, kinds: Sequence[str] = ()) -> list[EntryRow]:
        """Returns the entries of a day or bill period, oldest first; only those of some kinds if given."""
        rows = (row for row in self._rows if period and row.period == period)
        return [row for row in rows if not kinds or row.kind in kinds]

    def latest(self, before: int | None, limit: int, account: str | None = None) -> list[EntryRow]:
        """Returns up to `limit` entries before number `before`, newest first; only those of `account` if given."""
        rows = reversed(self._rows[:before])
        if account is not None:
            rows = (row for row in rows if any(p.account == account for p in self._postings[row.seq]))
        return [row for row, _ in zip(rows, range(limit), strict=False)]

    def resolutions(self) -> list[EntryRow]:
        """Returns the entries that are not plainly posted, oldest first."""
        return [row for row in self._rows if row.state != EntryState.POSTED]

    def identities(self) -> list[tuple[str, bytes]]:
        """Returns (id, leaf) of every entry in order."""
        return [(row.id, row.leaf) for row in self._rows]

    def leaves(self, first: int = 0, limit: int = -1) -> list[bytes]:
        """Returns the leaf hashes from number `first` on (-1: all)."""
        return [row.leaf for row in self._rows[first : None if limit < 0 else first + limit]]

    def size(self) -> int:
        """Returns the number of entries."""
        return len(self._rows)

    def accounts(self) -> dict[str, Account]:
        """Returns the opened accounts with their limits."""
        return {name: Account(account.floor, account.ceiling) for name, account in self._accounts.items()}

    def balances(self) -> dict[tuple[str, str], Balance]:
        """Returns what accounts hold, in order of (account, asset)."""
        return {key: Balance(held.posted, held.pending) for key, held in sorted(self._balances.items())}

    def checkpoints(self) -> list[tuple[int, str]]:
        """Returns (size, note) of every signed tree head, oldest first."""
        return sorted(self._checkpoints.items())

    def last_checkpoint(self) -> tuple[int, str] | None:
        """Returns (size, note) of the newest signed tree head."""
        return max(self._checkpoints.items(), default=None)
