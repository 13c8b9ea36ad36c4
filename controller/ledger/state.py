"""What the book holds, and how a written entry changes it: `absorb` folds the log into a `LedgerState`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.ledger import orders
from controller.ledger.canonical import Json
from controller.ledger.entries import Entry, EntryState, Posting, SealedEntry
from controller.ledger.orders import RULED_KINDS
from devices.clock import Instant

START = Instant(0)
STATE_KINDS = frozenset((*RULED_KINDS, orders.CHARTER, orders.OFFICERS))
"""Kinds of which the state keeps more than their postings."""


@dataclass(slots=True)
class Account:
    """An account and its limits on posted plus pending, per asset."""

    floor: int | None = None
    ceiling: int | None = None
    lifeline: bool = False


@dataclass(slots=True)
class Balance:
    """What an account holds of one asset."""

    posted: int = 0
    pending: int = 0


@dataclass(frozen=True, slots=True)
class Closing:
    """A close that one person has asked for."""

    until: Instant
    trial: str
    by: str
    actor: str = ""  # who was logged in, '' in logs from before that was asked
    key: str = ""  # with which it is signed


@dataclass(frozen=True, slots=True)
class Agreed:
    """One approval of a pending entry."""

    role: str
    actor: str  # who was logged in, '' in logs from before that was asked


@dataclass(slots=True)
class LedgerState:
    """Everything that `apply` looks at; owned by one loop, changed by `absorb` only."""

    accounts: dict[str, Account] = field(default_factory=dict[str, Account])
    balances: dict[tuple[str, str], Balance] = field(default_factory=dict[tuple[str, str], Balance])
    leaves: dict[str, bytes] = field(default_factory=dict[str, bytes])  # entry id -> leaf hash
    pending: dict[str, Entry] = field(default_factory=dict[str, Entry])
    settled: dict[str, Entry] = field(default_factory=dict[str, Entry])  # what was pending: repeats get their answer
    reversed: set[str] = field(default_factory=set[str])
    approvals: dict[str, dict[str, Agreed]] = field(default_factory=dict[str, dict[str, Agreed]])  # pending -> name
    lifelines: set[str] = field(default_factory=set[str])  # accounts that a charter has made lifelines
    closings: dict[str, Closing] = field(default_factory=dict[str, Closing])  # asked for, not agreed yet
    officers: dict[str, str] | None = None  # who may close -> did:key or ''; None while the rules do not say `named`
    sealed_until: Instant = START  # nothing that moves amounts is booked before this any more

    def imbalance(self) -> int:
        """Returns the largest |sum of all balances| over the assets: 0, or the ledger is broken."""
        sums: dict[str, int] = {}
        for (_, asset), balance in self.balances.items():
            sums[asset] = sums.get(asset, 0) + balance.posted
        return max((abs(total) for total in sums.values()), default=0)


def absorb(state: LedgerState, sealed: SealedEntry) -> None:
    """Folds a written entry into the state; replaying a log from its first entry gives the same state."""
    entry = sealed.entry
    state.leaves[entry.id] = sealed.leaf
    match entry.state:
        case EntryState.POSTED:
            _move(state, entry.postings, 1, 0)
            if entry.kind in STATE_KINDS:
                absorb_rule(state, entry)
        case EntryState.PENDING:
            state.pending[entry.id] = entry
            _move(state, entry.postings, 0, 1)
        case EntryState.POST:
            state.settled[entry.refers] = state.pending.pop(entry.refers)
            state.approvals.pop(entry.refers, None)
            _move(state, entry.postings, 1, -1)
        case EntryState.VOID | EntryState.EXPIRE:
            state.settled[entry.refers] = state.pending.pop(entry.refers)
            state.approvals.pop(entry.refers, None)
            _move(state, entry.postings, 0, -1)
        case EntryState.REVERSAL:
            state.reversed.add(entry.refers)
            _move(state, entry.postings, 1, 0)


def absorb_rule(state: LedgerState, entry: Entry) -> None:
    """Folds an entry of STATE_KINDS into the state: accounts and limits, officers, approvals, closed periods."""
    body = entry.body
    match entry.kind:
        case orders.ACCOUNT_OPENED:
            floor, ceiling = _limit(body.get("floor")), _limit(body.get("ceiling"))
            state.accounts[str(body["account"])] = Account(floor, ceiling, body.get("lifeline") is True)
        case orders.ACCOUNT_LIMITS:
            name = str(body["account"])
            lifeline = state.accounts[name].lifeline
            state.accounts[name] = Account(_limit(body.get("floor")), _limit(body.get("ceiling")), lifeline)
        case orders.CHARTER:
            state.lifelines |= lifelines_in(body)
        case orders.APPROVAL:
            of = str(body["proposal"])
            if of in state.pending:
                agreed = Agreed(str(body["role"]), str(body.get("actor", "")))
                state.approvals.setdefault(of, {})[str(body["by"])] = agreed
        case orders.PERIOD_CLOSING:
            by, actor = str(body["by"]), str(body.get("actor", ""))
            key = (state.officers or {}).get(by, "")
            state.closings[entry.id] = Closing(Instant(int(str(body["until"]))), str(body["trial"]), by, actor, key)
        case orders.OFFICERS:
            if state.officers is not None or body.get(orders.CLOSE) == orders.NAMED:
                state.officers = _officers(body.get("officers"))
        case _:  # period.close
            state.sealed_until = Instant(max(state.sealed_until, int(str(body["until"]))))
            state.closings = {key: one for key, one in state.closings.items() if one.until > state.sealed_until}


def roles_of(state: LedgerState, pending: str) -> dict[str, str]:
    """Returns who has approved a pending entry, and in which role."""
    return {name: one.role for name, one in state.approvals.get(pending, {}).items()}


def lifelines_in(body: Mapping[str, Json]) -> set[str]:
    """Returns the accounts that a charter's entry makes lifelines: what whoever has one, and clinics, take and owe.

    They take whatever they owe (no credit that runs out stops a supply), and owe whatever they take. No later charter
    takes it back: a vote decides what a lifeline holds and costs, not that its owner is supplied and billed.
    """
    rows = body.get("members")
    members = [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []
    return {
        f"member:{row.get('id')}:{what}"
        for row in members
        if row.get("role") == "clinic" or (row.get("lifeline") is True and row.get("role") != "community")
        for what in ("used", "owes")
    }


def _move(state: LedgerState, postings: tuple[Posting, ...], posted: int, pending: int) -> None:
    balances = state.balances
    for posting in postings:
        key = posting.account, posting.asset
        balance = balances.get(key)
        if balance is None:
            balance = balances[key] = Balance()
        balance.posted += posted * posting.amount
        balance.pending += pending * posting.amount


def _officers(rows: Json) -> dict[str, str]:
    found: dict[str, str] = {}
    for row in rows if isinstance(rows, list) else ():
        match row:
            case [str() as name, str(), str() as key]:
                found[name] = key
            case _:
                pass
    return found


def _limit(value: Json) -> int | None:
    return None if value is None else int(str(value))
