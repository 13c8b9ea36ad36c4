"""The books of the community: sole writer of `ledger.db`.

    books = Books.open(data_dir / "ledger.db", rules)
    books.accept(records)      # kept in the open transaction
    books.run_due(now)         # provisional slots, final days, corrections, bills
    books.commit(now).acks     # durable now: these may be acknowledged

One thread calls it. Nothing is acknowledged before `commit` has returned; after a crash the file holds
exactly what was committed, and a run is in it whole or not at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from controller.commands import CommandResult
from controller.ledger.canonical import Json
from controller.ledger.entries import EntryState, SealedEntry, derived_id
from controller.ledger.note import Signer
from controller.ledger.orders import Duplicate, Post, Rejection
from controller.money.desk import Asked, Request
from controller.settlement.arrivals import Arrivals
from controller.settlement.charter import Charter
from controller.settlement.days import OpenDay, Pages, WatchedPoints
from controller.settlement.intervals import BRACKET_MS, Kept, Quarantine, anonymous, record_leaf, refusal
from controller.settlement.run_names import PROVISIONAL
from controller.settlement.runs import RUN_BILL, RUN_DAY
from controller.settlement.tariff import LocalDay
from controller.settlement.tenancy import Tenancies
from controller.shell.day_shelf import DayShelf
from controller.shell.journal import Journal
from controller.shell.key_desk import KeyDesk
from controller.shell.ledger_reader import LedgerReader
from controller.shell.log_keys import Keyring, log_origin, signer_for
from controller.shell.member_data import erased_spans
from controller.shell.rulebook import BooksRules, ChangedForLife, RuleBook
from controller.shell.settlement_runs import RunResult, RunWriter
from controller.shell.statements import Statements
from controller.shell.tenants import key_owners, read_charters, read_tenancies
from controller.shell.tile_shelf import TileShelf
from controller.shell.till import Till
from controller.store.ledger_file import MEMORY, LedgerFile
from controller.store.ledger_rows import MeterRow, RefusedRow
from controller.store.member_keys import KEYS, ensure
from devices.clock import DAY_MS, SLOT_MS, Instant
from devices.model import IntervalRecord

__all__ = ["Acceptance", "Books", "BooksRules", "ChangedForLife", "Committed", "LedgerReader", "RunResult"]

RECORD_CONFLICT = "record.conflict"
CONFLICTS_LOGGED_MAX = 1_000
EARLY_MS = DAY_MS
"""A record that lies further ahead of the hub's clock than this is not taken yet: one of the clocks is wrong."""
OLDEST_MS = 366 * DAY_MS
"""How far before its first charter a ledger takes records; older ones come from a clock that was not set."""
FINALS_PER_RUN_MAX = 40
"""Days closed by one call: after a long outage, or a clock that jumped, the next calls go on."""


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


