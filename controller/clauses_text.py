"""Which clause of a charter a line of a bill or an entry of the log rests on, and its arithmetic in words."""

from __future__ import annotations

from collections.abc import Mapping

from controller.settlement.bills import AMOUNT, Line

_LINES = {
    "lifeline energy": "[lifeline] wh, price",
    "energy from the community": "[sharing] key, [price]",
    "energy from outside, ": "[[band]] import_price",
    "energy sold to the community": "[sharing] key, [price]",
    "energy sold to the outside": "export_price",
    "lifeline water": "[lifeline] ml, water_price",
    "water": "water_price",
    "levy": "[fees] levy_per_kwh",
    "solidarity share": "[fees] solidarity_per_kwh",
    "network fee, feeder ": "[[network]] per_kwh",
    "fee per bill": "[fees] per_bill",
    "storage, passed on": "[storage] owner, losses, points",
    "storage, by energy stored": "[storage] owner, losses",
    "storage losses, by use": "[storage] losses",
    "share of the outside's bill": "[price] rule = bill-sharing",
    "share of the outside's payment": "[price] rule = bill-sharing",
    "premium on shared energy": "[price] premium, takers_permille, givers_permille",
    "deliveries": "[[service]] delivery",
}
KINDS: Mapping[str, tuple[str, str]] = {
    "settle.day": ("[sharing] key, [lifeline]", "own registers and the slot totals of the day's run"),
    "settle.grid": ("[sharing] key", "the grid meter against the sum of all members; the rest are losses"),
    "run.day": ("[sharing] key", "the slot totals that every household recomputes its share from"),
    "bill": ("bill_period, rounding", "the lines of all days of the period"),
    "run.bill": ("bill_period, rounding", "sum of the bills, the exact sum rounded once, the outside's bill"),
    "dividend": ("[dividend]", "the community's gain of the period"),
    "work.credit": ("[[service]] work-credit", "credits times the charter's price"),
    "service.charge": ("[[service]] robot-hour", "hours times the charter's price"),
    "arrears.step": ("[arrears] step", "the oldest bill that is not paid, its age, and what is kept whatever is owed"),
    "arrears.done": ("[arrears] step", "what people did about a step, and who says so"),
    "account.limits": ("[lifeline], or an administrator", "what the account may hold from then on"),
    "loan": ("[treasury] approvals", "the device, what it costs, and who agreed"),
    "treasury.income": ("[treasury]", "what came from somebody who is no member"),
    "payment": ("[treasury]", "what a member paid"),
    "credit.payout": ("[treasury] approvals", "what the community owes a member, and who agreed"),
    "loan.instalment": ("[treasury]", "the loan divided by its number of bills"),
    "treasury.spend": ("[treasury] approvals", "what a budget holds, and who agreed"),
    "treasury.budget": ("[treasury] approvals", "what the treasury holds, and who agreed"),
    "vote.open": ("[quorum]", "the charter's document, and who may vote"),
    "vote.cast": ("[quorum]", "one signed ballot"),
    "vote.result": ("[quorum] approvals", "the ballots"),
    "charter": ("[quorum], or the site file", "the rules themselves"),
    "charter.table": ("[[band]], timezone", "civil time compiled into instants"),
}
"""Kind of entry -> (clause, what goes in)."""
HELD: Mapping[str, tuple[str, str]] = {
    "missing": (
        "slots have no record, and there are no registers on both sides of them",
        "the late record or the meter's next register settles it by itself",
    ),
    "suspect": (
        "its registers ran backwards or leapt, as those of an exchanged meter do",
        "a new meter: atoll meter replace {point}, with both displays; else look at the meter and its wiring",
    ),
    "register": (
        "its records contradict each other's registers",
        "look at the meter; a correction settles the day again",
    ),
    "overlap": ("two records are of the same time", "look at the gateway; a correction settles the day again"),
    "signature": (
        "the day is not signed by its gateway's pinned key, or the signed text says something else",
        "the gateway sends the right text; a new gateway: atoll key revoke gateway NAME --reason TEXT",
    ),
}
"""Why a meter is held back for a day -> (what that means, what ends it for `{point}`); docs/records.md."""


def place_of(text: str) -> int:
    """Returns where a line stands among the others on paper: energy, water, fees; what is not known comes last."""
    starts = [*_LINES]
    found = [at for at, start in enumerate(starts) if text.startswith(start)]
    return starts.index(text) if text in _LINES else min(found, default=len(starts))


def clause_of(text: str) -> str:
    """Returns the clause that a line of a bill rests on."""
    found = _LINES.get(text)
    if found is not None:
        return found
    return next((clause for start, clause in _LINES.items() if text.startswith(start)), "no clause: ask the auditor")


def arithmetic(line: Line, currency: str) -> str:
    """Returns `1.25 kWh x 0.29 EUR/kWh = 0.3625 EUR`."""
    if line.unit == AMOUNT:
        return f"{line.amount_text()} {currency}"
    return f"{line.quantity_text()} x {line.price_text(currency)} = {line.amount_text()} {currency}"
