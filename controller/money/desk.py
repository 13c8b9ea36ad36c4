"""The treasurer's desk: what is asked becomes commands for the book, or a refusal in words. Pure.

A request is a mapping as it comes over the socket: `do` names it, texts and decimal amounts are its fields.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from controller.entry_words import amount_words
from controller.ledger.canonical import AMOUNT_LIMIT, Json
from controller.ledger.entries import Posting, derived_id
from controller.ledger.orders import (
    Approve,
    Command,
    OpenAccount,
    Post,
    PostPending,
    Reserve,
    VoidPending,
)
from controller.ledger.quorum import QUORUM, NotCanonical, quorum_of
from controller.ledger.sealing import shown
from controller.ledger.state import LedgerState, roles_of
from controller.money.arrears import arrears, kept, step_text
from controller.money.cashbook import (
    ARREARS_DONE,
    BUDGET,
    INCOME,
    LOAN,
    METHODS,
    PAYMENT,
    PAYOUT,
    SERVICE,
    SPEND,
    WORK,
    CashBook,
    Proposal,
    Receipt,
    budget_account,
    loan_account,
    ref_key,
    till_account,
    transfer,
)
from controller.settlement.accounts import TREASURY, owes_account
from devices.clock import DAY_MS, Instant

TEXT_MAX = 200
BILLS_MAX = 240
CREDITS_MAX = 10_000
AMOUNT_DIGITS_MAX = 18
Request = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks, when, and with which id (UUIDv7, made by the sender: a repeat is harmless)."""

    id: str
    by: str
    now: Instant


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing is booked; `code` and words say why."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Accounts to open first, and commands that stand or fall together. No commands: it was done before."""

    commands: tuple[Command, ...]
    message: str
    open: tuple[OpenAccount, ...] = ()


def decide(book: CashBook, state: LedgerState, asked: Asked, request: Request) -> Decision | Refused:
    """Returns what a request means for the book."""
    act = _ACTS.get(str(request.get("do")))
    if act is None:
        return Refused("unknown-request", f"{request.get('do')!r} is nothing that can be asked: {', '.join(_ACTS)}")
    for name, value in request.items():
        if isinstance(value, str) and (len(value) > TEXT_MAX or not value.isprintable()):
            return Refused("bad-text", f"{name} is longer than {TEXT_MAX} characters, or holds some that do not print")
    try:
        return act(book, state, asked, request)
    except _Refusal as refusal:
        return refusal.refused


