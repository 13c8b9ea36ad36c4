"""Who is behind with paying, and which rung of the charter's ladder that is. The oldest bill is paid first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controller.money.cashbook import CashBook, Move
from controller.money.rules import ArrearsStep
from devices.clock import DAY_MS, Instant


@dataclass(frozen=True, slots=True)
class Arrears:
    """A member who is behind."""

    member: str
    amount: int  # overdue [minor units]
    due: Instant  # when the oldest unpaid part was due
    days: int  # whole days since then
    step: ArrearsStep | None  # the rung that it stands on, None before the first
    lifeline: bool  # has one, which no step touches


def open_charges(moves: Sequence[Move]) -> list[tuple[Instant, int]]:
    """Returns (booked at, what is left of it) of every charge that is not paid for, oldest first."""
    charges: list[list[int]] = []
    credit = 0
    first = 0
    for move in moves:
        if move.amount > 0:
            charges.append([move.at, move.amount])
        else:
            credit -= move.amount
        while credit and first < len(charges):
            part = min(credit, charges[first][1])
            charges[first][1] -= part
            credit -= part
            if not charges[first][1]:
                first += 1
    return [(Instant(at), left) for at, left in charges[first:]]


def step_text(step: ArrearsStep | None) -> str:
    """Returns a rung in words."""
    if step is None:
        return "no step yet"
    return step.step if step.step != "limit" else f"limit to {step.keep_percent} % beyond the lifeline"


def arrears(book: CashBook, now: Instant) -> list[Arrears]:
    """Returns every member whose due date has passed, the longest first."""
    found: list[Arrears] = []
    for member, moves in book.owes.items():
        if book.owed(member) <= 0 or book.members.get(member) == "community":
            continue  # the community owes itself nothing that a reminder would bring in
        late = [(at, left) for at, left in open_charges(moves) if at + book.rules.due_days * DAY_MS <= now]
        if late:
            due = Instant(late[0][0] + book.rules.due_days * DAY_MS)
            days = (now - due) // DAY_MS
            amount = sum(left for _, left in late)
            found.append(Arrears(member, amount, due, days, rung(_ladder(book, member), days), member in book.lifeline))
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
