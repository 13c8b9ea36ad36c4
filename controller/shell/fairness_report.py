"""The quarters of a ledger file, added up for `settlement.fairness`. Reads only."""

from __future__ import annotations

from pathlib import Path

from controller.ledger.canonical import Json
from controller.ledger.entries import EntryState
from controller.ledger.sealing import is_shut
from controller.settlement.bills import day_lines
from controller.settlement.charter import Member
from controller.settlement.fairness import Sums, quarter_of, report
from controller.settlement.published import CHARTER, Published
from controller.settlement.runs import BILL, SETTLE_DAY, parse_day, parse_lines
from controller.store.ledger_file import LedgerFile


def quarters(path: Path) -> list[dict[str, Json]]:
    """Returns the report of every quarter with a settled day, oldest first.

    Raises:
        NotALedger: there is no ledger, or it cannot be read.
    """
    file = LedgerFile.read(path)
    try:
        published = Published()
        for row in file.of_kind(CHARTER):
            published.absorb(row.sealed().entry)
        undone = {row.sealed().entry.refers for row in file.resolutions() if row.state == EntryState.REVERSAL}
        members: dict[str, dict[str, Member]] = {}
        sums: dict[str, dict[str, Sums]] = {}
        closed: dict[str, int] = {}
        for kind in (SETTLE_DAY, BILL):
            for row in file.of_kind(kind):
                if row.state != EntryState.POSTED or row.id in undone:
                    continue
                body = row.sealed().entry.body
                days = body.get("days")
                day = str(body.get("day") or (days[-1] if isinstance(days, list) and days else ""))
                if is_shut(body):  # erased: its amounts are gone for good
                    quarter = quarter_of(row.period) if kind == SETTLE_DAY else ""
                    closed[quarter] = closed.get(quarter, 0) + 1
                    continue
                quarter = quarter_of(day)
                if kind == BILL:  # a last bill may end after its member has left
                    known = (one for one, there in members.items() if row.member in there and one <= quarter)
                    quarter = max(known, default=quarter)
                own = sums.setdefault(quarter, {}).setdefault(row.member, Sums())
                if kind == BILL:
                    own.billed += int(str(body["amount"]))
                    continue
                rules = published.rules[str(body["charter"])]
                members.setdefault(quarter, {}).update({one.id: one for one in rules.members})
                found = parse_day(body)
                own.add(found, parse_lines(body) if rules.charter.clauses else day_lines(rules.charter, found))
        shown = [name for name in sorted(sums) if name in members]
        currency = next((rules.charter.currency for rules in published.rules.values()), "")
        return [
            {**report(name, members[name], sums[name]), "currency": currency, "erased_days": closed.get(name, 0)}
            for name in shown
        ]
    finally:
        file.close()
