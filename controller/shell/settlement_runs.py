"""Runs in the journal: settlement says what should stand, and only the difference to what stands is posted."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from controller.ledger.canonical import Json
from controller.ledger.entries import Entry, EntryState, SealedEntry, derived_id
from controller.ledger.orders import Post, Reverse
from controller.ledger.sealing import is_shut
from controller.settlement.accounts import owes_account
from controller.settlement.closed_days import CORRECTION_REFUSED, Standing, known_rules, rest_of
from controller.settlement.evidence import EVIDENCE_KINDS, Evidence
from controller.settlement.intervals import BRACKET_MS, Kept, PointDay, Proofs, point_day, record_leaf
from controller.settlement.published import Published
from controller.settlement.run_names import RUN_KEYS, run_name
from controller.settlement.runs import (
    BILL,
    DELIVERED,
    DELIVERY,
    DIVIDEND,
    NO_SALTS,
    NOTHING_FIXED,
    RUN_BILL,
    RUN_DAY,
    SETTLE_DAY,
    SETTLE_GRID,
    BilledDay,
    DayResult,
    Draft,
    Fixed,
    Rules,
    parse_day,
    parse_exchange,
    parse_lines,
    salted_in,
    settle_day,
    settle_period,
)
from controller.settlement.storage import parse_grid_fields, parse_part
from controller.settlement.tariff import LocalDay, period_name
from controller.settlement.tenancy import END_OF_TIME, move_in
from controller.shell.journal import Journal
from controller.shell.signed_days import contradiction, signed_texts
from controller.store.ledger_file import LedgerFile
from controller.store.ledger_rows import EntryRow, member_owner
from devices.clock import Instant
from devices.model import IntervalRecord

NO_POINTS: Mapping[str, PointDay] = {}
DAY_KINDS = (SETTLE_DAY, SETTLE_GRID, RUN_DAY)
BILL_KINDS = (BILL, DIVIDEND, RUN_BILL)


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
        self._moves: dict[str, list[tuple[Instant, str]]] | None = None  # usage point -> from which day on whose

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
                    entry = row.sealed().entry
                    if not is_shut(entry.body):
                        self._evidence.absorb(entry)
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
        salts: Mapping[str, str] = NO_SALTS,
    ) -> DayResult:
        """Returns what a day settles to under a charter.

        `plain` holds usage points that are validated already; `salts` are those of the run that is made, or stands.
        """
        rules = self._published.rules[charter]
        points = self._points(rules, day, records, since, salts, plain or {})
        return settle_day(rules, charter, day, self._published.bands(charter, day), points, salts)

    def _points(
        self, rules: Rules, day: LocalDay, records: Mapping[str, Sequence[Kept]], since: Mapping[str, Instant],
        salts: Mapping[str, str], plain: Mapping[str, PointDay] = NO_POINTS, unseen: Container[bytes] = (),
    ) -> dict[str, PointDay]:  # fmt: skip
        """Returns the validated day of every usage point of some rules."""
        return {
            point: plain.get(point)
            or self._point_day(
                point, day, records.get(point, ()), self._heard(point, rules, day, since.get(point), salts),
                rules.charter.clock_tolerance_ms, unseen,
            )
            for point in rules.points()
        }  # fmt: skip

    def salts_for(self, day: LocalDay, charter: str) -> dict[str, str]:
        """Returns the salts of a day that is settled for the first time: of those who have a key."""
        vault, found = self._file.vault, dict[str, str]()
        for member in self._published.rules[charter].members:
            owner = member_owner(member.id)
            for point in (*member.usage_points, *member.water_points) if vault.has(owner) else ():
                found[point] = vault.salt(owner, f"inputs/{day.name}/{point}").hex()
        return found

    def _heard(
        self, point: str, rules: Rules, day: LocalDay, since: Instant | None, salts: Mapping[str, str]
    ) -> Instant | None:
        """Returns the start of a usage point's first record, of this member: nobody is billed by another's registers.

        A run from before there were salts did not know that; it stands as it was made.
        """
        if point not in salts or since is None:
            return since
        member = next(one.id for one in rules.members if point in (*one.usage_points, *one.water_points))
        rows = [row for row in self._tenants().get(point, ()) if row[0] < day.start]
        if not rows or rows == [(rows[0][0], member)]:
            return since
        first = self._file.nearest(point, rows[-1][0] if rows[-1][1] == member else day.start, END_OF_TIME, later=True)
        return None if first is None else first.start

    def _tenants(self) -> dict[str, list[tuple[Instant, str]]]:
        if self._moves is None:
            self._moves = {}
            for start, _, charter in settled_runs(self._file):
                self._note(start, charter)
        return self._moves

    def _note(self, start: Instant, charter: str) -> None:
        if self._moves is not None:
            move_in(self._moves, start, self._published.rules.get(charter))

    def bill_drafts(self, days: Sequence[LocalDay], fixed: Fixed = NOTHING_FIXED) -> tuple[str, tuple[Draft, ...]]:
        """Returns (period, bills) of the settled days that make up a period; without those that are fixed."""
        billed = [self._days.get(day.name) or self._billed_day(self.live(day.name, DAY_KINDS), day) for day in days]
        rules = self._published.rules[self.charter_of(days[-1])]
        period = period_name(rules.charter, days[0])
        return period, settle_period(rules, period, billed, fixed)

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
        self, point: str, day: LocalDay, kept: Sequence[Kept], since: Instant | None, tolerance_ms: int | None,
        unseen: Container[bytes],
    ) -> PointDay:  # fmt: skip
        before = after = None
        if since is not None and since < day.start:
            before = self._nearest(point, day.start, min(BRACKET_MS, day.start - since), unseen, later=False)
        if not kept or kept[-1].record.end < day.end:
            after = self._nearest(point, day.end, BRACKET_MS, unseen, later=True)
        wrong = contradiction(signed_texts(self._file, point, day.start, day.end), (item.record for item in kept))
        proofs = Proofs(self.evidence, tolerance_ms, signed=not wrong)
        return point_day(point, day, kept, before, after, since=since, proofs=proofs)

    def _nearest(
        self, point: str, start: Instant, within_ms: int, unseen: Container[bytes], *, later: bool
    ) -> IntervalRecord | None:
        """Returns the record beside an instant, those left out that were not there yet."""
        at, last = start, start + within_ms if later else start - within_ms
        while (found := self._file.nearest(point, at, abs(last - at), later=later)) is not None:
            if record_leaf(found) not in unseen:
                return found
            at = Instant(found.start + 1) if later else found.start
        return None

    def _billed_day(self, live: Mapping[tuple[str, str], SealedEntry], day: LocalDay) -> BilledDay:
        run, grid = live[RUN_DAY, ""].entry, live[SETTLE_GRID, ""].entry
        own = {member: entry.entry for (kind, member), entry in live.items() if kind == SETTLE_DAY}
        members = {member: entry for member, entry in own.items() if not is_shut(entry.body)}
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
        self, day: LocalDay, records: Mapping[str, Sequence[Kept]], since: Mapping[str, Instant], now: Instant,
        late: Container[bytes] = (),
    ) -> RunResult:  # fmt: skip
        """Posts the final run of a day, or corrects it if it has been posted before.

        `late` are the leaves of records that no run has seen: a day with erased members is settled with their help.
        """
        live = self.live(day.name, DAY_KINDS)
        if closed(live):
            return self._settle_rest(day, records, since, now, live, late)
        standing = live.get((RUN_DAY, ""))
        charter = self._published.in_force(day.start) if standing is None else str(standing.entry.body["charter"])
        salts = self.salts_for(day, charter) if standing is None else salts_in(live)
        result = self.compute(day, charter, records, since, salts=salts)
        written, name = self._post(day.name, day.end, result.drafts, live, now)
        if standing is None:
            self._note(day.start, charter)
        run = "final" if standing is None else "correction"
        return RunResult(run, name, day.name, day.start, day.end, written, result.held, (), result.estimated)

    def bill(self, days: Sequence[LocalDay], now: Instant) -> RunResult | None:
        """Posts the bills of the period that these settled days make up, or corrects them; None if nothing changed."""
        period = period_name(self._published.rules[self.charter_of(days[-1])].charter, days[0])
        live = self.live(period, BILL_KINDS)
        fixed = fixed_bills(live)
        if not fixed.members and any(closed(self.live(day.name, DAY_KINDS)) for day in days):
            return None  # a copy without its keys
        _, drafts = self.bill_drafts(days, fixed)
        live = {key: one for key, one in live.items() if not is_shut(one.entry.body)}
        written, name = self._post(period, days[-1].end, drafts, live, now)
        if not written:
            return None
        run = "bill-correction" if live else "bill"
        return RunResult(run, name, period, days[0].start, days[-1].end, written)

    def _settle_rest(
        self, day: LocalDay, records: Mapping[str, Sequence[Kept]], since: Mapping[str, Instant], now: Instant,
        live: Mapping[tuple[str, str], SealedEntry], late: Container[bytes],
    ) -> RunResult:  # fmt: skip
        """Corrects a day for the others after a member's data were erased, or notes that it cannot be done."""
        standing = standing_of(live)
        charter = str(standing.run["charter"])
        rules, bands = self._published.rules[charter], self._published.bands(charter, day)
        known, salts = known_rules(rules, standing), salts_in(live)
        points = self._points(known, day, records, since, salts)
        before = {point: [one for one in rows if one.leaf not in late] for point, rows in records.items()}
        evidence, self._evidence = self._evidence, self._evidence_before(live[RUN_DAY, ""])
        old = self._points(known, day, before, since, salts, unseen=late)
        self._evidence = evidence
        held, zeros = standing.held(), (0,) * day.slots
        old |= {name: replace(old[name], imports=zeros, exports=zeros) for name in old if name in held}
        rest = rest_of(rules, bands, standing, old)
        if rest is None:
            made = standing.inputs()
            changed = [p.point for p in points.values() if [p.records, p.root.hex()] != made.get(p.point, [])[1:3]]
            return self._refuse(day, changed, now)
        result = settle_day(known, charter, day, bands, points, salts, rest)
        live = {key: one for key, one in live.items() if not is_shut(one.entry.body)}
        written, name = self._post(day.name, day.end, result.drafts, live, now)
        return RunResult("correction", name, day.name, day.start, day.end, written, result.held, (), result.estimated)

    def _evidence_before(self, run: SealedEntry) -> Evidence:
        """Returns what had been stated when a run was made."""
        row = self._file.by_id(run.entry.id)
        assert row is not None
        found = Evidence()
        for kind in EVIDENCE_KINDS:
            for one in self._file.of_kind(kind):
                entry = one.sealed().entry
                if one.seq < row.seq and not is_shut(entry.body):
                    found.absorb(entry)
        return found

    def _refuse(self, day: LocalDay, points: Sequence[str], now: Instant) -> RunResult:
        """Writes down that a day stays as it is although something is known about it that it does not say."""
        count = len(self._file.of_period(day.name, (CORRECTION_REFUSED,)))
        if points:
            text = f"{day.name} stays as it was settled, without what came late of {', '.join(points)}"
            body: dict[str, Json] = {
                "day": day.name, "points": [*points],
                "text": f"{text}: the data of a member who shared in it were erased",
            }  # fmt: skip
            identity = derived_id(day.end, self._site, CORRECTION_REFUSED, day.name, count)
            self._journal.must(Post(identity, now, CORRECTION_REFUSED, (), body))
        return RunResult("refused", "", day.name, day.start, day.end, int(bool(points)))

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
    return any(is_shut(sealed.entry.body) for sealed in live.values())


