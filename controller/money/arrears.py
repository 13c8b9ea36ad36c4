"""Who is behind with paying, and which rung of the charter's ladder that is. The oldest bill is paid first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controller.ledger.canonical import Json
from controller.ledger.entries import EntryState
from controller.money.cashbook import CashBook, Move
from controller.money.rules import ArrearsStep
from controller.settlement.runs import BILL
from devices.clock import DAY_MS, Instant


@dataclass(frozen=True, slots=True)
class Arrears:
    """A member who is behind."""

    member: str
    amount: int  # overdue [minor units]
    due: Instant  # when the oldest unpaid part was due
    days: int  # whole days since then
    step: ArrearsStep | None  # the rung that it stands on, None before the first
    lifeline: tuple[int, int]  # Wh and mL that it keeps every day: no step touches them


def open_charges(moves: Sequence[Move]) -> list[tuple[Instant, int]]:
    """Returns (booked at, what is left of it) of every charge that is not paid for, oldest first.

    A reversal takes back its own entry, as if neither had been: a bounced payment makes no new debt, and a bill that
    is settled again keeps the age of the first up to the amount of that one; only what it is more is new.
    """
    standing: dict[str, list[tuple[Instant, int]]] = {}  # entry -> its charges by age, or one credit
    before: dict[str, list[tuple[Instant, int]]] = {}  # a bill's period -> what it came to the last time
    period_of: dict[str, str] = {}
    for move in moves:
        if move.state == EntryState.REVERSAL and move.refers in standing:
            parts = standing.pop(move.refers)
            if (period := period_of.get(move.refers)) is not None:
                before[period] = parts
        elif move.kind == BILL and move.state == EntryState.POSTED:
            period = period_of[move.id] = str(move.body.get("period", move.id))
            standing[move.id] = _aged(before.get(period, []), move)
        else:
            standing[move.id] = [(move.at, move.amount)]
    parts = sorted((part for parts in standing.values() for part in parts), key=lambda part: part[0])
    paid = -sum(amount for _, amount in parts if amount < 0)
    left: list[tuple[Instant, int]] = []
    for at, amount in parts:
        if amount > 0:
            used = min(paid, amount)
            paid -= used
            left += [(at, amount - used)] * (used < amount)
    return left


def _aged(before: Sequence[tuple[Instant, int]], bill: Move) -> list[tuple[Instant, int]]:
    """Returns a bill's amount by age: as old as it was the last time, and only what it is more from today."""
    parts: list[tuple[Instant, int]] = []
    left = bill.amount
    for at, amount in before:
        if min(amount, left) > 0:
            parts.append((at, min(amount, left)))
            left -= parts[-1][1]
    return [*parts, (bill.at, left)] if left else parts


def step_text(step: ArrearsStep | None, lifeline: tuple[int, int] = (0, 0)) -> str:
    """Returns a rung in words; `lifeline` is what the member keeps every day (Wh, mL)."""
    if step is None:
        return "no step yet"
    if step.step != "limit":
        return step.step
    return f"limit to {step.keep_percent} % beyond the lifeline{lifeline_text(lifeline)}"


def lifeline_text(lifeline: tuple[int, int]) -> str:
    """Returns ` of 2 kWh and 150 L a day`, '' where there is none."""
    wh, ml = lifeline
    return f" of {wh / 1000:g} kWh and {ml / 1000:g} L a day" if wh or ml else ""


def kept(one: Arrears) -> dict[str, Json]:
    """Returns what a member keeps every day as an entry names it."""
    wh, ml = one.lifeline
    return {"lifeline_wh": wh, "lifeline_ml": ml} if wh or ml else {}


def arrears(book: CashBook, now: Instant) -> list[Arrears]:
    """Returns every member whose due date has passed by an instant, the longest first; what came later is not seen."""
    found: list[Arrears] = []
    for member, every in book.owes.items():
        moves = [move for move in every if move.at <= now]
        if sum(move.amount for move in moves) <= 0 or book.members.get(member) == "community":
            continue  # the community owes itself nothing that a reminder would bring in
        late = [(at, left) for at, left in open_charges(moves) if at + book.rules.due_days * DAY_MS <= now]
        if late:
            due = Instant(late[0][0] + book.rules.due_days * DAY_MS)
            days = (now - due) // DAY_MS
            amount = sum(left for _, left in late)
            step, lifeline = rung(_ladder(book, member), days), book.lifeline_of(member, now)
            found.append(Arrears(member, amount, due, days, step, lifeline))
    return sorted(found, key=lambda one: (one.due, one.member))


def _ladder(book: CashBook, member: str) -> Sequence[ArrearsStep]:
    """Returns the steps for a member: only households are ever limited, a clinic is not."""
    if book.members.get(member) == "household":
        return book.rules.steps
    return [step for step in book.rules.steps if step.step != "limit"]


def rung(steps: Sequence[ArrearsStep], days: int) -> ArrearsStep | None:
    """Returns the rung on which somebody stands after so many days."""
    reached = [step for step in steps if step.after_days <= days]
    return max(reached, key=lambda step: step.after_days, default=None)