class _Refusal(ValueError):
    """Ends a request early."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.refused = Refused(code, message)


def parse_money(text: str, digits: int) -> int:
    """Returns minor units of `20`, `20.50` or `1500.00`.

    Raises:
        ValueError: not a positive amount with at most `digits` decimals; the text says what was seen.
    """
    if re.fullmatch(r"[+-]?\d+(\.\d+)?", text.strip(), re.ASCII) is None:  # no 1e3, no 1_000: typing errors
        raise ValueError(f"{text!r} is no amount: write 20 or 20.50")
    whole, _, fraction = text.strip().partition(".")
    if len(whole) > AMOUNT_DIGITS_MAX:
        raise ValueError(f"{text!r} is too large to be true")
    amount = Decimal(text.strip())
    if amount <= 0:
        raise ValueError(f"{text!r} is not above zero")
    minor = amount.scaleb(digits)
    if fraction.rstrip("0")[digits:]:
        raise ValueError(f"{text!r} has more than {digits} decimals")
    if minor >= AMOUNT_LIMIT:
        raise ValueError(f"{text!r} is too large to be true")
    return int(minor)


def money_text(amount: int, book: CashBook) -> str:
    """Returns `-3.07 EUR` of minor units."""
    return amount_words(book.asset, amount, book.minor_digits)


def owes_text(member: str, owed: int, book: CashBook) -> str:
    """Returns what a member owes in words."""
    if owed == 0:
        return f"{member} owes nothing"
    return f"{member} owes {money_text(owed, book)}" if owed > 0 else f"{member} has {money_text(-owed, book)} credit"


# ---------------------------------------------------------------- payments


def _pay(book: CashBook, _: LedgerState, asked: Asked, request: Request) -> Decision:
    member, method, ref = _member(book, request), _method(request), _text(request, "ref")
    amount, note = _amount(book, request), _text(request, "note")
    known = book.by_id.get(asked.id)
    if isinstance(known, Receipt):
        if (known.member, known.amount, known.method, known.ref) != (member, amount, method, ref):
            raise _Refusal("conflict", f"receipt {known.number} has this id and says something else; use a new id")
        return Decision((), _receipt_text(known.number, member, amount, method, book, book.owed(member)))
    _need_new_ref(book, method, ref)
    if method != "cash" and not ref:
        raise _Refusal("no-ref", f"a {method} payment names its reference (--ref), so that it is not booked twice")
    number = len(book.receipts) + 1
    body: dict[str, Json] = {
        "receipt": number, "member": member, "method": method, "ref": ref, "amount": str(amount), "by": asked.by,
        "text": f"receipt {number}: {member} paid {money_text(amount, book)} by {method} {ref}".rstrip(),
    }  # fmt: skip
    if note:
        body["note"] = note
    if received := _text(request, "received"):
        body["received"] = received
    postings = transfer(book.asset, till_account(method), owes_account(member), amount)
    return Decision(
        (Post(asked.id, asked.now, PAYMENT, postings, body),),
        _receipt_text(number, member, amount, method, book, book.owed(member) - amount),
        _tills(asked, method),
    )


def _need_new_ref(book: CashBook, method: str, ref: str) -> None:
    key = method, ref_key(ref)
    if ref and (taken := book.refs.get(key)) is not None:
        raise _Refusal("duplicate-ref", f"{method} {ref!r} was booked with receipt {taken}; is it the same payment?")
    if ref and (what := book.incomes.get(key)) is not None:
        raise _Refusal("duplicate-ref", f"{method} {ref!r} was received already: {what}; is it the same payment?")


def _receipt_text(number: int, member: str, amount: int, method: str, book: CashBook, owed: int) -> str:
    return (
        f"receipt {number}: {money_text(amount, book)} by {method} from {member}; {owes_text(member, owed, book)} now"
    )


# ---------------------------------------------------------------- treasury


def _income(book: CashBook, state: LedgerState, asked: Asked, request: Request) -> Decision:
    method, amount, purpose = _method(request), _amount(book, request), _needed(request, "purpose")
    ref = _text(request, "ref")
    if asked.id not in state.leaves:
        _need_new_ref(book, method, ref)
    body: dict[str, Json] = {
        "method": method, "ref": ref, "by": asked.by, "purpose": purpose,
        "text": f"{money_text(amount, book)} received by {method}: {purpose}",
    }  # fmt: skip
    post = Post(asked.id, asked.now, INCOME, transfer(book.asset, till_account(method), TREASURY, amount), body)
    return Decision((post,), f"{money_text(amount, book)} received by {method}", _tills(asked, method))


def _budget(book: CashBook, _: LedgerState, asked: Asked, request: Request) -> Decision:
    name, amount, purpose = _needed(request, "budget"), _amount(book, request), _needed(request, "purpose")
    if not name.isascii() or not name.replace("-", "").isalnum() or name != name.lower():
        raise _Refusal("bad-name", f"budget {name!r}: use a-z, 0-9 and -")
    account = budget_account(name)
    words = f"budget {name}: {money_text(amount, book)} for {purpose}"
    body: dict[str, Json] = {"budget": name, "purpose": purpose}
    postings = transfer(book.asset, TREASURY, account, amount)
    # A budget is money set aside: it holds a negative amount, like the treasury's gain, and never a positive one.
    opened = OpenAccount(derived_id(asked.now, "budget", name), asked.now, account, ceiling=0)
    return _propose(book, asked, BUDGET, postings, body, words, opened)


def _spend(book: CashBook, state: LedgerState, asked: Asked, request: Request) -> Decision:
    name, amount, method = _needed(request, "budget"), _amount(book, request), _method(request)
    to, purpose = _needed(request, "to"), _needed(request, "purpose")
    if name not in book.budgets:
        known = ", ".join(sorted(book.budgets)) or "none yet: atoll treasury budget NAME AMOUNT --for TEXT"
        raise _Refusal("unknown-budget", f"there is no budget {name!r}; budgets: {known}")
    held = state.balances.get((budget_account(name), book.asset))
    left = 0 if held is None else -held.posted - held.pending
    if amount > left and asked.id not in book.by_id:
        raise _Refusal(
            "above-limit", f"budget {name} has {money_text(left, book)} left, not {money_text(amount, book)}"
        )
    body: dict[str, Json] = {"budget": name, "to": to, "method": method, "purpose": purpose}
    postings = transfer(book.asset, budget_account(name), till_account(method), amount)
    words = f"{money_text(amount, book)} from budget {name} to {to} by {method}: {purpose}"
    return _propose(book, asked, SPEND, postings, body, words, *_tills(asked, method))


def _payout(book: CashBook, _: LedgerState, asked: Asked, request: Request) -> Decision:
    """Credit paid out to the member: what a home has sold, or what is left when somebody moves away."""
    member, amount, method = _member(book, request), _amount(book, request), _method(request)
    ref, promised = _text(request, "ref"), _promised(book, member)
    left = -book.owed(member) - promised
    if amount > left and asked.id not in book.by_id:
        words = f"; {money_text(promised, book)} of its credit are proposed already" if promised else ""
        message = f"{owes_text(member, book.owed(member), book)}{words}: {money_text(amount, book)} cannot be paid out"
        raise _Refusal("above-limit", message)
    body: dict[str, Json] = {"member": member, "method": method, "ref": ref}
    words = f"{money_text(amount, book)} of its credit paid out to {member} by {method} {ref}".rstrip()
    postings = transfer(book.asset, owes_account(member), till_account(method), amount)
    return _propose(book, asked, PAYOUT, postings, body, words, *_tills(asked, method))


def _promised(book: CashBook, member: str) -> int:
    """Returns the credit of a member that open proposals would pay out."""
    rows = (one for one in book.proposals if (one.kind, one.state) == (PAYOUT, "open"))
    return sum(one.amount for one in rows if one.body.get("member") == member)


def _loan(book: CashBook, _: LedgerState, asked: Asked, request: Request) -> Decision:
    member, amount, device = _member(book, request), _amount(book, request), _needed(request, "device")
    bills = request.get("bills")
    if member not in book.members:
        raise _Refusal("unknown-member", f"{member} has left: it gets no further bills to pay a loan back with")
    if not isinstance(bills, int) or not 1 <= bills <= min(BILLS_MAX, amount):
        raise _Refusal("bad-bills", f"a loan is paid back with 1 to {min(BILLS_MAX, amount)} bills, not {bills!r}")
    body: dict[str, Json] = {"member": member, "device": device, "bills": bills}
    account = loan_account(member)
    opened = OpenAccount(derived_id(asked.now, "loan", member), asked.now, account, floor=0)
    words = f"{device} for {member}: {money_text(amount, book)} paid back with {bills} bills"
    return _propose(book, asked, LOAN, transfer(book.asset, account, TREASURY, amount), body, words, opened)


def _work(book: CashBook, _: LedgerState, asked: Asked, request: Request) -> Decision:
    """Work that a member did (the community pays), or robot hours that it had (the member pays), by the charter."""
    member, purpose, count = _member(book, request), _needed(request, "purpose"), request.get("credits")
    service = "robot-hour" if request.get("do") == "charge" else "work-credit"
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= CREDITS_MAX:
        raise _Refusal("bad-credits", f"1 to {CREDITS_MAX}, not {count!r}")
    found = book.service(service, asked.now)
    if found is None:
        raise _Refusal("no-clause", f"the charter in force has no [[service]] {service}, so it names no price")
    charter, price = found
    amount = count * price * 10**book.minor_digits // 10**6
    if amount < 1:
        raise _Refusal("bad-amount", f"{count} at {price} micro-units are less than the smallest coin")
    body: dict[str, Json] = {
        "member": member, "credits": count, "purpose": purpose, "charter": charter, "clause": f"[[service]] {service}",
        "arithmetic": [f"{count} x {price} micro-units = {money_text(amount, book)}, rounded down"],
    }  # fmt: skip
    if service == "robot-hour":
        words = f"{count} robot hours for {member}: {money_text(amount, book)} for {purpose}"
        return _propose(book, asked, SERVICE, transfer(book.asset, owes_account(member), TREASURY, amount), body, words)
    words = f"{count} work credits for {member}: {money_text(amount, book)} for {purpose}"
    return _propose(book, asked, WORK, transfer(book.asset, TREASURY, owes_account(member), amount), body, words)


def _propose(
    book: CashBook, asked: Asked, kind: str, postings: tuple[Posting, Posting], body: dict[str, Json], words: str,
    *opened: OpenAccount,
) -> Decision:  # fmt: skip
    known = book.by_id.get(asked.id)
    if isinstance(known, Proposal):
        return Decision((), f"proposal {known.number}: {shown(known.body, 'text')}")
    rules = book.rules
    if not rules.officers:
        raise _Refusal("no-officers", "nobody may approve yet: name officers under [treasury] in the site file")
    body = {**body, "by": asked.by, "text": words, QUORUM: rules.quorum().document()}
    try:
        quorum_of(body)
    except NotCanonical as error:
        raise _Refusal("wrong-quorum", f"{error}; see [treasury] in the site file") from error
    expires = Instant(asked.now + rules.proposal_days * DAY_MS)
    command = Reserve(asked.id, asked.now, kind, postings, body, expires)
    needs = f"needs {rules.approvals} approvals in {rules.proposal_days} days"
    message = f"proposal {len(book.proposals) + 1}: {words}; {needs}"
    return Decision((command,), message, opened)


def _approve(book: CashBook, state: LedgerState, asked: Asked, request: Request) -> Decision:
    proposal, by = _open_proposal(book, state, request, asked), _needed(request, "as")
    if by in proposal.approved and asked.id in state.leaves:
        return Decision((), f"proposal {proposal.number}: {shown(proposal.body, 'text')} is approved by {by}")
    approve = Approve(asked.id, asked.now, proposal.id, proposal.leaf, by, asked.by, _text(request, "signature"))
    pending = state.pending.get(proposal.id)
    quorum = None if pending is None else quorum_of(pending.body)
    so_far = roles_of(state, proposal.id)
    if quorum is not None and by in quorum.who:
        so_far[by] = quorum.who[by].role
    missing = "" if quorum is None else quorum.missing(so_far)
    if proposal.kind == PAYOUT and not missing:
        _need_credit(book, proposal)
    words = f"proposal {proposal.number}: {shown(proposal.body, 'text')}"
    if missing:
        return Decision((approve,), f"{words} is approved by {by}; {missing}")
    final = PostPending(derived_id(asked.now, "final", asked.id), asked.now, proposal.id)
    return Decision((approve, final), f"{words} is approved by {', '.join(so_far)} and booked")


def _need_credit(book: CashBook, proposal: Proposal) -> None:
    """Checks that a member still has the credit that is to be paid out: a bill may have come since."""
    member = str(proposal.body["member"])
    if book.owed(member) + proposal.amount > 0:
        owes = owes_text(member, book.owed(member), book)
        raise _Refusal("above-limit", f"{owes} now, less than proposal {proposal.number} would pay out; withdraw it")


def _withdraw(book: CashBook, state: LedgerState, asked: Asked, request: Request) -> Decision:
    proposal, by, reason = (
        _open_proposal(book, state, request, asked),
        _needed(request, "as"),
        _needed(request, "reason"),
    )
    if by != proposal.body.get("by") and book.rules.officer(by) is None:
        raise _Refusal("not-approver", f"only {proposal.body.get('by')} or an officer may withdraw it")
    who = by if by == asked.by else f"{by} (asked by {asked.by})"  # a name given, and who was signed in
    void = VoidPending(asked.id, asked.now, proposal.id, f"{who}: {reason}")
    return Decision((void,), f"proposal {proposal.number} is withdrawn")


def _open_proposal(book: CashBook, state: LedgerState, request: Request, asked: Asked) -> Proposal:
    number = request.get("proposal")
    found = next((one for one in book.proposals if one.number == number), None)
    if found is None:
        raise _Refusal("unknown-proposal", f"there is no proposal {number!r}; `atoll treasury show` lists them")
    if found.state == "open" and asked.now >= found.expires:
        raise _Refusal("expired-approval", f"proposal {found.number} has expired; propose it again")
    if found.state != "open" and asked.id not in state.leaves:
        raise _Refusal("not-pending", f"proposal {found.number} is {found.state}")
    return found


# ---------------------------------------------------------------- fields


def _step_done(book: CashBook, state: LedgerState, asked: Asked, request: Request) -> Decision:
    """What people have done about a member's step of the arrears ladder: a reminder given, a supply limited."""
    member, note = _member(book, request), _needed(request, "note")
    late = next((one for one in arrears(book, asked.now) if one.member == member), None)
    if late is None or late.step is None:
        raise _Refusal("not-behind", f"{member} stands on no step of the ladder: there is nothing to do")
    words = f"{member}: {step_text(late.step, late.lifeline)} is done"
    if (done := book.steps_done.get((member, late.step.step, late.due))) is not None:
        if asked.id in state.leaves:
            return Decision((), words)
        raise _Refusal("done-already", f"{words} already, by {done}")
    body: dict[str, Json] = {
        "member": member, "step": late.step.step, "due": late.due, "keep_percent": late.step.keep_percent,
        "lifeline": "untouched", **kept(late), "by": asked.by, "note": note, "text": f"{words}: {note}",
    }  # fmt: skip
    return Decision((Post(asked.id, asked.now, ARREARS_DONE, (), body),), words)


