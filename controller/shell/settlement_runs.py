"""Runs in the journal: settlement says what should stand, and only the difference to what stands is posted."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass

from controller.ledger.canonical import Json
from controller.ledger.entries import Entry, EntryState, SealedEntry, derived_id
from controller.ledger.orders import Post, Reverse
from controller.settlement.evidence import EVIDENCE_KINDS, Evidence
from controller.settlement.intervals import BRACKET_MS, Kept, PointDay, Proofs, point_day
from controller.settlement.published import Published
from controller.settlement.run_names import RUN_KEYS, run_name
from controller.settlement.runs import (
    BILL,
    DIVIDEND,
    RUN_BILL,
    RUN_DAY,
    SETTLE_DAY,
    SETTLE_GRID,
    BilledDay,
    DayResult,
    Draft,
    parse_day,
    parse_exchange,
    parse_lines,
    settle_day,
    settle_period,
)
from controller.settlement.storage import parse_grid_fields, parse_part
from controller.settlement.tariff import LocalDay, period_name
from controller.shell.journal import Journal
from controller.shell.signed_days import contradiction, signed_texts
from controller.store.ledger_file import LedgerFile
from controller.store.ledger_rows import EntryRow
from devices.clock import Instant

DAY_KINDS = (SETTLE_DAY, SETTLE_GRID, RUN_DAY)
BILL_KINDS = (BILL, DIVIDEND, RUN_BILL)
DELIVERY, DELIVERED = "delivery", "done"
"""Kind and state of the entry by which the hub notes that something has arrived."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """One run that has been made: what it is called, for which time, and what it found."""

    run: str  # provisional, final, correction, bill, bill-correction
    name: str  # II, SF, R1, ..., RF
    period: str  # slot, day or bill period
    start: Instant
    end: Instant
    entries: int  # written, reversals included
    held: tuple[tuple[str, str], ...] = ()  # (usage point, why): quarantined for this day
    missing: tuple[str, ...] = ()  # provisional: usage points without a record
    estimated: int = 0  # slots filled between registers


class Settled:
    """What stands in a ledger file, and what settlement says of the same records; writes nothing."""

    def __init__(self, file: LedgerFile, published: Published, is_reversed: Container[str]) -> None:
        self._file = file
        self._published = published
        self._reversed = is_reversed
        self._days: dict[str, BilledDay] = {}
        self._evidence: Evidence | None = None

    @property
    def evidence(self) -> Evidence:
        """Returns what is stated about meters and clocks.

        Raises:
            EvidenceBroken: a statement in the log does not hold what its kind promises.
        """
        if self._evidence is None:
            self._evidence = Evidence()
            for kind in EVIDENCE_KINDS:
                for row in self._file.of_kind(kind):
                    self._evidence.absorb(row.sealed().entry)
        return self._evidence

    def remember(self, day: LocalDay, live: Mapping[tuple[str, str], SealedEntry]) -> None:
        """Keeps what a bill needs of a day whose standing entries are at hand, so that they are not read again."""
        self._days[day.name] = self._billed_day(live, day)

    def compute(
        self,
        day: LocalDay,
        charter: str,
        records: Mapping[str, Sequence[Kept]],
        since: Mapping[str, Instant],
        plain: Mapping[str, PointDay] | None = None,
    ) -> DayResult:
        """Returns what a day settles to under a charter; `plain` holds usage points that are validated already."""
        rules, done = self._published.rules[charter], plain or {}
        points = {
            point: done.get(point)
            or self._point_day(point, day, records.get(point, ()), since.get(point), rules.charter.clock_tolerance_ms)
            for point in rules.points()
        }
        return settle_day(rules, charter, day, self._published.bands(charter, day), points)

    def bill_drafts(self, days: Sequence[LocalDay]) -> tuple[str, tuple[Draft, ...]]:
        """Returns (period, bills) of the settled days that make up a period."""
        billed = [self._days.get(day.name) or self._billed_day(self.live(day.name, DAY_KINDS), day) for day in days]
        rules = self._published.rules[self.charter_of(days[-1])]
        period = period_name(rules.charter, days[0])
        return period, settle_period(rules, period, billed)

    def charter_of(self, day: LocalDay) -> str:
        """Returns the id of the charter by which a settled day was settled."""
        return str(self.live(day.name, (RUN_DAY,))[RUN_DAY, ""].entry.body["charter"])

    def live(self, period: str, kinds: Sequence[str]) -> dict[tuple[str, str], SealedEntry]:
        """Returns the entries of a period that stand: posted and not reversed, by (kind, member)."""
        found: dict[tuple[str, str], SealedEntry] = {}
        for row in self._file.of_period(period, kinds):
            if row.state == EntryState.POSTED and row.id not in self._reversed:
                found[row.kind, row.member] = row.sealed()
        return found

    def records_of(self, day: LocalDay) -> dict[str, list[Kept]]:
        """Returns the day's records from the file, by usage point, in settlement order."""
        found: dict[str, list[Kept]] = {}
        for kept in self._file.records(day.start, day.end):
            found.setdefault(kept.record.usage_point, []).append(kept)
        return found

    def _point_day(
        self, point: str, day: LocalDay, kept: Sequence[Kept], since: Instant | None, tolerance_ms: int | None
    ) -> PointDay:
        before = after = None
        if since is not None and since < day.start:
            before = self._file.nearest(point, day.start, BRACKET_MS, later=False)
        if not kept or kept[-1].record.end < day.end:
            after = self._file.nearest(point, day.end, BRACKET_MS, later=True)
        wrong = contradiction(signed_texts(self._file, point, day.start, day.end), (item.record for item in kept))
        proofs = Proofs(self.evidence, tolerance_ms, signed=not wrong)
        return point_day(point, day, kept, before, after, since=since, proofs=proofs)

    def _billed_day(self, live: Mapping[tuple[str, str], SealedEntry], day: LocalDay) -> BilledDay:
        run, grid = live[RUN_DAY, ""].entry, live[SETTLE_GRID, ""].entry
        members = {member: entry.entry for (kind, member), entry in live.items() if kind == SETTLE_DAY}
        charter = self._published.rules[str(run.body["charter"])].charter
        exchange, premium = parse_exchange(grid.body)
        keeper, storage = parse_grid_fields(grid.body)
        return BilledDay(
            day.name,
            charter,
            {member: parse_day(entry.body) for member, entry in members.items()},
            int(str(grid.body["cost"])),
            {member: held_points(entry.body) for member, entry in members.items()},
            {member: parse_lines(entry.body) for member, entry in members.items()},
            exchange,
            premium,
            {} if charter.clauses is None else delivered(self._file, day),
            keeper,
            storage,
            {member: parse_part(entry.body) for member, entry in members.items()},
        )


