"""What a ledger needs of any store: entries in order, accounts, balances and signed heads, durable at `commit`.

`LedgerFile` (SQLite) and `MemoryLedger` are the two that exist. A third one, a PostgreSQL say, is right when the suite
in `tests/controller/store/test_ledger_stores.py` passes on it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Protocol

from controller.ledger.entries import SealedEntry
from controller.ledger.state import Account, Balance
from controller.ledger.vault import Vault
from controller.store.ledger_rows import EntryRow
from devices.clock import Instant


class LedgerStore(Protocol):
    """One writer's store. What was written since the last `commit` is there for the writer, and gone after a crash."""

    @property
    def path(self) -> str:
        """Returns where it lies, for messages."""
        ...

    @property
    def vault(self) -> Vault:
        """Returns the members' keys that are here; what they open is opened in every row that is read."""
        ...

    def begin(self) -> None:
        """Starts a transaction unless one is open."""
        ...

    def commit(self) -> None:
        """Makes everything since the last commit durable."""
        ...

    def close(self) -> None:
        """Closes the store; what was not committed is gone."""
        ...

    def add_entry(self, seq: int, sealed: SealedEntry) -> None:
        """Adds the entry with number `seq`; numbers are 0, 1, 2, ..., and neither number nor id comes twice.

        One that is there already raises at once, or with the next read or commit.
        """
        ...

    def add_payload(self, seq: int, member: str, sealed: bytes) -> None:
        """Adds what of the entry `seq` is a member's own, sealed for it under the entry's id."""
        ...

    def put_balances(self, balances: Iterable[tuple[tuple[str, str], Balance]]) -> None:
        """Writes what accounts hold now."""
        ...

    def put_account(self, name: str, account: Account) -> None:
        """Writes an opened account, or its new limits."""
        ...

    def add_checkpoint(self, size: int, note: str) -> None:
        """Writes a signed tree head; the first one of a size stays."""
        ...

    def entry(self, seq: int) -> EntryRow | None:
        """Returns the entry with a number."""
        ...

    def entries(self, first: int = 0, *, only: Collection[str] = (), but: Collection[str] = ()) -> Iterator[EntryRow]:
        """Yields the log from number `first` on, in order; only some kinds, or all but some, if given."""
        ...

    def trial_balance(self, until: Instant) -> dict[tuple[str, str], int]:
        """Returns what everything booked before `until` adds up to, by (account, asset) in order, without zeros."""
        ...

    def by_id(self, identity: str) -> EntryRow | None:
        """Returns the entry with an id."""
        ...

    def of_kind(self, kind: str, first: int = 0) -> list[EntryRow]:
        """Returns the entries of a kind from number `first` on, oldest first."""
        ...

    def of_period(self, period: str, kinds: Sequence[str] = ()) -> list[EntryRow]:
        """Returns the entries of a day or bill period, oldest first; only those of some kinds if given."""
        ...

    def latest(self, before: int | None, limit: int, account: str | None = None) -> list[EntryRow]:
        """Returns up to `limit` entries before number `before`, newest first; only those of `account` if given."""
        ...

    def resolutions(self) -> list[EntryRow]:
        """Returns the entries that are not plainly posted, oldest first."""
        ...

    def identities(self) -> list[tuple[str, bytes]]:
        """Returns (id, leaf) of every entry in order."""
        ...

    def leaves(self, first: int = 0, limit: int = -1) -> list[bytes]:
        """Returns the leaf hashes from number `first` on (-1: all)."""
        ...

    def size(self) -> int:
        """Returns the number of entries."""
        ...

    def accounts(self) -> dict[str, Account]:
        """Returns the opened accounts with their limits."""
        ...

    def balances(self) -> dict[tuple[str, str], Balance]:
        """Returns what accounts hold, in order of (account, asset)."""
        ...

    def checkpoints(self) -> list[tuple[int, str]]:
        """Returns (size, note) of every signed tree head, oldest first."""
        ...

    def last_checkpoint(self) -> tuple[int, str] | None:
        """Returns (size, note) of the newest signed tree head."""
        ...
