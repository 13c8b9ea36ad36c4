"""The books of the community: sole writer of `ledger.db`.

    books = Books.open(data_dir / "ledger.db", rules)
    books.accept(records)      # kept in the open transaction
    books.run_due(now)         # provisional slots, final days, corrections, bills
    books.commit(now).acks     # durable now: these may be acknowledged

One thread calls it. Nothing is acknowledged before `commit` has returned; after a crash the file holds
exactly what was committed, and a run is in it whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from controller.ledger.canonical import Json
from controller.ledger.core import Duplicate, OpenAccount, Post, Rejection
from controller.ledger.entries import SealedEntry, derived_id
from controller.ledger.note import Signer
from controller.settlement.accounts import COMMUNITY_ACCOUNTS, ENERGY, WATER, member_accounts, money
from controller.settlement.charter import Charter, Member
from controller.settlement.days import OpenDay, Pages, WatchedPoints
from controller.settlement.intervals import BRACKET_MS, Kept, Quarantine, anonymous, record_leaf, refusal
from controller.settlement.published import CHARTER, CHARTER_TABLE, Published, rules_document
from controller.settlement.runs import RUN_BILL, RUN_DAY, Rules
from controller.settlement.tariff import Calendar, LocalDay, compile_year, local_year, period_name
from controller.shell.journal import Journal, log_origin, log_seed
from controller.shell.ledger_reader import LedgerReader
from controller.shell.settlement_runs import RunResult, RunWriter
from controller.store.ledger_file import LedgerFile
from controller.store.ledger_rows import MeterRow, ProvisionalSlot, RefusedRow
from devices.clock import DAY_MS, HOUR_MS, MINUTE_MS, SLOT_MS, Instant
from devices.model import IntervalRecord

__all__ = ["Acceptance", "Books", "BooksRules", "Committed", "LedgerReader", "RunResult"]

GENESIS = "genesis"
RECORD_CONFLICT = "record.conflict"
CONFLICTS_LOGGED_MAX = 1_000


class TimezoneChanged(ValueError):
    """The site's time zone differs from the one in which the ledger has settled its days."""


@dataclass(frozen=True, slots=True)
class BooksRules:
    """What the books need of the site. `key` is an Ed25519 seed; None takes the one in keys.db."""

    site_id: str
    charter: Charter
    members: tuple[Member, ...]
    grid_point: str = "grid-1"  # "" where the community has no connection to the outside
    late_window_ms: int = 6 * HOUR_MS
    checkpoint_ms: int = MINUTE_MS
    tzdata: str = "unknown"
    key: bytes | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A record that was not kept."""

    usage_point: str
    meter_epoch: int
    page: int
    reason: str


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What became of a batch; nothing of it is durable before the next commit."""

    accepted: int
    duplicates: int
    late: int  # of the accepted: for days that were settled already
    refused: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class Committed:
    """What is on the disk now. `acks` are cumulative (usage point, meter epoch, page)."""

    acks: tuple[tuple[str, int, int], ...]
    entries: int
    root: str


@dataclass(slots=True)
class _Arrivals:
    """What has been received, in memory; rebuilt from the file on open."""

    pages: dict[tuple[str, int], Pages] = field(default_factory=dict[tuple[str, int], Pages])
    since: dict[str, Instant] = field(default_factory=dict[str, Instant])
    touched: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])
    open: dict[Instant, OpenDay] = field(default_factory=dict[Instant, OpenDay])
    slots: set[Instant] = field(default_factory=set[Instant])  # provisional totals to write
    closed_until: Instant | None = None  # every day before it has its final run
    first: Instant | None = None  # start of the first day with a record
    late: set[Instant] = field(default_factory=set[Instant])  # starts of settled days to settle again
    gaps: dict[str, set[Instant]] = field(default_factory=dict[str, set[Instant]])  # days held for missing slots
    bridged: dict[str, set[Instant]] = field(default_factory=dict[str, set[Instant]])  # days with estimated slots


