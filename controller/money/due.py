"""What falls due by itself: instalments after a bill, expired proposals, the next rung of the arrears ladder."""

from __future__ import annotations

from collections.abc import Iterator

from controller.ledger.canonical import Json
from controller.ledger.entries import derived_id
from controller.ledger.orders import Command, ExpirePending, Post
from controller.money.arrears import Arrears, arrears, kept, lifeline_text
from controller.money.cashbook import (
    ARREARS,
    INSTALMENT,
    Bill,
    CashBook,
    Loan,
    loan_account,
    transfer,
)
from controller.money.desk import money_text
from controller.money.rules import ArrearsStep
from controller.settlement.accounts import owes_account
from devices.clock import Instant


def due(book: CashBook, now: Instant) -> Iterator[Command]:
    """Yields what must be booked now; repeating it yields the same ids, so nothing is booked twice."""
    for proposal in book.proposals:
        if proposal.state == "open" and now >= proposal.expires:
            yield ExpirePending(derived_id(proposal.expires, "expire", proposal.id), now, proposal.id)
    for loan in book.loans.values():
        yield from _instalments(book, loan, now)
    yield from _steps(book, now)


def _instalments(book: CashBook, loan: Loan, now: Instant) -> Iterator[Command]:
    """Yields the instalments of the bills since the loan, at most one a bill and no more than is left.

    A bill that is corrected later is the same bill: its instalment stands, and one from before the loan has none.
    Whoever has left gets no further bills: all that is left goes with the last one.
    """
    rest = loan.rest
    periods = [bill.period for bill in _bills_since(book, loan) if bill.period not in loan.periods]
    for period in periods:
        if not rest:
            return
        last = loan.member not in book.members and period == periods[-1]
        amount = rest if last else min(rest, loan.instalment())
        rest -= amount
        body: dict[str, Json] = {
            "member": loan.member, "loan": loan.id, "bill": period, "rest": str(rest),
            "text": f"{loan.device}: instalment with the bill of {period}, {money_text(rest, book)} left",
        }  # fmt: skip
        yield Post(
            derived_id(loan.at, "instalment", loan.id, period), now, INSTALMENT,
            transfer(book.asset, owes_account(loan.member), loan_account(loan.member), amount), body,
        )  # fmt: skip


def _bills_since(book: CashBook, loan: Loan) -> list[Bill]:
    bills = book.bills.get(loan.member, {}).values()
    return [bill for bill in bills if bill.stands and bill.at > loan.at]


def _steps(book: CashBook, now: Instant) -> Iterator[Command]:
    for one in arrears(book, now):
        step = one.step
        if step is None or (one.member, step.step, one.due) in book.steps:
            continue
        body: dict[str, Json] = {
            "member": one.member, "step": step.step, "due": one.due, "days": one.days, "amount": str(one.amount),
            "keep_percent": step.keep_percent, "lifeline": "untouched", **kept(one),
            "text": f"{one.member}: {_words(one, step)}, {money_text(one.amount, book)} overdue for {one.days} days",
        }  # fmt: skip
        yield Post(derived_id(one.due, ARREARS, one.member, step.step), now, ARREARS, (), body)


def _words(one: Arrears, step: ArrearsStep) -> str:
    """Returns a rung in words; what limits a supply is for people to decide and to do."""
    if step.step != "limit":
        return step.step
    beyond = f"beyond the lifeline{lifeline_text(one.lifeline)}"
    return f"limit (to {step.keep_percent} % of the supply {beyond}, by people: nothing is switched)"
