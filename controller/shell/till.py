"""The till: a treasurer's requests carried out in one journal. Used by the hub's loop, and alone where no hub runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

from controller.commands import CommandResult
from controller.ledger.entries import is_entry_id
from controller.ledger.orders import AskClose, ClosePeriod, Command, Duplicate, Rejection, Reverse
from controller.ledger.state import Closing
from controller.ledger.trial import trial_root
from controller.money.cashbook import QUIET, CashBook, Receipt
from controller.money.closing import ClosingRefused, period_end
from controller.money.desk import Asked, Decision, Refused, Request, decide
from controller.money.due import due
from controller.money.told import told
from controller.shell.ballot_box import BallotBox
from controller.shell.journal import LogWriter
from controller.shell.key_desk import KeyDesk
from controller.shell.roster import Roster
from controller.store.ledger_port import LedgerStore
from devices.clock import Instant

IMPORT_MAX = 200
"""Lines of one import request; a longer file comes in several."""
DUE_ROUNDS_MAX = 100


@dataclass(slots=True)
class CashReader:
    """The cash book of a store, kept up to date by reading only what is new."""

    store: LedgerStore
    book: CashBook
    until: int = 0

    @classmethod
    def of(cls, store: LedgerStore) -> CashReader:
        """Returns a reader that has read nothing yet."""
        return cls(store, CashBook())

    def now(self) -> CashBook:
        """Returns the cash book as of the newest entry."""
        for row in self.store.entries(self.until, but=QUIET):
            self.until = row.seq + 1
            self.book.absorb(row.seq, row.sealed().entry, row.leaf)
        return self.book


class Till:
    """Carries out requests; durable after the journal's next commit."""

    def __init__(self, journal: LogWriter, keys: KeyDesk | None = None) -> None:
        self._journal = journal
        self._reader = CashReader.of(journal.store)
        self.votes = BallotBox(journal)
        self._keys = keys
        self.roster = Roster(journal, self.votes)

    def book(self) -> CashBook:
        """Returns the cash book, everything written so far included."""
        return self._reader.now()

    def ask(self, asked: Asked, request: Request) -> CommandResult:
        """Carries out one request, whole or not at all."""
        if not is_entry_id(asked.id):
            return CommandResult(asked.id, False, "bad-id", "a request carries a UUIDv7 made by its sender")
        known = self._journal.store.by_id(asked.id)
        if known is not None:  # asked before: decided as of then, so that a repeat is the very same entry
            asked = replace(asked, now=known.sealed().entry.at)
        if self._keys is not None and (refused := self._keys.revoked_of(asked, request)) is not None:
            return refused
        match request.get("do"):
            case "rotate-log-key" | "revoke-gateway" | "revoke-member" if self._keys is not None:
                return self._keys.ask(asked, request)
            case "import":
                return self._import(asked, request)
            case "cancel":
                return self._cancel(asked, request)
            case "close":
                return self._close(asked, request)
            case "member-join" | "member-leave":
                return self.roster.ask(asked, request)
            case "vote-open" | "vote-cast":
                return self.votes.ask(asked, request)
            case _:
                return self._carry_out(asked, decide(self.book(), self._journal.state, asked, request))

    def due(self, now: Instant) -> int:
        """Books what has fallen due; returns how many entries."""
        written = 0
        for _ in range(DUE_ROUNDS_MAX):
            outcomes = [self._journal.write(command) for command in due(self.book(), now)]
            fresh = sum(not isinstance(outcome, (Duplicate, Rejection)) for outcome in outcomes)
            written += fresh
            if not fresh:
                break
        return written

    def _carry_out(self, asked: Asked, decision: Decision | Refused) -> CommandResult:
        if isinstance(decision, Refused):
            return CommandResult(asked.id, False, decision.code, decision.message)
        for account in decision.open:
            if account.account not in self._journal.state.accounts:
                self._journal.must(account)
        return self._write(asked, decision.commands, decision.message)

    def _write(self, asked: Asked, commands: tuple[Command, ...], message: str) -> CommandResult:
        if len(commands) == 1:
            outcome = self._journal.write(commands[0])
        elif commands:
            outcome = self._journal.write_linked(commands)
        else:
            return CommandResult(asked.id, True, "duplicate", message)
        match outcome:
            case Rejection():
                return CommandResult(asked.id, False, outcome.code.value, told(outcome, self.book()))
            case Duplicate():
                return CommandResult(asked.id, True, "duplicate", message)
            case _:
                return CommandResult(asked.id, True, "ok", message)

    def _import(self, asked: Asked, request: Request) -> CommandResult:
        """Books lines of a bank's file one by one; each has an id of its own, so a repeat books nothing twice."""
        given = request.get("lines")
        lines = cast("list[object]", given) if isinstance(given, list) else []
        if not 1 <= len(lines) <= IMPORT_MAX:
            return CommandResult(asked.id, False, "bad-lines", f"an import has 1 to {IMPORT_MAX} lines")
        answers: list[str] = []
        for line in lines:
            fields = cast("dict[str, object]", line) if isinstance(line, dict) else {}
            answer = self.ask(Asked(str(fields.get("id")), asked.by, asked.now), {**fields, "do": "pay"})
            answers.append(f"{answer.code}\t{answer.message}")
        return CommandResult(asked.id, True, "ok", "\n".join(answers))

    def _cancel(self, asked: Asked, request: Request) -> CommandResult:
        number, reason = request.get("receipt"), str(request.get("reason", "")).strip()
        receipt: Receipt | None = next((one for one in self.book().receipts if one.number == number), None)
        row = None if receipt is None else self._journal.store.entry(receipt.seq)
        if receipt is None or row is None:
            return CommandResult(asked.id, False, "unknown-receipt", f"there is no receipt {number!r}")
        if not reason:
            return CommandResult(asked.id, False, "no-reason", "say why it is cancelled: bounced, wrong member, ...")
        reverse = Reverse(asked.id, asked.now, row.sealed(), f"{asked.by}: {reason}")
        return self._write(asked, (reverse,), f"receipt {receipt.number} is cancelled: {reason}")

    def _close(self, asked: Asked, request: Request) -> CommandResult:
        book, by = self.book(), str(request.get("as", "")).strip()
        if book.rules.officer(by) is None:
            names = ", ".join(one.name for one in book.rules.officers) or "nobody: name officers in the site file"
            return CommandResult(asked.id, False, "not-approver", f"{by!r} may not close a period; these may: {names}")
        try:
            until = period_end(str(request.get("period", "")), book.timezone)
        except ClosingRefused as error:
            return CommandResult(asked.id, False, "bad-period", str(error))
        trial, signature = self.trial(until), str(request.get("signature", ""))
        first, period = self._asked_before(book, until, trial), request.get("period")
        if first is None or (first[1].by == by and first[1].actor != asked.by):
            words = f"{by} asks to close {period}; trial balance {trial[:16]}…; a second person must agree"
            ask = AskClose(asked.id, asked.now, until, trial, by, asked.by, signature)
            return self._write(asked, (ask,), words)
        if first[1].by == by:
            return CommandResult(asked.id, False, "wrong-quorum", f"{by} asked already; a second person must agree")
        words = f"everything before {period}'s end is closed by {first[1].by} and {by}"
        close = ClosePeriod(asked.id, asked.now, first[0], until, trial, by, asked.by, signature)
        return self._write(asked, (close,), words)

    def _asked_before(self, book: CashBook, until: Instant, trial: str) -> tuple[str, Closing] | None:
        """Returns what waits for a second person: None where it is asked anew, as with other balances since."""
        identity = "" if book.closing is None else book.closing[0]
        asked = self._journal.state.closings.get(identity)
        if asked is None or (asked.until, asked.trial) != (until, trial) or book.rules.officer(asked.by) is None:
            return None
        return (identity, asked) if asked.actor else None

    def trial(self, until: Instant) -> str:
        """Returns the root of the trial balance of everything booked before `until`."""
        return trial_root(self._journal.store.trial_balance(until))