class RunWriter(Settled):
    """Settles days and periods of one ledger."""

    def __init__(self, journal: Journal, published: Published, site_id: str) -> None:
        super().__init__(journal.file, published, journal.state.reversed)
        self._journal = journal
        self._site = site_id

    def settle(
        self, day: LocalDay, records: Mapping[str, Sequence[Kept]], since: Mapping[str, Instant], now: Instant
    ) -> RunResult:
        """Posts the final run of a day, or corrects it if it has been posted before."""
        live = self.live(day.name, DAY_KINDS)
        if closed(live):  # a member's data were erased: what was settled with them stands for good
            return RunResult("closed", "", day.name, day.start, day.end, 0)
        standing = live.get((RUN_DAY, ""))
        charter = self._published.in_force(day.start) if standing is None else str(standing.entry.body["charter"])
        result = self.compute(day, charter, records, since)
        written, name = self._post(day.name, day.end, result.drafts, live, now)
        run = "final" if standing is None else "correction"
        return RunResult(run, name, day.name, day.start, day.end, written, result.held, (), result.estimated)

    def bill(self, days: Sequence[LocalDay], now: Instant) -> RunResult | None:
        """Posts the bills of the period that these settled days make up, or corrects them; None if nothing changed."""
        if any(closed(self.live(day.name, DAY_KINDS)) for day in days):
            return None
        period, drafts = self.bill_drafts(days)
        live = self.live(period, BILL_KINDS)
        written, name = self._post(period, days[-1].end, drafts, live, now)
        if not written:
            return None
        run = "bill-correction" if live else "bill"
        return RunResult(run, name, period, days[0].start, days[-1].end, written)

    def _post(
        self,
        period: str,
        end: Instant,
        drafts: Sequence[Draft],
        live: Mapping[tuple[str, str], SealedEntry],
        now: Instant,
    ) -> tuple[int, str]:
        """Reverses what no longer holds and posts what is new; returns (entries written, name of the run)."""
        before = self._journal.size
        stale = [draft for draft in drafts if not stands(live.get((draft.kind, draft.member)), draft)]
        named = {(draft.kind, draft.member) for draft in drafts}
        gone = [key for key in live if key not in named]
        if not stale and not gone:
            return 0, ""
        revision = self._revision(period, drafts[-1].kind)
        if drafts[-1] not in stale:
            stale.append(drafts[-1])  # a run that changed anything says so itself
        run = run_name(revision, closed=end <= self._journal.state.sealed_until)
        for key in [*gone, *((draft.kind, draft.member) for draft in stale)]:
            standing = live.get(key)
            if standing is not None:
                identity = derived_id(end, self._site, "reversal", *key, period, revision)
                self._journal.must(Reverse(identity, now, standing, f"{run} of {period}, revision {revision}"))
        for draft in stale:
            identity = derived_id(end, self._site, draft.kind, draft.member, period, revision)
            body: dict[str, Json] = {**draft.body, "run": run, "revision": revision}
            if (standing := live.get((draft.kind, draft.member))) is not None:
                body["replaces"] = standing.entry.id
            self._journal.must(Post(identity, now, draft.kind, draft.postings, body))
        return self._journal.size - before, run

    def _revision(self, period: str, kind: str) -> int:
        return sum(row.state == EntryState.POSTED for row in self._file.of_period(period, (kind,)))


