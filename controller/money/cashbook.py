"""What the log says about money: receipts, what each member owes, loans, proposals, closed periods.

`CashBook.absorb` takes the log entry by entry; everything here can be made again from the log alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.ledger.canonical import Json
from controller.ledger.entries import MOVING, Entry, EntryState, Posting
from controller.ledger.orders import APPROVAL, PERIOD_CLOSE, PERIOD_CLOSING
from controller.ledger.sealing import is_shut, shown
from controller.ledger.state import lifelines_in
from controller.money.rules import MONEY_RULES, MoneyRules, parse_rules
from controller.settlement.accounts import TREASURY, owes_account
from controller.settlement.published import CHARTER, CHARTER_TABLE
from controller.settlement.runs import BILL, RUN_DAY, SETTLE_DAY, SETTLE_GRID
from devices.clock import Instant

PAYMENT = "payment"
INCOME = "treasury.income"
SPEND = "treasury.spend"
BUDGET = "treasury.budget"
LOAN = "loan"
WORK = "work.credit"
SERVICE = "service.charge"
PAYOUT = "credit.payout"
INSTALMENT = "loan.instalment"
ARREARS = "arrears.step"
ARREARS_DONE = "arrears.done"
PROPOSALS = (SPEND, BUDGET, LOAN, WORK, SERVICE, PAYOUT)
METHODS = ("cash", "bank", "mobile")
QUIET = frozenset(
    (
        SETTLE_DAY,
        SETTLE_GRID,
        RUN_DAY,
        CHARTER_TABLE,
        "alarm",
        "mission",
        "hold",
        "release",
        "select",
        "operate",
    )
)
"""Kinds that never move money: a reader need not open them."""


def till_account(method: str) -> str:
    """Returns the account of the money that came by a method: positive = the community has it."""
    return f"till:{method}"


def ref_key(ref: str) -> str:
    """Returns a reference as it is compared: people write the same one with other blanks and capitals."""
    return "".join(ref.split()).casefold()


def loan_account(member: str) -> str:
    """Returns what a member has still to pay back for a device."""
    return f"member:{member}:loan"


def budget_account(name: str) -> str:
    """Returns a budget: negative = what may still be spent; it can not become positive."""
    return f"budget:{name}"


@dataclass(frozen=True, slots=True)
class Move:
    """One change of what a member owes (or of its loan) [minor units]."""

    seq: int
    id: str
    at: Instant
    kind: str
    state: str
    amount: int
    body: Mapping[str, Json]
    refers: str = ""  # the entry that a reversal undoes


@dataclass(slots=True)
class Bill:
    """One member's bill of a period, however often it was settled again."""

    period: str
    at: Instant  # when it was first booked
    stands: bool = True


@dataclass(slots=True)
class Receipt:
    """One numbered payment; the numbers have no gaps."""

    number: int
    seq: int
    id: str
    at: Instant
    member: str
    amount: int  # minor units, positive
    method: str
    ref: str
    note: str
    by: str
    cancelled: bool = False


