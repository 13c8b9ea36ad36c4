"""Entries that stand or fall together: all commands of a chain are written, or none.

Each entry of a chain says so in its document (`link`: position, count), and they lie one after the other in the log,
so whoever reads it sees a chain that was torn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from controller.ledger.core import apply
from controller.ledger.entries import Entry, Posting, SealedEntry
from controller.ledger.orders import (
    Approve,
    Command,
    Duplicate,
    ExpirePending,
    Post,
    PostPending,
    Rejection,
    RejectionCode,
    Reserve,
    Reverse,
    VoidPending,
)
from controller.ledger.state import Balance, LedgerState, absorb

LINKED_MAX = 1_000


def apply_linked(state: LedgerState, commands: Sequence[Command]) -> tuple[SealedEntry, ...] | Duplicate | Rejection:
    """Returns the entries that the commands would write together, or why none of them is written; changes nothing.

    Duplicate (of the first id) means that the very same chain stands in the ledger already.
    """
    count = len(commands)
    if not 1 <= count <= LINKED_MAX:
        return Rejection(RejectionCode.BROKEN_LINK, f"a chain has 1 to {LINKED_MAX} entries, not {count}")
    if len({command.id for command in commands}) < count:
        return Rejection(RejectionCode.BROKEN_LINK, "a chain names the same id twice; every entry has its own")
    scratch = _touched(state, commands)
    made: list[SealedEntry] = []
    repeated = 0
    for position, command in enumerate(commands, 1):
        outcome = apply(scratch, command, (position, count))
        match outcome:
            case Rejection():
                where = f"{position} of {count} linked entries: "
                return replace(outcome, message=where + outcome.message)
            case Duplicate():
                repeated += 1
            case SealedEntry():
                made.append(outcome)
                absorb(scratch, outcome)
    if repeated == count:
        return Duplicate(commands[0].id)
    if repeated:
        message = f"{repeated} of {count} linked entries stand in the ledger already, the others do not"
        return Rejection(RejectionCode.CONFLICT, message)
    return tuple(made)


class Chain:
    """Follows the links of a log, entry by entry."""

    def __init__(self) -> None:
        self._at: tuple[int, int] = (0, 0)

    def next(self, entry: Entry) -> str:
        """Returns what is wrong with the link of the next entry, or ''."""
        position, count = self._at
        open_still = position < count
        self._at = entry.link or (0, 0)
        if open_still and entry.link != (position + 1, count):
            return f"stands inside a chain of {count} linked entries, of which {position} are there"
        if not open_still and entry.link is not None and entry.link[0] != 1:
            return f"is number {entry.link[0]} of a chain whose beginning is missing"
        return ""


def _touched(state: LedgerState, commands: Sequence[Command]) -> LedgerState:
    """Returns a copy of only that part of the state which these commands look at or change."""
    scratch = LedgerState(
        lifelines=set(state.lifelines),
        closings=dict(state.closings),
        officers=state.officers,
        sealed_until=state.sealed_until,
    )  # fmt: skip - closings are few: those that one person has asked for
    for command in commands:
        for name in _ids(command):
            if name in state.leaves:
                scratch.leaves[name] = state.leaves[name]
            if name in state.pending:
                scratch.pending[name] = state.pending[name]
                scratch.approvals[name] = dict(state.approvals.get(name, {}))
            if name in state.settled:
                scratch.settled[name] = state.settled[name]
            if name in state.reversed:
                scratch.reversed.add(name)
        for posting in _postings(state, command):
            _copy_account(state, scratch, posting.account, posting.asset)
        account = getattr(command, "account", None)
        if account is not None:
            _copy_account(state, scratch, account, "")
    return scratch


def _ids(command: Command) -> Iterator[str]:
    yield command.id
    match command:
        case PostPending() | VoidPending() | ExpirePending() | Approve():
            yield command.pending
        case Reverse():
            yield command.target.entry.id
        case _:
            pass


def _postings(state: LedgerState, command: Command) -> Sequence[Posting]:
    match command:
        case Post() | Reserve():
            return command.postings
        case Reverse():
            return command.target.entry.postings
        case PostPending() | VoidPending() | ExpirePending():
            pending = state.pending.get(command.pending)
            return () if pending is None else pending.postings
        case _:
            return ()


def _copy_account(state: LedgerState, scratch: LedgerState, account: str, asset: str) -> None:
    if account in state.accounts:
        scratch.accounts[account] = state.accounts[account]
    held = state.balances.get((account, asset))
    if held is not None:
        scratch.balances.setdefault((account, asset), Balance(held.posted, held.pending))