def closed(live: Mapping[tuple[str, str], SealedEntry]) -> bool:
    """Returns whether one of the entries is a member's own and cannot be read: its key is gone or elsewhere."""
    return any("sealed" in sealed.entry.body for sealed in live.values())


def delivered(file: LedgerFile, day: LocalDay) -> dict[str, dict[str, int]]:
    """Returns what each member got on a day that is not energy or water, by the log's own entries: deliveries."""
    found: dict[str, dict[str, int]] = {}
    for _, entry in deliveries(file, day):
        counts = found.setdefault(str(entry.body.get("member")), {})
        counts["delivery"] = counts.get("delivery", 0) + 1
    return found


def deliveries(file: LedgerFile, day: LocalDay) -> Iterator[tuple[EntryRow, Entry]]:
    """Yields the entries of what arrived on a day, and their rows."""
    for row in file.of_kind(DELIVERY):
        entry = row.sealed().entry
        if day.start <= entry.at < day.end and entry.body.get("state") == DELIVERED:
            yield row, entry


def held_points(body: Mapping[str, Json]) -> tuple[str, ...]:
    """Returns the usage points that a day's entry names as held back."""
    held = body.get("held")
    if not isinstance(held, list):
        return ()
    return tuple(str(row[0]) for row in held if isinstance(row, list) and row)


def stands(standing: SealedEntry | None, draft: Draft) -> bool:
    """Returns whether the entry in the log says what the draft says, whatever run has written it."""
    if standing is None:
        return False
    body = {key: value for key, value in standing.entry.body.items() if key not in RUN_KEYS}
    return body == draft.body and standing.entry.postings == draft.postings