@dataclass(slots=True)
class Loan:
    """A device that a member pays back with its bills."""

    id: str
    at: Instant
    member: str
    device: str
    amount: int
    bills: int
    paid: int = 0
    periods: set[str] = field(default_factory=set[str])
    instalments: list[tuple[Instant, int]] = field(default_factory=list[tuple[Instant, int]])

    @property
    def rest(self) -> int:
        """Returns what is still to be paid [minor units]."""
        return self.amount - self.paid

    def instalment(self) -> int:
        """Returns the next instalment [minor units]: equal ones, the last takes what is left."""
        return min(self.rest, -(-self.amount // self.bills))

    def paid_by(self, end: Instant) -> int:
        """Returns what was paid before an instant [minor units]."""
        return sum(amount for at, amount in self.instalments if at < end)

    def schedule(self, paid: int | None = None) -> tuple[int, ...]:
        """Returns the instalments that are still to come, now or when no more than `paid` was paid."""
        rest, rows = self.amount - (self.paid if paid is None else paid), list[int]()
        while rest:
            rows.append(min(rest, -(-self.amount // self.bills)))
            rest -= rows[-1]
        return tuple(rows)


@dataclass(slots=True)
class Proposal:
    """Something that people must agree to before money moves."""

    number: int
    id: str
    leaf: str
    kind: str
    at: Instant
    expires: Instant
    amount: int
    body: Mapping[str, Json]
    approved: list[str] = field(default_factory=list[str])
    state: str = "open"  # open, done, withdrawn, expired


@dataclass(slots=True)
class CashBook:
    """See the module's text."""

    currency: str = "EUR"
    minor_digits: int = 2
    timezone: str = "UTC"
    site: str = ""
    members: dict[str, str] = field(default_factory=dict[str, str])  # id -> role
    lifelines: set[str] = field(default_factory=set[str])  # accounts that nobody may cut off
    lifeline_days: list[tuple[Instant, int, int]] = field(
        default_factory=list[tuple[Instant, int, int]]
    )  # (valid from, Wh, mL) of each charter: what a home has a day whatever it owes
    rules: MoneyRules = field(default_factory=MoneyRules)
    charters: list[tuple[Instant, Instant | None, str, Mapping[str, int]]] = field(
        default_factory=list[tuple[Instant, Instant | None, str, Mapping[str, int]]]
    )  # (valid from, its own end, entry, prices of services) of what members voted for
    receipts: list[Receipt] = field(default_factory=list[Receipt])
    refs: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])  # (method, ref_key) -> receipt
    incomes: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])  # (method, ref_key) -> what
    owes: dict[str, list[Move]] = field(default_factory=dict[str, list[Move]])
    loans: dict[str, Loan] = field(default_factory=dict[str, Loan])
    proposals: list[Proposal] = field(default_factory=list[Proposal])
    budgets: dict[str, str] = field(default_factory=dict[str, str])  # name -> what it is for
    steps: set[tuple[str, str, int]] = field(default_factory=set[tuple[str, str, int]])  # (member, step, due)
    steps_done: dict[tuple[str, str, int], str] = field(default_factory=dict[tuple[str, str, int], str])  # -> in words
    bills: dict[str, dict[str, Bill]] = field(default_factory=dict[str, dict[str, Bill]])  # member -> period -> bill
    billed: dict[str, Bill] = field(default_factory=dict[str, Bill])  # by the entry that stands
    closing: tuple[str, Instant, str] | None = None  # (entry id, until, by) of what one person has asked to close
    closed: list[tuple[Instant, tuple[str, str]]] = field(default_factory=list[tuple[Instant, tuple[str, str]]])
    balances: dict[str, int] = field(default_factory=dict[str, int])  # money accounts, posted
    by_id: dict[str, Receipt | Proposal] = field(default_factory=dict[str, "Receipt | Proposal"])

    @property
    def asset(self) -> str:
        """Returns the money asset."""
        return f"money:{self.currency}"

    def owed(self, member: str) -> int:
        """Returns what a member owes [minor units]; negative is prepaid credit."""
        return self.balances.get(owes_account(member), 0)

    def accounts(self) -> list[str]:
        """Returns the members, then those who have left and with whom the community is not even."""
        return [*self.members, *(name for name in self.owes if name not in self.members and self.owed(name))]

    def has_lifeline(self, member: str) -> bool:
        """Returns whether the ledger keeps a member's accounts open whatever it owes."""
        return owes_account(member) in self.lifelines

    def lifeline_of(self, member: str, now: Instant) -> tuple[int, int]:
        """Returns (Wh, mL) that a member keeps every day whatever it owes."""
        valid = [row for row in self.lifeline_days if row[0] <= now]
        if not valid or not self.has_lifeline(member):
            return 0, 0
        latest = max(row[0] for row in valid)
        _, wh, ml = [row for row in valid if row[0] == latest][-1]
        return wh, ml

    def absorb(self, seq: int, entry: Entry, leaf: bytes) -> None:
        """Takes the next entry of the log."""
        if entry.state in MOVING:
            self._move(seq, entry)
            if entry.kind == BILL:
                self._bill(entry)
        self._rule(entry)
        match entry.kind, entry.state:
            case kind, EntryState.POSTED if kind == PAYMENT:
                self._payment(seq, entry)
            case kind, EntryState.POSTED if kind == INCOME and entry.body.get("ref"):
                body = entry.body
                self.incomes[str(body["method"]), ref_key(str(body["ref"]))] = str(body["purpose"])
            case kind, EntryState.REVERSAL if kind == PAYMENT:
                self._cancel(entry.refers)
            case kind, state if kind in PROPOSALS:
                self._proposal(entry, state, leaf)
            case kind, EntryState.POSTED if kind == INSTALMENT:
                self._instalment(entry)
            case kind, EntryState.POSTED if kind == ARREARS:
                self.steps.add(_step(entry.body))
            case kind, EntryState.POSTED if kind == ARREARS_DONE:
                self.steps_done[_step(entry.body)] = f"{entry.body['by']}: {shown(entry.body, 'note')}"
            case kind, _ if kind in (APPROVAL, PERIOD_CLOSING, PERIOD_CLOSE):
                self._agreement(entry)
            case _:
                pass

    def _rule(self, entry: Entry) -> None:
        match entry.kind:
            case "genesis":
                self.site = str(entry.body.get("site"))
            case kind if kind == CHARTER:
                self._charter(entry.id, entry.body)
            case kind if kind == MONEY_RULES:
                self.rules = parse_rules(entry.body)
            case _:
                pass

    def service(self, name: str, now: Instant) -> tuple[str, int] | None:
        """Returns (charter entry, price in micro-units) of a service by the charter in force; None without one."""
        valid = [row for row in self.charters if row[0] <= now and (row[1] is None or now < row[1])]
        if not valid:
            return None
        latest = max(row[0] for row in valid)
        _, _, charter, prices = [row for row in valid if row[0] == latest][-1]
        return (charter, prices[name]) if name in prices else None

    def _charter(self, identity: str, body: Mapping[str, Json]) -> None:
        charter, members = body.get("charter"), body.get("members")
        self.lifelines |= lifelines_in(body)
        if isinstance(charter, Mapping) and isinstance(clauses := charter.get("clauses"), Mapping):
            rows = clauses.get("service")
            prices = {
                str(row["name"]): int(str(row["price"]))
                for row in (rows if isinstance(rows, list) else ())
                if isinstance(row, Mapping)
            }
            end = clauses.get("valid_to")
            until = Instant(end) if isinstance(end, int) else None
            self.charters.append((Instant(int(str(charter["valid_from"]))), until, identity, prices))
        if isinstance(charter, Mapping):
            self.currency, self.timezone = str(charter["currency"]), str(charter["timezone"])
            self.minor_digits = int(str(charter["minor_digits"]))
            wh, ml = int(str(charter["lifeline_wh"])), int(str(charter["lifeline_ml"]))
            self.lifeline_days.append((Instant(int(str(charter["valid_from"]))), wh, ml))
        rows = [row for row in members if isinstance(row, Mapping)] if isinstance(members, list) else []
        self.members = {str(row["id"]): str(row["role"]) for row in rows}

    def _move(self, seq: int, entry: Entry) -> None:
        for posting in entry.postings:
            if not posting.asset.startswith("money:"):
                continue
            self.balances[posting.account] = self.balances.get(posting.account, 0) + posting.amount
            kind, _, rest = posting.account.partition(":")
            member, _, what = rest.rpartition(":")
            if kind == "member" and what == "owes":
                state, amount = entry.state.value, posting.amount
                move = Move(seq, entry.id, entry.at, entry.kind, state, amount, entry.body, entry.refers)
                self.owes.setdefault(member, []).append(move)

    def _bill(self, entry: Entry) -> None:
        if entry.state is EntryState.REVERSAL:
            if (undone := self.billed.pop(entry.refers, None)) is not None:
                undone.stands = False
            return
        bills, period = self.bills.setdefault(str(entry.body["member"]), {}), str(entry.body["period"])
        bill = self.billed[entry.id] = bills.setdefault(period, Bill(period, entry.at))
        bill.stands = True

    def _payment(self, seq: int, entry: Entry) -> None:
        body = entry.body
        receipt = Receipt(
            int(str(body["receipt"])), seq, entry.id, entry.at, str(body["member"]), int(str(body["amount"])),
            str(body["method"]), shown(body, "ref"), shown(body, "note"), str(body["by"]),
        )  # fmt: skip
        self.receipts.append(receipt)
        self.by_id[entry.id] = receipt
        if receipt.ref and not is_shut(body):
            self.refs[receipt.method, ref_key(receipt.ref)] = receipt.number

    def _cancel(self, refers: str) -> None:
        receipt = self.by_id.get(refers)
        if isinstance(receipt, Receipt):
            receipt.cancelled = True
            self.refs.pop((receipt.method, ref_key(receipt.ref)), None)

    def _proposal(self, entry: Entry, state: EntryState, leaf: bytes) -> None:
        if state is EntryState.PENDING:
            amount = sum(posting.amount for posting in entry.postings if posting.amount > 0)
            number = len(self.proposals) + 1
            expires = entry.expires or entry.at
            made = Proposal(number, entry.id, leaf.hex(), entry.kind, entry.at, expires, amount, entry.body)
            self.proposals.append(made)
            self.by_id[entry.id] = made
            return
        proposal = self.by_id.get(entry.refers)
        if not isinstance(proposal, Proposal):
            return
        names = {EntryState.POST: "done", EntryState.VOID: "withdrawn", EntryState.EXPIRE: "expired"}
        proposal.state = names.get(state, proposal.state)
        if state is EntryState.POST:
            self._carried_out(proposal, entry)

    def _carried_out(self, proposal: Proposal, entry: Entry) -> None:
        body = proposal.body
        if proposal.kind == BUDGET:
            self.budgets.setdefault(str(body["budget"]), str(body["purpose"]))
        elif proposal.kind == LOAN:
            self.loans[proposal.id] = Loan(
                proposal.id,
                entry.at,
                str(body["member"]),
                shown(body, "device"),
                proposal.amount,
                int(str(body["bills"])),
            )

    def _instalment(self, entry: Entry) -> None:
        loan = self.loans.get(str(entry.body["loan"]))
        if loan is not None:
            amount = sum(posting.amount for posting in entry.postings if posting.amount > 0)
            loan.paid += amount
            loan.instalments.append((entry.at, amount))
            loan.periods.add(str(entry.body["bill"]))

    def _agreement(self, entry: Entry) -> None:
        body = entry.body
        if entry.kind == APPROVAL:
            proposal = self.by_id.get(str(body["proposal"]))
            if isinstance(proposal, Proposal):
                proposal.approved.append(str(body["by"]))
        elif entry.kind == PERIOD_CLOSING:
            self.closing = entry.id, Instant(int(str(body["until"]))), str(body["by"])
        else:
            first = self.closing[2] if self.closing is not None else ""
            self.closed.append((Instant(int(str(body["until"]))), (first, str(body["by"]))))
            self.closing = None


def _step(body: Mapping[str, Json]) -> tuple[str, str, int]:
    return str(body["member"]), str(body["step"]), int(str(body["due"]))


def treasury_accounts(book: CashBook) -> list[tuple[str, int]]:
    """Returns the community's own money accounts with their balances, in a treasurer's order."""
    shown = [*(till_account(method) for method in METHODS), TREASURY]
    rest = sorted(name for name in book.balances if not name.startswith("member:") and name not in shown)
    return [(name, book.balances[name]) for name in (*shown, *rest) if name in book.balances]


def transfer(asset: str, to: str, source: str, amount: int) -> tuple[Posting, Posting]:
    """Returns `amount` going from one account to another [minor units]."""
    return Posting(to, asset, amount), Posting(source, asset, -amount)
