"""The treasury at a glance: accounts, budgets, proposals, loans, closed periods."""

from __future__ import annotations

from decimal import Decimal

from controller.civil import local_time
from controller.ledger.canonical import Json
from controller.ledger.sealing import shown
from controller.money.cashbook import CashBook, Proposal, budget_account, treasury_accounts
from controller.money.desk import money_text, owes_text
from devices.clock import Instant


def overview(book: CashBook) -> dict[str, Json]:
    """Returns everything as JSON; amounts are decimal strings of the currency."""

    def money(amount: int) -> str:
        return str(Decimal(amount).scaleb(-book.minor_digits))

    return {
        "schema": 1,
        "currency": book.currency,
        "accounts": [{"account": name, "balance": money(held)} for name, held in treasury_accounts(book)],
        "budgets": [
            {"budget": name, "purpose": purpose, "left": money(-book.balances.get(budget_account(name), 0))}
            for name, purpose in sorted(book.budgets.items())
        ],
        "proposals": [
            {
                "proposal": one.number, "id": one.id, "leaf": one.leaf, "kind": one.kind, "amount": money(one.amount),
                "text": shown(one.body, "text"), "state": one.state, "approved": list(one.approved),
                "expires": one.expires,
            }
            for one in book.proposals
        ],
        "loans": [
            {"member": one.member, "device": one.device, "amount": money(one.amount), "rest": money(one.rest)}
            for one in book.loans.values()
        ],
        "members": [{"member": one, "owes": money(book.owed(one))} for one in book.accounts()],
        "receipts": len(book.receipts),
        "closed": [{"until": until, "by": list(by)} for until, by in book.closed],
    }  # fmt: skip


def overview_text(book: CashBook) -> str:
    """Returns everything in words."""
    lines = ["accounts (positive: the community has it, or is owed it; negative: its gain, or what it owes)"]
    lines += [f"  {name:<28} {money_text(held, book):>18}" for name, held in treasury_accounts(book)]
    lines += ["budgets"] if book.budgets else []
    for name, purpose in sorted(book.budgets.items()):
        left = -book.balances.get(budget_account(name), 0)
        lines.append(f"  {name:<28} {money_text(left, book):>18} left  {purpose}")
    lines += ["proposals"] if book.proposals else []
    lines += [f"  {one.number:>3} {proposal_text(one, book)}" for one in book.proposals]
    lines += ["loans"] if book.loans else []
    for loan in book.loans.values():
        left = f"{money_text(loan.rest, book)} of {money_text(loan.amount, book)} left"
        lines.append(f"  {loan.member:<14} {loan.device}: {left}, {len(loan.schedule())} instalments")
    lines += ["members"]
    for member in book.accounts():
        gone = "" if member in book.members else " (has left)"
        lines.append(f"  {owes_text(member, book.owed(member), book)}{gone}")
    cancelled = sum(one.cancelled for one in book.receipts)
    lines.append(f"{len(book.receipts)} receipts" + (f", {cancelled} of them cancelled" if cancelled else ""))
    lines += [f"closed until {_day(book, until)} by {by[0]} and {by[1]}" for until, by in book.closed]
    if book.closing is not None:
        lines.append(f"{book.closing[2]} asks to close until {_day(book, book.closing[1])}: a second person must agree")
    return "\n".join(lines)


def proposal_text(one: Proposal, book: CashBook) -> str:
    """Returns one proposal in a line."""
    who = f", approved by {', '.join(one.approved)}" if one.approved else ""
    until = f" until {_day(book, one.expires)}" if one.state == "open" else ""
    return f"{one.state}{until}: {shown(one.body, 'text')}{who}"


def _day(book: CashBook, instant: Instant) -> str:
    return f"{local_time(book.timezone, instant):%Y-%m-%d}"
