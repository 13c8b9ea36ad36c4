"""A member's year in one document: every bill, payment and instalment with the balance after it, energy and water."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from html import escape

from controller.civil import local_time
from controller.ledger.canonical import Json
from controller.ledger.entries import MOVING, Entry, EntryState
from controller.ledger.sealing import shown
from controller.money.cashbook import CashBook, Move
from controller.money.closing import period_bounds
from controller.money.desk import money_text
from controller.settlement.accounts import ENERGY, WATER, given_account, used_account
from controller.settlement.run_names import FINAL, name_in
from controller.settlement.runs import BILL, SETTLE_DAY
from devices.clock import Instant


@dataclass(frozen=True, slots=True)
class StatementLine:
    """One movement [minor units]; positive makes the member owe more."""

    date: str
    seq: int
    text: str
    amount: int
    balance: int


@dataclass(frozen=True, slots=True)
class LoanLine:
    """One device loan as of the end of the year [minor units]."""

    device: str
    amount: int
    paid: int
    rest: int
    schedule: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """One member's year."""

    site: str
    member: str
    year: str
    opening: int
    lines: tuple[StatementLine, ...]
    closing: int
    used_uwh: int
    given_uwh: int
    water_ml: int
    loans: tuple[LoanLine, ...]


def quantities(entries: Iterable[Entry], member: str, bounds: tuple[Instant, Instant]) -> tuple[int, int, int]:
    """Returns (used uWh, given uWh, water mL) of the settled days that lie in [start, end).

    A reversal counts in the year of the day that it takes back, whenever it was booked.
    """
    days = [entry for entry in entries if entry.kind == SETTLE_DAY and entry.state in MOVING]
    starts = {entry.id: _day_start(entry) for entry in days if entry.state is EntryState.POSTED}
    used = given = water = 0
    for entry in days:
        start = starts.get(entry.refers or entry.id, entry.at)
        if not bounds[0] <= start < bounds[1]:
            continue
        for posting in entry.postings:
            if posting.account == used_account(member):
                used += posting.amount if posting.asset == ENERGY else 0
                water += posting.amount if posting.asset == WATER else 0
            elif posting.account == given_account(member):
                given -= posting.amount
    return used, given, water


def _day_start(entry: Entry) -> int:
    start = entry.body.get("start")
    return start if isinstance(start, int) else entry.at


def statement(book: CashBook, member: str, year: str, energy: tuple[int, int, int]) -> Statement:
    """Returns the statement of a civil year, of what was booked in it."""
    start, end = period_bounds(year, book.timezone)
    moves = book.owes.get(member, [])
    balance = opening = sum(move.amount for move in moves if move.at < start)
    lines: list[StatementLine] = []
    for move in moves:
        if start <= move.at < end:
            balance += move.amount
            day = f"{local_time(book.timezone, move.at):%Y-%m-%d}"
            lines.append(StatementLine(day, move.seq, move_text(move), move.amount, balance))
    loans = tuple(
        LoanLine(loan.device, loan.amount, paid := loan.paid_by(end), loan.amount - paid, loan.schedule(paid))
        for loan in book.loans.values()
        if loan.member == member and loan.at < end
    )
    return Statement(book.site, member, year, opening, tuple(lines), balance, *energy, loans)


def move_text(move: Move) -> str:
    """Returns what a movement was, in words."""
    body = move.body
    if move.state == EntryState.REVERSAL:
        return f"{move.kind} taken back: {shown(body, 'reason')}"
    if move.kind == BILL:
        run = name_in(body)
        return f"bill of {body.get('period')}" + (f", settled again ({run})" if run not in ("", FINAL) else "")
    return shown(body, "text") or move.kind


def document(made: Statement, book: CashBook) -> Mapping[str, Json]:
    """Returns the statement as JSON; amounts are decimal strings of the currency, quantities whole uWh and mL."""

    def money(amount: int) -> str:
        return str(Decimal(amount).scaleb(-book.minor_digits))

    return {
        "schema": 1, "site": made.site, "member": made.member, "year": made.year, "currency": book.currency,
        "opening": money(made.opening),
        "lines": [
            {"date": one.date, "entry": one.seq, "text": one.text, "amount": money(one.amount),
             "balance": money(one.balance)}
            for one in made.lines
        ],
        "closing": money(made.closing),
        "energy_used_uwh": str(made.used_uwh), "energy_given_uwh": str(made.given_uwh), "water_ml": str(made.water_ml),
        "loans": [
            {"device": one.device, "amount": money(one.amount), "paid": money(one.paid), "rest": money(one.rest),
             "schedule": [money(part) for part in one.schedule]}
            for one in made.loans
        ],
    }  # fmt: skip


def rows(made: Statement, book: CashBook) -> list[tuple[str, str, str, str]]:
    """Returns (date, what, amount, balance) of every line, opening and closing among them."""
    return [
        ("", "balance brought forward", "", money_text(made.opening, book)),
        *(
            (one.date, f"{one.text} (entry {one.seq})", money_text(one.amount, book), money_text(one.balance, book))
            for one in made.lines
        ),
        ("", "balance at the end", "", money_text(made.closing, book)),
    ]


def summary(made: Statement, book: CashBook) -> list[str]:
    """Returns energy, water and loans in words."""
    words = [
        f"energy used {Decimal(made.used_uwh).scaleb(-9):,.3f} kWh,"
        f" given {Decimal(made.given_uwh).scaleb(-9):,.3f} kWh; water {Decimal(made.water_ml).scaleb(-3):,.1f} L"
    ]
    for one in made.loans:
        left = f"{len(one.schedule)} instalments" if one.schedule else "paid back"
        words.append(
            f"loan {one.device}: {money_text(one.amount, book)}, {money_text(one.rest, book)} left to pay, {left}"
        )
    return words


def text(made: Statement, book: CashBook) -> str:
    """Returns the statement for a terminal or a line printer."""
    head = f"{made.site}: statement of {made.member} for {made.year} (positive: owes the community)"
    table = [f"{date:<10}  {what:<64} {amount:>16} {balance:>16}" for date, what, amount, balance in rows(made, book)]
    return "\n".join([head, "", *table, "", *summary(made, book)])


def html(made: Statement, book: CashBook) -> str:
    """Returns the statement as one page to print; it needs nothing else."""
    body = "".join(
        f"<tr><td>{escape(date)}</td><td>{escape(what)}</td><td class=n>{escape(amount)}</td>"
        f"<td class=n>{escape(balance)}</td></tr>"
        for date, what, amount, balance in rows(made, book)
    )
    title = escape(f"{made.site}: statement of {made.member} for {made.year}")
    words = "".join(f"<p>{escape(line)}</p>" for line in summary(made, book))
    return page(
        title,
        f"<table><thead><tr><th>Date<th>What<th class=n>Amount<th class=n>Balance</thead><tbody>{body}</tbody></table>"
        f"<p>A positive balance is owed to the community, a negative one is credit.</p>{words}",
    )


def page(title: str, body: str) -> str:
    """Returns a printable page; `title` and `body` are HTML."""
    style = (
        "body{font:12pt/1.4 sans-serif;margin:2cm;max-width:18cm}table{border-collapse:collapse;width:100%}"
        "td,th{border-bottom:1px solid #999;padding:.2em .4em;text-align:left;vertical-align:top}"
        ".n{text-align:right;white-space:nowrap}@media print{body{margin:0}}"
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{style}</style>'
        f"<h1>{title}</h1>{body}</html>\n"
    )