class Books:
    """See the module's text."""

    def __init__(self, file: LedgerFile, rules: BooksRules, signer: Signer, keyring: Keyring | None = None) -> None:
        self._file = file
        self._rules = rules
        self._journal = Journal(file, signer, rules.checkpoint_ms)
        self._book = RuleBook(self._journal, rules)
        self._shelf: DayShelf | None = None
        self._keys = KeyDesk(self._journal, self.shelf, keyring)
        self.till = Till(self._journal, self._keys)
        self.statements = Statements(self._journal)
        self._runs = RunWriter(self._journal, self._book.published, rules.site_id)
        self._watched, self._in_force = self._points_on(file.last_start() or rules.charter.valid_from)
        self._held = 0, tuple[tuple[Instant, Charter], ...]()
        self._in = Arrivals()
        self._touched: set[tuple[str, int]] = set()  # meters to acknowledge at the next commit
        self._day: LocalDay | None = None  # the day of the last record: most come in order
        self._now: Instant | None = None  # the latest that the hub has named
        self._oldest = Instant(min(r.charter.valid_from for r in self._book.published.rules.values()) - OLDEST_MS)
        self.counters = dict.fromkeys(("accepted", "duplicates", "refused", "early", "conflicts", "late"), 0)
        self._tenancies: tuple[int, Tenancies] | None = None  # with how many charters there were
        file.tenant_at = self._tenant_at
        self._erased = erased_spans(file, self._tenants(), {member.id for member in rules.members})
        self._resume()

    @classmethod
    def open(cls, path: str | Path, rules: BooksRules, durability: str = "FULL") -> Books:
        """Opens the books, making file and key if there are none; `:memory:` keeps nothing.

        Raises:
            NotALedger: the file is something else or newer than this program.
            JournalDamaged: the file does not match what was signed.
            ChangedForLife: the site file changes what a ledger keeps for life.
            ValueError: the charter's bands leave a gap, or the durability is unknown.
        """
        file = LedgerFile.write(path, durability)
        if rules.key is None and str(path) != MEMORY:
            file.vault = ensure(Path(path).parent / KEYS, key_owners(read_charters(file), rules.members))
        origin = log_origin(rules.site_id)
        if rules.key is not None:
            return cls(file, rules, Signer(origin, rules.key))
        return cls(file, rules, *signer_for(file, path, origin))

    def close(self, now: Instant) -> Committed:
        """Commits, signs the head and closes the file."""
        self._journal.flush(now, force=True)
        done = self.commit(now)
        self._file.close()
        return done

    def shelf(self) -> DayShelf:
        """Returns the signed meter-days on this very connection: their rows are committed with the books."""
        if self._shelf is None:
            self._shelf = DayShelf(self._file)
        return self._shelf

    def tiles(self, folder: Path) -> TileShelf:
        """Returns who writes the log's tiles into a folder, to be called after commits."""
        return TileShelf(folder, self._file)

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
        unseen: list[bytes] = []
        duplicates = late = 0
        pages_of, touched = self._in.pages, self._touched
        latest = None if self._now is None else self._now + EARLY_MS
        for record in records:
            meter = record.usage_point, record.meter_epoch
            if latest is not None and record.start > latest:
                refused.append(self._early(record))
                continue
            pages = pages_of.get(meter)
            if pages is None or record.page < 1:
                problem = anonymous(record)
                if problem:
                    refused.append(self._refuse(record, problem, keep=False))
                    continue
                pages = pages_of[meter] = Pages()
            touched.add(meter)
            problem = refusal(record) or self._unwanted(record)
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
            marked = len(self._in.late)
            came = self._in.arrive(
                kept, self._day_of(record.start), self._watched, self._book.calendar, filling=filling
            )
            late += came
            if self._erased and (came or len(self._in.late) > marked):
                unseen.append(kept.leaf)
        if rows:
            self._file.add_records(rows)
        self._file.add_unseen(unseen)
        self.counters["accepted"] += len(rows)
        self.counters["duplicates"] += duplicates
        self.counters["late"] += late
        return Acceptance(len(rows), duplicates, late, tuple(refused))

    def append(self, kind: str, body: Mapping[str, Json], id: str, at: Instant) -> SealedEntry | Duplicate | Rejection:
        """Appends an audit entry (operator command, alarm); the same id with other content is rejected."""
        return self._journal.write(Post(id, at, kind, (), body))

    def state(self, asked: Asked, request: Request) -> CommandResult:
        """Takes a statement about a meter or a clock, and settles again what it changes."""
        result, stretch = self.statements.ask(asked, request)
        for entry in self.statements.fresh():
            self._runs.evidence.absorb(entry)
        if stretch is not None:
            self.settle_again(*stretch)
        return result

    def announce(self, charter: Charter, now: Instant) -> None:
        """Publishes a charter that will hold from its own date on (`valid_from`)."""
        self._book.announce(charter, now)

    def notices(self) -> list[str]:
        """Returns what has become of the site file's rules since the last call, in words for the operator."""
        found, self._book.notices = self._book.notices, []
        return found

    def charters(self) -> tuple[tuple[Instant, Charter], ...]:
        """Returns which charter holds from when on; the same object until another is published."""
        count = len(self._book.published.rules)
        if count != self._held[0]:
            self._held = count, self._book.published.held()
        return self._held[1]

    def days_by_vote(self) -> Mapping[str, int]:
        """Returns how many standing days the charter of each vote has settled, by the vote's id."""
        votes, reversed_ids = self._book.published.votes, self._journal.state.reversed
        rows = [row for row in self._file.of_kind(RUN_DAY) if row.state == EntryState.POSTED]
        charters = [str(row.sealed().entry.body["charter"]) for row in rows if row.id not in reversed_ids]
        return Counter(votes[charter] for charter in charters if charter in votes)

    def settle_again(self, start: Instant, end: Instant) -> None:
        """Marks the settled days that touch [start, end) for a correction run."""
        closed, days = self._in.closed_until, list[Instant]()
        at = Instant(max(start, self._in.first or start))
        while closed is not None and at < min(end, closed):
            day = self._day_of(at)
            days.append(day.start)
            at = day.end
        self._in.again(days)

    @property
    def withheld(self) -> str:
        """Returns why nothing is signed or may be acknowledged: the ledger was restored; '' else."""
        return "" if self._journal.withheld is None else self._journal.withheld.words()

    def release(self) -> None:
        """Signs heads again: this is no old copy."""
        self._journal.release()

    def cosigned(self, size: int, note: str) -> None:
        """Keeps a checkpoint with the cosignatures of witnesses; durable with the next commit."""
        self._journal.cosigned(size, note)

    # ------------------------------------------------------------------ runs

    def run_due(self, now: Instant) -> list[RunResult]:
        """Makes every run that is due: provisional slots, final days in order, corrections, bills."""
        now = max(now, self._journal.state.sealed_until)  # a clock that went back books nothing into a closed period
        self._now = now if self._now is None else max(now, self._now)
        for vote in self.till.votes.due(now):
            self._book.adopt(vote.id, vote.document, now)
        self._book.follow(now)
        self._watch(now)
        results = self._provisional(now)
        start = self._in.next_open()
        if start is not None:
            self._book.ensure_years(start, now)
            results += self._finals(now)
        if self._in.late:
            results += self._corrections(now)
        return results

    def commit(self, now: Instant) -> Committed:
        """Makes everything durable with one commit, and only then names what may be acknowledged."""
        self._now = now if self._now is None else max(now, self._now)
        self._book.follow_site(now)
        touched, pages = sorted(self._touched), self._in.pages
        if touched:
            self._file.put_meters(
                MeterRow(point, epoch, pages[point, epoch].page, tuple(sorted(pages[point, epoch].above)))
                for point, epoch in touched
            )
        if self._in.unsaved:
            self._file.mark_late(sorted(self._in.unsaved))
        self._journal.flush(now)
        self._file.commit()
        self._keys.committed()
        self._in.unsaved.clear()
        self._touched.clear()
        acks = tuple((point, epoch, page) for point, epoch in touched if (page := pages[point, epoch].page))
        return Committed(acks, self._journal.size, self.root())

    # --------------------------------------------------------------- private

    def _unwanted(self, record: IntervalRecord) -> str:
        """Returns why this ledger does not want a record that is sound, or ''."""
        if any(start <= record.start < end for start, end in self._erased.get(record.usage_point, ())):
            return "its member's data were erased"
        return "" if record.start >= self._oldest else "from before the community's first year"

    def _tenant_at(self, point: str, at: Instant) -> str:
        return self._tenants().owner(point, at)

    def _tenants(self) -> Tenancies:
        count = len(self._book.published.rules)
        if self._tenancies is None or self._tenancies[0] != count:
            self._tenancies = count, read_tenancies(self._file, self._book.published)
        return self._tenancies[1]

    def _watch(self, now: Instant) -> None:
        """Looks at the meters of the rules in force now."""
        if self._book.published.in_force(now) != self._in_force:
            self._watched, self._in_force = self._points_on(now)

    def _points_on(self, at: Instant) -> tuple[WatchedPoints, str]:
        """Returns the usage points of the rules in force at an instant, and the charter's id."""
        published = self._book.published
        name = published.in_force(at)
        return WatchedPoints.of(published.rules[name], published.rules.values()), name

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
            leaf, owner = record_leaf(record), self._file.sealer(record.usage_point, record.start)
            place = f"conflict/{record.meter_epoch}/{record.page}"
            digest = self._file.vault.commitment(owner, place, leaf) if owner else leaf.hex()
            body: dict[str, Json] = {
                "usage_point": record.usage_point,
                "epoch": record.meter_epoch,
                "page": record.page,
                "salted" if owner else "leaf": digest,
            }
            at = max(Instant(0), record.end)
            self._journal.write(Post(derived_id(at, "conflict", digest), at, RECORD_CONFLICT, (), body))
        return Refusal(record.usage_point, record.meter_epoch, record.page, reason)

    def _early(self, record: IntervalRecord) -> Refusal:
        self.counters["early"] += 1  # not acknowledged: it will be sent again, and taken when the clocks agree
        reason = f"it starts {record.start - (self._now or 0)} ms ahead of the hub's clock"
        return Refusal(record.usage_point[:64], record.meter_epoch, record.page, reason)

    def _day_of(self, start: Instant) -> LocalDay:
        day = self._day
        if day is None or not day.start <= start < day.end:
            self._book.ensure_year(start)
            day = self._day = self._book.calendar.day_of(start)
        return day

    def _provisional(self, now: Instant) -> list[RunResult]:
        due = self._in.totals_due(now, self._watched, self._book.calendar)
        if due:
            self._file.put_provisional(due)
        return [
            RunResult(
                "provisional", PROVISIONAL, str(row.slot), row.slot, Instant(row.slot + SLOT_MS), 0, (), row.missing
            )
            for row in due
        ]

    def _finals(self, now: Instant) -> list[RunResult]:
        """Closes every day that is complete or whose late window is over, oldest first."""
        arrivals, results = self._in, list[RunResult]()
        for _ in range(FINALS_PER_RUN_MAX):
            start = arrivals.next_open()
            assert start is not None
            day = self._book.calendar.day_of(start)
            book = arrivals.open.get(start) or OpenDay(day)
            over = now >= day.end + self._book.late_window_ms(start)
            if now < day.end or not (over or book.complete(self._book.rules_on(start), arrivals.since)):
                break
            records = {point: book.sorted_records(point) for point in book.kept}
            results.append(self._runs.settle(day, records, arrivals.since, now))
            arrivals.close(day)
            self._remember(day)
            if self._ends_period(day):
                results += self._bill(day, now)
        return results

    def _corrections(self, now: Instant) -> list[RunResult]:
        """Settles late days again, and bills again what they change."""
        results: list[RunResult] = []
        periods: dict[str, LocalDay] = {}
        unseen = self._file.unseen()
        for start in sorted(self._in.late):
            day = self._book.calendar.day_of(start)
            self._file.clear_late(start)
            result = self._runs.settle(day, self._runs.records_of(day), self._in.since, now, unseen)
            self._remember(day)
            if result.entries:
                results.append(result)
                periods.setdefault(self._period(day), day)
        self._in.late.clear()
        self._in.unsaved.clear()
        self._file.clear_unseen()
        for period, day in periods.items():
            if self._runs.live(period, (RUN_BILL,)) or self._ends_period(self._days_of_period(day)[-1]):
                results += self._bill(day, now)
        return results

    def _bill(self, day: LocalDay, now: Instant) -> list[RunResult]:
        """Posts or corrects the bills of the period that holds a day."""
        bill = self._runs.bill(self._days_of_period(day), now)
        return [] if bill is None else [bill]

    def _period(self, day: LocalDay) -> str:
        """Returns the name of the bill period that holds a day: by the charter that settled it, or is to."""
        run = self._runs.live(day.name, (RUN_DAY,)).get((RUN_DAY, ""))
        return self._book.period(day, "" if run is None else str(run.entry.body["charter"]))

    def _ends_period(self, day: LocalDay) -> bool:
        """Returns whether a day is the last of its bill period."""
        self._book.ensure_year(day.end)
        return self._period(self._book.calendar.day_of(day.end)) != self._period(day)

    def _days_of_period(self, day: LocalDay) -> list[LocalDay]:
        """Returns the settled days of the bill period that holds `day`, in order."""
        calendar, name = self._book.calendar, self._period(day)
        first, closed = self._in.first or day.start, self._in.closed_until or day.end
        days = [day]
        while days[0].start > first and self._period(calendar.day_of(Instant(days[0].start - 1))) == name:
            days.insert(0, calendar.day_of(Instant(days[0].start - 1)))
        while days[-1].end < closed and self._period(calendar.day_of(days[-1].end)) == name:
            days.append(calendar.day_of(days[-1].end))
        return [day for day in days if self._runs.live(day.name, (RUN_DAY,))]

    def _remember(self, day: LocalDay) -> None:
        """Takes note of what the standing run of a day holds back or has filled."""
        self._remember_run(self._runs.live(day.name, (RUN_DAY,))[RUN_DAY, ""])

    def _remember_run(self, run: SealedEntry) -> None:
        body = run.entry.body
        start, end = Instant(int(str(body["start"]))), Instant(int(str(body["end"])))
        missing = [point for point, why in _pairs(body, "held") if why == Quarantine.MISSING]
        # A gap that later registers could not bridge is tried again only when it is filled.
        waiting = [point for point in missing if self._file.nearest(point, end, BRACKET_MS, later=True) is None]
        self._in.remember(start, missing, waiting, [point for point, _ in _pairs(body, "estimated")])

    def _resume(self) -> None:
        """Rebuilds what is held in memory from the file."""
        arrivals, book = self._in, self._book
        arrivals.pages = {(row.point, row.epoch): Pages(row.page, row.above) for row in self._file.meters()}
        arrivals.since = self._file.first_starts()
        if not arrivals.since:
            return
        earliest, latest = min(arrivals.since.values()), self._file.last_start()
        book.ensure_years(earliest, latest)
        arrivals.first = book.calendar.day_of(earliest).start
        for row in self._file.of_kind(RUN_DAY):
            if row.state == EntryState.POSTED and row.id not in self._journal.state.reversed:
                run = row.sealed()
                end = Instant(int(str(run.entry.body["end"])))
                arrivals.closed_until = max(arrivals.closed_until or end, end)
                self._remember_run(run)
        open_from = arrivals.next_open() or earliest
        for kept in self._file.records(open_from, Instant(latest + SLOT_MS)):
            day = book.calendar.day_of(kept.record.start)
            if arrivals.open.setdefault(day.start, OpenDay(day)).add(kept, self._watched):
                arrivals.slots.add(kept.record.start)
        arrivals.slots -= {row.slot for row, _ in self._file.provisional(open_from, latest) if not row.missing}
        arrivals.late = set(self._file.late())


def _pairs(body: Mapping[str, Json], key: str) -> list[tuple[str, str]]:
    """Returns (usage point, reason or count) of a list in a run's body."""
    rows = body.get(key)
    found = rows if isinstance(rows, list) else ()
    return [(str(row[0]), str(row[1])) for row in found if isinstance(row, list) and len(row) == 2]
