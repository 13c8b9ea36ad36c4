"""The last days of a ledger settled slot by slot under the charters that held and under one that is proposed.

Unlike the policy lab this is the hub's own settlement: the same records, the grid meter with its losses, water,
deliveries, one rounding per bill. Reads only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from controller.charter_file import charter_document, published
from controller.charter_schema import CharterFile
from controller.ledger.canonical import Json, decode, encode
from controller.ledger.entries import EntryState
from controller.settlement.accounts import TREASURY
from controller.settlement.charter import Charter, changed_for_life
from controller.settlement.published import CHARTER, CHARTER_TABLE, Published
from controller.settlement.runs import (
    BILL,
    DIVIDEND,
    RUN_DAY,
    SETTLE_DAY,
    SETTLE_GRID,
    BilledDay,
    DayResult,
    Rules,
    parse_exchange,
    parse_lines,
    settle_period,
)
from controller.settlement.storage import parse_grid_fields, parse_part
from controller.settlement.tariff import Calendar, LocalDay, compile_year, local_year, period_name
from controller.shell.settlement_runs import Settled, delivered
from controller.store.ledger_file import LedgerFile
from devices.clock import Instant

TRIAL = "trial"


class NothingToTry(ValueError):
    """No settled day, or a charter that does not fit this ledger."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What each member was billed and would have been; money in minor units."""

    days: tuple[str, ...]
    slots: int
    charters: tuple[str, ...]  # entries of those that held
    before: Mapping[str, int]
    after: Mapping[str, int]
    treasury: tuple[int, int]  # the community's gain, before and after
    charter: Charter

    def changes(self) -> dict[str, int]:
        """Returns what each member would pay more."""
        return {name: self.after.get(name, 0) - amount for name, amount in self.before.items()}

    def document(self) -> dict[str, Json]:
        """Returns the trial for other programs, amounts as decimal strings."""
        changes = self.changes()
        rows: list[Json] = [
            {"member": name, "before": str(amount), "after": str(amount + changes[name]), "change": str(changes[name])}
            for name, amount in self.before.items()
        ]
        return {
            "days": list(self.days),
            "slots": self.slots,
            "charters": list(self.charters),
            "members": rows,
            "winners": sum(change < 0 for change in changes.values()),
            "losers": sum(change > 0 for change in changes.values()),
            "worst_off": max(sorted(changes), key=lambda name: changes[name]),
            "treasury": {"before": str(self.treasury[0]), "after": str(self.treasury[1])},
        }


def trial(path: Path, file: CharterFile, days: int) -> Trial:
    """Returns the last `days` settled days under both charters.

    Raises:
        NotALedger: there is no ledger, or it cannot be read.
        NothingToTry: no day has been settled, or the charter has other money or another time zone.
    """
    ledger = LedgerFile.read(path)
    try:
        return _Trial(ledger, file).run(days)
    finally:
        ledger.close()


class _Trial:
    def __init__(self, ledger: LedgerFile, file: CharterFile) -> None:
        self._ledger = ledger
        self._published = Published()
        for kind in (CHARTER, CHARTER_TABLE):
            for row in ledger.of_kind(kind):
                self._published.absorb(row.sealed().entry)
        undone = {row.sealed().entry.refers for row in ledger.resolutions() if row.state == EntryState.REVERSAL}
        self._settled = Settled(ledger, self._published, undone)
        runs = [row for row in ledger.of_kind(RUN_DAY) if row.state == EntryState.POSTED and row.id not in undone]
        bodies = [row.sealed().entry.body for row in runs]
        found = [(int(str(b["start"])), int(str(b["end"])), str(b["day"]), str(b["charter"])) for b in bodies]
        self._runs = [(LocalDay(Instant(a), Instant(b), name), charter) for a, b, name, charter in sorted(found)]
        if not self._runs:
            raise NothingToTry("no day has been settled yet")
        self._trial(file)

    def _trial(self, file: CharterFile) -> None:
        standing = self._published.rules[self._runs[-1][1]]
        document = decode(encode(charter_document(file)))
        assert isinstance(document, Mapping)
        charter = published(document)
        if differs := changed_for_life(standing.charter, charter):
            raise NothingToTry(differs)
        self._published.rules[TRIAL] = Rules(charter, standing.members, standing.grid_point)
        self._published.calendars[TRIAL] = Calendar()

    def run(self, days: int) -> Trial:
        """Settles the last days twice."""
        runs, since = self._runs[-days:], self._ledger.first_starts()
        calendar = self._published.calendars[TRIAL]
        periods: dict[str, list[tuple[str, BilledDay, BilledDay]]] = {}
        for day, charter in runs:
            rules = self._published.rules[TRIAL]
            if not calendar.covers(day.start):
                calendar.add(compile_year(rules.charter, local_year(rules.charter, day.start), TRIAL))
            records, counts = self._settled.records_of(day), delivered(self._ledger, day)
            both = [
                self._billed(day, self._settled.compute(day, name, records, since), name, counts)
                for name in (charter, TRIAL)
            ]
            periods.setdefault(period_name(rules.charter, day), []).append((charter, both[0], both[1]))
        before, after, gains = dict[str, int](), dict[str, int](), [0, 0]
        for name, rows in periods.items():
            last = rows[-1][0]
            gains[0] += self._bills(last, name, [row[1] for row in rows], before)
            gains[1] += self._bills(TRIAL, name, [row[2] for row in rows], after)
        slots = sum(day.slots for day, _ in runs)
        charters = tuple(dict.fromkeys(charter for _, charter in runs))
        names = tuple(day.name for day, _ in runs)
        charter = self._published.rules[TRIAL].charter
        return Trial(names, slots, charters, before, after, (gains[0], gains[1]), charter)

    def _bills(self, charter: str, period: str, days: Sequence[BilledDay], sums: dict[str, int]) -> int:
        """Adds a period's bills to the members' sums; returns the treasury's gain [minor units]."""
        gain = 0
        for draft in settle_period(self._published.rules[charter], period, days):
            if draft.kind == BILL:
                sums[draft.member] = sums.get(draft.member, 0) + int(str(draft.body["amount"]))
            if draft.kind == DIVIDEND:  # so much less is owed
                sums[draft.member] = sums.get(draft.member, 0) + draft.postings[0].amount
            gain -= sum(posting.amount for posting in draft.postings if posting.account == TREASURY)
        return gain

    def _billed(
        self, day: LocalDay, found: DayResult, charter: str, counts: Mapping[str, Mapping[str, int]]
    ) -> BilledDay:
        bodies = {(draft.kind, draft.member): draft.body for draft in found.drafts}
        exchange, premium = parse_exchange(bodies[SETTLE_GRID, ""])
        keeper, storage = parse_grid_fields(bodies[SETTLE_GRID, ""])
        parts = {name: parse_part(bodies[SETTLE_DAY, name]) for name in found.members}
        lines = {name: parse_lines(bodies[SETTLE_DAY, name]) for name in found.members}
        rules = self._published.rules[charter].charter
        counted = exchange, premium, counts, keeper, storage, parts
        return BilledDay(day.name, rules, found.members, found.grid.cost, {}, lines, *counted)