def _member(book: CashBook, request: Request) -> str:
    member = _needed(request, "member")
    if member not in book.members and not book.owed(member):  # who has left still pays, and is paid
        raise _Refusal("unknown-member", f"there is no member {member!r}; members: {', '.join(book.members)}")
    return member


def _method(request: Request) -> str:
    method = _needed(request, "method")
    if method not in METHODS:
        raise _Refusal("unknown-method", f"{method!r} is no method; use {', '.join(METHODS)}")
    return method


def _amount(book: CashBook, request: Request) -> int:
    text = _needed(request, "amount")
    try:
        return parse_money(text, book.minor_digits)
    except ValueError as error:
        raise _Refusal("bad-amount", str(error)) from error


def _needed(request: Request, key: str) -> str:
    text = _text(request, key)
    if not text:
        raise _Refusal("missing", f"{key} is missing")
    return text


def _text(request: Request, key: str) -> str:
    value = request.get(key, "")
    if not isinstance(value, str):
        raise _Refusal("missing", f"{key} is {value!r}, not a text")
    return value.strip()


def _tills(asked: Asked, method: str) -> tuple[OpenAccount, ...]:
    """Returns the till of a method: more cash than is in the box cannot be taken out of it."""
    floor = 0 if method == "cash" else None
    return (OpenAccount(derived_id(asked.now, "till", method), asked.now, till_account(method), floor=floor),)


_Act = Callable[[CashBook, LedgerState, Asked, Request], Decision]
_ACTS: dict[str, _Act] = {
    "pay": _pay,
    "income": _income,
    "budget": _budget,
    "spend": _spend,
    "loan": _loan,
    "payout": _payout,
    "work": _work,
    "charge": _work,
    "step-done": _step_done,
    "approve": _approve,
    "withdraw": _withdraw,
}
