"""What the console needs from the hub: one Protocol, and the ledger and series values that it shows.

Every method may be called from several threads at once and returns frozen values; none may block for
longer than its docstring says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from controller.commands import Command, CommandResult
from controller.community_values import CharterPage, MoneyPage
from controller.store.series import PointRange, Series
from controller.storm_values import StormView
from controller.views import HomeView, NowView, PlanView
from devices.clock import Instant
from devices.model import PointId


@dataclass(frozen=True, slots=True)
class HomeEntry:
    """One line of the list of homes."""

    id: str
    label: str
    used_today_wh: int
    lifeline_left_wh: int


@dataclass(frozen=True, slots=True)
class LedgerHead:
    """The tree head: how many entries there are, their root, and the signed checkpoint that says so."""

    at: Instant
    size: int
    root: str  # hex, SHA-256 tree of RFC 9162
    checkpoint: str  # C2SP signed note, "" before the first one


@dataclass(frozen=True, slots=True)
class LedgerPosting:
    """One leg of an entry; the amounts of one entry sum to zero per asset."""

    account: str
    asset: str
    amount: str  # exact decimal text with sign, in the asset's unit
    unit: str  # "kWh", "EUR", "L"


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One entry of the log as people read it."""

    seq: int  # leaf index, from 0
    at: Instant
    kind: str
    id: str
    text: str  # one line: what happened
    postings: tuple[LedgerPosting, ...] = ()


@dataclass(frozen=True, slots=True)
class LedgerProof:
    """An entry, its exact leaf bytes and the sibling hashes up to the root (RFC 9162 section 2.1.3)."""

    entry: LedgerEntry
    leaf: str  # the canonical JSON; the leaf hash is SHA-256(0x00 || its UTF-8 bytes)
    size: int  # of the tree that the proof is against
    path: tuple[str, ...]  # hex, lowest first
    root: str  # hex


@dataclass(frozen=True, slots=True)
class LedgerBalance:
    """The balance of one account in one asset."""

    account: str
    label: str
    asset: str
    amount: str  # exact decimal text with sign
    unit: str


class ConsoleSource(Protocol):
    """The hub as the console sees it."""

    def now(self) -> NowView:
        """Returns the view of the last cycle; never waits."""
        ...

    def plan(self, known: Instant | None = None) -> PlanView:
        """Returns the plan view of the last cycle, or of what was known at a time; reads a small file at most."""
        ...

    def storm(self) -> StormView:
        """Returns the Storm page of the last cycle; never waits."""
        ...

    def charter(self) -> CharterPage:
        """Returns the rules in force and every vote; reads what is new in the ledger."""
        ...

    def ballot(self, number: int, choice: str) -> Mapping[str, object] | None:
        """Returns the ballot to sign for a choice in an open vote, or None."""
        ...

    def vote_file(self, number: int) -> bytes | None:
        """Returns what a recount of a counted vote needs, or None."""
        ...

    def money(self) -> MoneyPage:
        """Returns the treasurer's page; reads what is new in the ledger."""
        ...

    def close_paper(self, period: str) -> Mapping[str, object] | None:
        """Returns what an officer with a key signs to close a period; None where that is no period."""
        ...

    def homes(self) -> tuple[HomeEntry, ...]:
        """Returns all households, in the order of the site file."""
        ...

    def home(self, home: str) -> HomeView | None:
        """Returns a household's page, or None when there is no such home."""
        ...

    def ledger_head(self) -> LedgerHead:
        """Returns the newest head."""
        ...

    def ledger_entries(self, before: int | None, limit: int) -> tuple[LedgerEntry, ...]:
        """Returns at most `limit` entries with seq < `before` (None: from the newest), newest first."""
        ...

    def ledger_entry(self, seq: int) -> LedgerProof | None:
        """Returns an entry with its proof against the newest head, or None."""
        ...

    def ledger_balances(self) -> tuple[LedgerBalance, ...]:
        """Returns all balances, ordered by asset and account."""
        ...

    def series(self, points: Sequence[PointId], start: Instant, end: Instant, step_ms: int) -> Series:
        """Returns means per step of [start, end)."""
        ...

    def ranges(self, points: Sequence[PointId], start: Instant, end: Instant) -> Mapping[PointId, PointRange]:
        """Returns every sample of [start, end)."""
        ...

    def command(self, command: Command) -> CommandResult:
        """Hands a command to the hub and returns its answer; waits at most about 3 s."""
        ...

    def changed(self, version: int, timeout_s: float) -> int:
        """Waits until `now().version` exceeds `version` or the time is over; returns the version then."""
        ...