class Books:
    """See the module's text."""

    def __init__(self, file: LedgerFile, rules: BooksRules, signer: Signer) -> None:
        self._file = file
        self._rules = rules
        self._journal = Journal(file, signer, rules.checkpoint_ms)
        self._settled_by = Rules(rules.charter, rules.members, rules.grid_point)
        self._watched = WatchedPoints.of(self._settled_by)
        self._published = Published()
        self._in = _Arrivals()
        self._day: LocalDay | None = None  # the day of the last record: most come in order
        self.counters = dict.fromkeys(("accepted", "duplicates", "refused", "conflicts", "late"), 0)
        self._publish()
        self._runs = RunWriter(self._journal, self._published, rules.site_id)
        self._resume()

    @classmethod
    def open(cls, path: str | Path, rules: BooksRules, durability: str = "FULL") -> Books:
        """Opens the books, making file and key if there are none; `:memory:` keeps nothing.

        Raises:
            NotALedger: the file is something else or newer than this program.
            JournalDamaged: the file does not match what was signed.
            ValueError: the charter's bands leave a gap, or the durability is unknown.
        """
        file = LedgerFile.write(path, durability)
        seed = log_seed(path, rules.site_id) if rules.key is None else rules.key
        return cls(file, rules, Signer(log_origin(rules.site_id), seed))

    def close(self, now: Instant) -> Committed:
        """Commits, signs the head and closes the file."""
        self._journal.flush(now, force=True)
        done = self.commit(now)
        self._file.close()
        return done

    def reader(self) -> LedgerReader:
        """Returns a reader on this very connection, for the thread that owns the books; sees what is not committed."""
        return LedgerReader(self._file)

    def records(self, start: Instant, end: Instant, point: str | None = None) -> list[IntervalRecord]:
        """Returns the kept records that start in [start, end), of one usage point or of all."""
        return [kept.record for kept in self._file.records(start, end, point)]

    @property
    def size(self) -> int:
        """Returns the number of entries."""
        return self._journal.size

    def root(self) -> str:
        """Returns the tree root in hex."""
        return self._journal.root().hex()

    def imbalance(self) -> int:
        """Returns the largest |sum| over the assets: 0, or the ledger is broken."""
        return self._journal.state.imbalance()

    # --------------------------------------------------------------- records

    def accept(self, records: Sequence[IntervalRecord]) -> Acceptance:
        """Takes records in any order and any number of times; the first content of a page wins."""
        fresh: dict[tuple[str, int, int], bytes] = {}
        rows: list[Kept] = []
        refused: list[Refusal] = []
        duplicates = late = 0
        pages_of, touched = self._in.pages, self._in.touched
        for record in records:
            meter = record.usage_point, record.meter_epoch
            pages = pages_of.get(meter)
            if pages is None or record.page < 1:
                problem = anonymous(record)
                if problem:
                    refused.append(self._refuse(record, problem, keep=False))
                    continue
                pages = pages_of[meter] = Pages()
            touched.add(meter)
            problem = refusal(record)
            if pages.has(record.page):
                if problem:
                    refused.append(self._refuse(record, problem, keep=False))
                elif self._same(record, fresh):
                    duplicates += 1
                else:
                    refused.append(self._conflict(record))
                continue
            filling = bool(pages.above) and record.page < max(pages.above)
            pages.add(record.page)
            if problem:
                refused.append(self._refuse(record, problem, keep=True))
                continue
            kept = Kept(record, record_leaf(record))
            fresh[record.usage_point, record.meter_epoch, record.page] = kept.leaf
            rows.append(kept)
            late += self._arrive(kept, filling=filling)
        if rows:
            self._file.add_records(rows)
        self.counters["accepted"] += len(rows)
        self.counters["duplicates"] += duplicates
        self.counters["late"] += late
        return Acceptance(len(rows), duplicates, late, tuple(refused))

    def append(self, kind: str, body: Mapping[str, Json], id: str, at: Instant) -> SealedEntry | Duplicate | Rejection:
        """Appends an audit entry (operator command, alarm); the same id with other content is rejected."""
        return self._journal.write(Post(id, at, kind, (), body))

    # ------------------------------------------------------------------ runs

    def run_due(self, now: Instant) -> list[RunResult]:
        """Makes every run that is due: provisional slots, final days in order, corrections, bills."""
        results = self._provisional(now)
        if self._in.first is not None:
            self._ensure_years(now)
            results += self._finals(now)
        if self._in.late:
            results += self._corrections(now)
        return results

    def commit(self, now: Instant) -> Committed:
        """Makes everything durable with one commit, and only then names what may be acknowledged."""
        touched = sorted(self._in.touched)
        if touched:
            self._file.put_meters(
                MeterRow(point, epoch, pages.page, tuple(sorted(pages.above)))
                for (point, epoch) in touched
                for pages in (self._in.pages[point, epoch],)
            )
        self._journal.flush(now)
        self._file.commit()
        self._in.touched.clear()
        acks = tuple((point, epoch, page) for point, epoch in touched if (page := self._in.pages[point, epoch].page))
        return Committed(acks, self._journal.size, self.root())

    # --------------------------------------------------------------- private

    def _same(self, record: IntervalRecord, fresh: Mapping[tuple[str, int, int], bytes]) -> bool:
        leaf = fresh.get((record.usage_point, record.meter_epoch, record.page))
        if leaf is None:
            leaf = self._file.leaf_at(record)
        return leaf == record_leaf(record)

    def _refuse(self, record: IntervalRecord, problem: str, *, keep: bool) -> Refusal:
        self.counters["refused"] += 1
        if keep:  # the page counts as taken, so that the pages behind it are not blocked for ever
            self._file.add_refused(RefusedRow(record.usage_point, record.meter_epoch, record.page, problem))
        return Refusal(record.usage_point, record.meter_epoch, record.page, problem)

    def _conflict(self, record: IntervalRecord) -> Refusal:
        self.counters["conflicts"] += 1
        reason = "this page was taken before with other content; the first one stands"
        if self.counters["conflicts"] <= CONFLICTS_LOGGED_MAX:
            leaf = record_leaf(record).hex()
            body: dict[str, Json] = {
                "usage_point": record.usage_point,
                "epoch": record.meter_epoch,
                "page": record.page,
                "leaf": leaf,
            }
            at = max(Instant(0), record.end)
            self._journal.write(Post(derived_id(at, "conflict", leaf), at, RECORD_CONFLICT, (), body))
        return Refusal(record.usage_point, record.meter_epoch, record.page, reason)

    def _arrive(self, kept: Kept, *, filling: bool) -> bool:
        """Files a new record under its day; returns whether that day was settled already."""
        arrivals, record = self._in, kept.record
        point, start = record.usage_point, record.start
        since = arrivals.since.get(point)
        if since is None or start < since:
            arrivals.since[point] = start
        day = self._day
        if day is None or not day.start <= start < day.end:
            self._ensure_year(start)
            day = self._day = self._calendar().day_of(start)
        watched = point in self._watched.all
        if arrivals.first is None or day.start < arrivals.first:
            self._first_day(day)
        if watched and (filling or point in arrivals.gaps):
            self._maybe_close_gap(point, start, filling=filling)
        if arrivals.closed_until is not None and day.start < arrivals.closed_until:
            if watched:
                self._mark_late(point, day)
            return watched
        book = arrivals.open.get(day.start)
        if book is None:
            book = arrivals.open[day.start] = OpenDay(day)
        if book.add(kept, self._watched):
            arrivals.slots.add(start)
        return False

    def _first_day(self, day: LocalDay) -> None:
        """Moves the first day back; days before those settled already are settled as late ones."""
        arrivals = self._in
        if arrivals.closed_until is not None and arrivals.first is not None:
            start, calendar = day.start, self._calendar()
            while start < arrivals.first:
                self._add_late([start])
                start = calendar.day_of(start).end
        arrivals.first = day.start

    def _mark_late(self, point: str, day: LocalDay) -> None:
        """Marks a settled day for correction, with those that may lean on its registers."""
        arrivals, calendar = self._in, self._calendar()
        days = {day.start, *arrivals.gaps.get(point, ()), *arrivals.bridged.get(point, ())}
        if arrivals.first is not None and day.start > arrivals.first:
            days.add(calendar.day_of(Instant(day.start - 1)).start)
        if arrivals.closed_until is not None and day.end < arrivals.closed_until:
            days.add(day.end)
        self._add_late(days)

    def _maybe_close_gap(self, point: str, start: Instant, *, filling: bool) -> None:
        """Marks settled days with a gap at this point: a new register may bracket it, or bracket it better."""
        gaps, bridged = self._in.gaps.get(point, set()), self._in.bridged.get(point, set())
        if filling:
            self._add_late(gaps | bridged)
        elif waiting := {day for day in gaps if day < start}:
            self._add_late(waiting)
            self._in.gaps[point] = gaps - waiting

    def _add_late(self, days: Iterable[Instant]) -> None:
        fresh = set(days) - self._in.late
        if fresh:
            self._in.late |= fresh
            self._file.mark_late(sorted(fresh))

    def _provisional(self, now: Instant) -> list[RunResult]:
        arrivals = self._in
        if not arrivals.slots:
            return []
        known = {point for point in self._watched.energy if point in arrivals.since}
        rows: list[ProvisionalSlot] = []
        results: list[RunResult] = []
        for slot in sorted(arrivals.slots):
            end = Instant(slot + SLOT_MS)
            book = arrivals.open.get(self._calendar().day_of(slot).start)
            if book is None:  # settled meanwhile
                arrivals.slots.discard(slot)
                continue
            sums = book.sums[slot]
            if now < end or (len(sums.points) < len(known) and now < end + SLOT_MS):
                continue
            missing = tuple(sorted(known - sums.points)) if len(sums.points) < len(known) else ()
            row = ProvisionalSlot(slot, sums.taken, sums.given, sums.grid_import, sums.grid_export, missing)
            rows.append(row)
            results.append(RunResult("provisional", str(slot), slot, end, 0, (), missing))
            arrivals.slots.discard(slot)
        if rows:
            self._file.put_provisional(rows)
        return results

    def _finals(self, now: Instant) -> list[RunResult]:
        """Closes every day that is complete or whose late window is over, oldest first."""
        arrivals, results = self._in, list[RunResult]()
        start = arrivals.closed_until if arrivals.closed_until is not None else arrivals.first
        while start is not None:
            day = self._calendar().day_of(start)
            book = arrivals.open.get(start) or OpenDay(day)
            ended = now >= day.end
            if not ended or not (
                now >= day.end + self._rules.late_window_ms or book.complete(self._settled_by, arrivals.since)
            ):
                break
            records = {point: book.sorted_records(point) for point in self._settled_by.points()}
            self._ensure_year(day.end)
            result = self._runs.settle(day, records, arrivals.since, now)
            arrivals.open.pop(start, None)
            start = arrivals.closed_until = day.end
            self._note_gaps(day)
            results.append(result)
            results += self._bill_if_over(day, now)
        return results

    def _corrections(self, now: Instant) -> list[RunResult]:
        """Settles late days again, and bills again what they change."""
        results: list[RunResult] = []
        periods: dict[str, LocalDay] = {}
        for start in sorted(self._in.late):
            day = self._calendar().day_of(start)
            self._file.clear_late(start)
            result = self._runs.settle(day, self._runs.records_of(day), self._in.since, now)
            self._note_gaps(day)
            if result.entries:
                results.append(result)
                periods.setdefault(period_name(self._rules.charter, day), day)
        self._in.late.clear()
        for period, day in periods.items():
            if self._runs.live(period, (RUN_BILL,)) or self._period_over(day):
                bill = self._runs.bill(self._days_of_period(day), now)
                results += [] if bill is None else [bill]
        return results

    def _note_gaps(self, day: LocalDay) -> None:
        """Remembers what the standing run of a day holds back or has filled."""
        for days in (*self._in.gaps.values(), *self._in.bridged.values()):
            days.discard(day.start)
        run = self._runs.live(day.name, (RUN_DAY,))[RUN_DAY, ""]
        self._remember_gaps(run.entry.body)

    def _period_over(self, day: LocalDay) -> bool:
        last, closed = self._days_of_period(day)[-1], self._in.closed_until
        following = self._calendar().day_of(last.end)
        charter = self._rules.charter
        return (
            closed is not None and last.end <= closed and period_name(charter, following) != period_name(charter, day)
        )

    def _bill_if_over(self, day: LocalDay, now: Instant) -> list[RunResult]:
        following = self._calendar().day_of(day.end)
        charter = self._rules.charter
        if period_name(charter, following) == period_name(charter, day):
            return []
        bill = self._runs.bill(self._days_of_period(day), now)
        return [] if bill is None else [bill]

    def _days_of_period(self, day: LocalDay) -> list[LocalDay]:
        """Returns the settled days of the bill period that holds `day`, in order."""
        charter, calendar = self._rules.charter, self._calendar()
        name = period_name(charter, day)
        days = [day]
        while days[0].start > (self._in.first or 0) and calendar.covers(Instant(days[0].start - 1)):
            before = calendar.day_of(Instant(days[0].start - 1))
            if period_name(charter, before) != name:
                break
            days.insert(0, before)
        while self._in.closed_until is not None and days[-1].end < self._in.closed_until:
            after = calendar.day_of(days[-1].end)
            if period_name(charter, after) != name:
                break
            days.append(after)
        return [day for day in days if self._runs.live(day.name, (RUN_DAY,))]

    # ------------------------------------------------------- rules and resume

    def _calendar(self) -> Calendar:
        return self._published.calendars[self._charter_id]

    def _publish(self) -> None:
        """Writes what a new file or a new charter needs: genesis, accounts, the charter."""
        rules, at = self._rules, self._rules.charter.valid_from
        for kind in (CHARTER, CHARTER_TABLE):
            for row in self._file.of_kind(kind):
                self._published.absorb(row.sealed().entry)
        if not self._journal.size:
            asset = money(rules.charter)
            assets: dict[str, Json] = {ENERGY: "uWh", WATER: "mL", asset: f"1e-{rules.charter.minor_digits}"}
            body: dict[str, Json] = {
                "site": rules.site_id,
                "origin": self._journal.origin,
                "key": self._journal.verifier,
                "assets": assets,
                "slot_ms": SLOT_MS,
            }
            self._journal.must(Post(derived_id(at, rules.site_id, GENESIS), at, GENESIS, (), body))
        for account in (*COMMUNITY_ACCOUNTS, *member_accounts(rules.members)):
            if account not in self._journal.state.accounts:
                self._journal.must(OpenAccount(derived_id(at, rules.site_id, "account", account), at, account))
        self._charter_id = self._publish_charter(at)

    def _publish_charter(self, at: Instant) -> str:
        wanted = rules_document(self._settled_by)
        rows = self._file.of_kind(CHARTER)
        if rows:
            last = rows[-1].sealed().entry
            zone = self._published.rules[last.id].charter.timezone
            if zone != self._rules.charter.timezone:
                raise TimezoneChanged(f"the ledger's days are in {zone}; a ledger keeps its time zone for life")
            if last.body == wanted:
                return last.id
        identity = derived_id(at, self._rules.site_id, CHARTER, len(rows))
        sealed = self._journal.must(Post(identity, at, CHARTER, (), wanted))
        if isinstance(sealed, SealedEntry):
            self._published.absorb(sealed.entry)
        return identity

    def _ensure_years(self, now: Instant) -> None:
        first = self._in.closed_until if self._in.closed_until is not None else self._in.first
        instant = now if first is None else first
        while instant < now:
            self._ensure_year(instant)
            instant = Instant(instant + 300 * DAY_MS)
        self._ensure_year(now)

    def _ensure_year(self, instant: Instant) -> None:
        """Compiles and publishes the tariff table of the civil year that holds an instant, for every charter."""
        if self._calendar().covers(instant):
            return
        for charter_id, rules in self._published.rules.items():
            if self._published.calendars[charter_id].covers(instant):
                continue
            year = local_year(rules.charter, instant)
            table = compile_year(rules.charter, year, self._rules.tzdata)
            body: dict[str, Json] = {"charter": charter_id, "table": table.document()}
            identity = derived_id(table.start, self._rules.site_id, CHARTER_TABLE, charter_id, year)
            sealed = self._journal.must(Post(identity, table.start, CHARTER_TABLE, (), body))
            if isinstance(sealed, SealedEntry):
                self._published.absorb(sealed.entry)

    def _resume(self) -> None:
        """Rebuilds what is held in memory from the file."""
        arrivals = self._in
        arrivals.pages = {(row.point, row.epoch): Pages(row.page, row.above) for row in self._file.meters()}
        arrivals.since = self._file.first_starts()
        if not arrivals.since:
            return
        earliest, latest = min(arrivals.since.values()), self._file.last_start()
        self._ensure_year(earliest)
        self._ensure_year(latest)
        arrivals.first = self._calendar().day_of(earliest).start
        for row in self._file.of_kind(RUN_DAY):
            entry = row.sealed().entry
            if row.state == "posted" and entry.id not in self._journal.state.reversed:
                end = Instant(int(str(entry.body["end"])))
                arrivals.closed_until = max(arrivals.closed_until or end, end)
                self._remember_gaps(entry.body)
        open_from = arrivals.first if arrivals.closed_until is None else arrivals.closed_until
        for kept in self._file.records(open_from, Instant(latest + SLOT_MS)):
            day = self._calendar().day_of(kept.record.start)
            book = arrivals.open.setdefault(day.start, OpenDay(day))
            if book.add(kept, self._watched):
                arrivals.slots.add(kept.record.start)
        arrivals.slots -= {row.slot for row, _ in self._file.provisional(open_from, latest) if not row.missing}
        arrivals.late = set(self._file.late())

    def _remember_gaps(self, body: Mapping[str, Json]) -> None:
        start, end = Instant(int(str(body["start"]))), Instant(int(str(body["end"])))
        for row in _rows(body, "held"):
            match row:
                case [str() as point, str() as why] if why == Quarantine.MISSING:
                    # A gap that later registers could not bridge is tried again only when it is filled.
                    if self._file.nearest(point, end, BRACKET_MS, later=True) is None:
                        self._in.gaps.setdefault(point, set()).add(start)
                    else:
                        self._in.bridged.setdefault(point, set()).add(start)
                case _:
                    pass
        for row in _rows(body, "estimated"):
            match row:
                case [str() as point, int()]:
                    self._in.bridged.setdefault(point, set()).add(start)
                case _:
                    pass


def _rows(body: Mapping[str, Json], key: str) -> Sequence[Json]:
    rows = body.get(key)
    return rows if isinstance(rows, list) else ()