def standing_of(live: Mapping[tuple[str, str], SealedEntry]) -> Standing:
    """Returns a day's standing entries by what can be read of them."""
    own = {member: one.entry for (kind, member), one in live.items() if kind == SETTLE_DAY}
    shut = {member: entry for member, entry in own.items() if is_shut(entry.body)}
    known = {member: entry for member, entry in own.items() if member not in shut}
    return Standing(live[RUN_DAY, ""].entry.body, live[SETTLE_GRID, ""].entry.body, known, shut)


def fixed_bills(live: Mapping[tuple[str, str], SealedEntry]) -> Fixed:
    """Returns the bills of a period whose members' data were erased, by their postings and the period's sums."""
    bills = {member: one.entry for (kind, member), one in live.items() if kind == BILL}
    shut = {member: entry for member, entry in bills.items() if is_shut(entry.body)}
    if not shut or (RUN_BILL, "") not in live:
        return NOTHING_FIXED
    known = sum(int(str(entry.body["exact"])) for member, entry in bills.items() if member not in shut)
    owed = ((owes_account(member), entry) for member, entry in shut.items())
    billed = sum(posting.amount for account, entry in owed for posting in entry.postings if posting.account == account)
    return Fixed(frozenset(shut), billed, int(str(live[RUN_BILL, ""].entry.body["exact"])) - known)


def salts_in(live: Mapping[tuple[str, str], SealedEntry]) -> dict[str, str]:
    """Returns the salts of a day's standing run, by usage point; the run from before there were any has none."""
    return {point: salt for sealed in live.values() for point, salt in salted_in(sealed.entry.body).items()}


def settled_runs(file: LedgerFile) -> list[tuple[Instant, Instant, str]]:
    """Returns (start, end, charter) of every run of a day, oldest day first, corrections among them."""
    bodies = [row.sealed().entry.body for row in file.of_kind(RUN_DAY) if row.state == EntryState.POSTED]
    return sorted((Instant(int(str(b["start"]))), Instant(int(str(b["end"]))), str(b["charter"])) for b in bodies)


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
