"""`atoll ledger verify`: recomputes everything in a ledger file and names what is wrong, first thing first.

Order: the file itself, the log (hashes, balance, reversals), the tables made from it, the signed tree heads,
the records, and at last settlement: every day and bill is computed again from the records and the published
rules and compared with what was posted. A day with late records that waits for its correction run is skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import apsw

from controller.ledger.audit import Finding, LogAudit
from controller.ledger.entries import Entry, EntryState, Posting, SealedEntry
from controller.ledger.note import NoteMalformed, Verifier
from controller.settlement.days import Pages
from controller.settlement.intervals import Kept, record_leaf
from controller.settlement.published import Published
from controller.settlement.runs import RUN_DAY
from controller.settlement.tariff import LocalDay, OutsideTable, period_name
from controller.shell.settlement_runs import BILL_KINDS, DAY_KINDS, Settled, stands
from controller.store.ledger_file import LedgerFile, NotALedger
from controller.store.ledger_rows import entry_period
from devices.clock import Instant, iso

END_OF_TIME = Instant(2**62)
_UNREADABLE = (apsw.Error, ValueError, LookupError, TypeError, OverflowError)
"""What reading damaged rows raises: SQLite's errors, bad UTF-8, unknown codes, wrong types."""


@dataclass(slots=True)
class Verification:
    """What was looked at, and what is wrong with it."""

    findings: list[Finding] = field(default_factory=list[Finding])
    entries: int = 0
    records: int = 0
    checkpoints: int = 0
    days: int = 0
    root: str = ""
    waiting: tuple[str, ...] = ()  # days with late records, to be corrected by the next run

    @property
    def ok(self) -> bool:
        """Returns whether nothing is wrong."""
        return not self.findings


def verify(data_dir: str | Path, key: str | None = None) -> Verification:
    """Returns what is wrong with the ledger of a data directory (or with a ledger file).

    `key` is the log's public key (C2SP text) as known from elsewhere; without it the key is taken from the
    ledger's own first entry, which proves less.
    """
    path = Path(data_dir)
    path = path / "ledger.db" if path.is_dir() else path
    result = Verification()
    try:
        file = LedgerFile.read(path)
    except (NotALedger, ValueError, TypeError) as error:
        result.findings.append(Finding("file", str(path), str(error)))
        return result
    try:
        _Check(file, result, key).run()
    finally:
        file.close()
    return result


class _Check:
    """One verification under way."""

    def __init__(self, file: LedgerFile, result: Verification, key: str | None) -> None:
        self._file = file
        self._out = result
        self._key = key
        self._published = Published()
        self._runs: dict[str, LocalDay] = {}  # settled days
        self._audit = LogAudit(())

    def run(self) -> None:
        """Runs every part; one that cannot be read does not hide the others."""
        self._section("file", self._sqlite)
        self._section("entries", self._log)
        self._section("balances", self._tables)
        self._section("checkpoints", self._checkpoints)
        self._section("records", self._records)
        self._section("provisional", self._side_tables)
        self._section("settlement", self._settlement)

    def _section(self, table: str, part: Callable[[], None]) -> None:
        try:
            part()
        except _UNREADABLE as error:
            self._find(table, "all", f"cannot be read: {type(error).__name__}: {error}")

    def _find(self, table: str, where: str, message: str) -> None:
        self._out.findings.append(Finding(table, where, message))

    def _sqlite(self) -> None:
        for problem in self._file.sqlite_problems():
            self._find("file", self._file.path, problem)

    def _log(self) -> None:
        self._audit = LogAudit(size for size, _ in self._file.checkpoints())
        self._audit.findings = self._out.findings
        postings = _grouped(self._file)
        waiting = next(postings, None)
        for row in self._file.entries():
            entry = self._audit.entry(row.seq, row.document, row.leaf)
            rows: list[Posting] = []
            while waiting is not None and waiting[0] <= row.seq:
                if waiting[0] < row.seq:
                    self._find("postings", f"entry {waiting[0]}", "there is no such entry")
                else:
                    rows = waiting[1]
                waiting = next(postings, None)
            if entry is None:
                continue
            self._audit.postings(row.seq, entry, rows)
            columns = (entry.id, entry.kind, entry.state.value, *entry_period(SealedEntry(entry, b"", b"")))
            seen = (row.id, row.kind, row.state, row.period, row.member)
            if columns != seen:
                self._find("entries", f"entry {row.seq}", f"the columns say {seen}, the document {columns}")
            self._remember(row.seq, entry)
        while waiting is not None:
            self._find("postings", f"entry {waiting[0]}", "there is no such entry")
            waiting = next(postings, None)
        self._out.entries, self._out.root = self._audit.size, self._audit.root().hex()

    def _remember(self, seq: int, entry: Entry) -> None:
        if entry.state is not EntryState.POSTED:
            return
        try:
            self._published.absorb(entry)
            if entry.kind == RUN_DAY:
                body = entry.body
                day = LocalDay(Instant(int(str(body["start"]))), Instant(int(str(body["end"]))), str(body["day"]))
                self._runs[day.name] = day
        except (ValueError, LookupError) as error:
            self._find("entries", f"entry {seq}", f"{entry.kind}: {error}")

    def _tables(self) -> None:
        self._audit.accounts({name: (a.floor, a.ceiling) for name, a in self._file.accounts().items()})
        self._audit.balances({key: (held.posted, held.pending) for key, held in self._file.balances().items()})

    def _checkpoints(self) -> None:
        verifier = self._verifier()
        if verifier is None:
            return
        for size, note in self._file.checkpoints():
            self._audit.checkpoint(size, note, verifier)
            self._out.checkpoints += 1

    def _verifier(self) -> Verifier | None:
        row = self._file.entry(0)
        text = "" if row is None else str(row.sealed().entry.body.get("key"))
        if self._key is not None and self._key != text:
            self._find("entries", "entry 0", f"the log's key is {text!r}, expected {self._key!r}")
        try:
            return Verifier.parse(text)
        except NoteMalformed as error:
            if row is not None:
                self._find("entries", "entry 0", f"the first entry names no key: {error}")
            return None

    def _records(self) -> None:
        pages: dict[tuple[str, int], Pages] = {}
        for kept in self._file.records(Instant(-END_OF_TIME), END_OF_TIME):
            record = kept.record
            self._out.records += 1
            if record_leaf(record) != kept.leaf:
                where = f"{record.usage_point} epoch {record.meter_epoch} page {record.page}"
                self._find("records", where, f"the record of {_when(record.start)} does not match its hash")
            _take(pages, record.usage_point, record.meter_epoch, record.page)
        if self._out.records != self._file.count_records():
            self._find("points", "all", "some records belong to no usage point")
        for row, digest in self._file.refused():
            if row.digest() != digest:
                self._find("refused", f"{row.point} page {row.page}", "the row does not match its hash")
            _take(pages, row.point, row.epoch, row.page)
        stored = {(row.point, row.epoch): (row.page, set(row.above)) for row in self._file.meters()}
        for key in sorted(stored.keys() | pages.keys()):
            seen, right = stored.get(key), pages.get(key)
            if right is None or seen != (right.page, right.above):
                expected = "nothing" if right is None else f"page {right.page} and {sorted(right.above)}"
                self._find("meters", f"{key[0]} epoch {key[1]}", f"the table says {seen}, the records give {expected}")

    def _side_tables(self) -> None:
        for row, digest in self._file.provisional(Instant(-END_OF_TIME), END_OF_TIME):
            if row.digest() != digest:
                self._find("provisional", _when(row.slot), "the slot's totals do not match their hash")
        known = {day.start for day in self._runs.values()}
        late = self._file.late()
        first = min(known, default=END_OF_TIME)
        for start in late:
            if start not in known and start > first:
                self._find("late", str(start), "no settled day begins then")
        self._out.waiting = tuple(day.name for day in self._runs.values() if day.start in late)

    def _settlement(self) -> None:
        settled = Settled(self._file, self._published, self._audit.state.reversed)
        since = self._file.first_starts()
        days = sorted(self._runs.values(), key=lambda day: day.start)
        for day in days:
            if day.name in self._out.waiting:
                continue
            try:
                self._day(settled, day, since)
            except (*_UNREADABLE, OutsideTable) as error:
                self._find("settlement", day.name, f"cannot be computed again: {type(error).__name__}: {error}")
            self._out.days += 1
        self._bills(settled, days)

    def _day(self, settled: Settled, day: LocalDay, since: dict[str, Instant]) -> None:
        live = settled.live(day.name, DAY_KINDS)
        records: dict[str, list[Kept]] = settled.records_of(day)
        result = settled.compute(day, settled.charter_of(day), records, since)
        named = {(draft.kind, draft.member) for draft in result.drafts}
        for draft in result.drafts:
            if not stands(live.get((draft.kind, draft.member)), draft):
                who = draft.member or "community"
                self._find("settlement", f"{day.name} {who}", f"{draft.kind} differs from the records' own result")
        for kind, member in live.keys() - named:
            self._find("settlement", f"{day.name} {member}", f"{kind} stands for nobody")

    def _bills(self, settled: Settled, days: list[LocalDay]) -> None:
        def period(day: LocalDay) -> str:
            return period_name(self._published.rules[settled.charter_of(day)].charter, day)

        periods = [(name, list(group)) for name, group in groupby(days, key=period)]
        for index, (name, group) in enumerate(periods):
            live = settled.live(name, BILL_KINDS)
            if not live and index == len(periods) - 1:
                continue  # still running
            if any(day.name in self._out.waiting for day in group):
                continue
            try:
                _, drafts = settled.bill_drafts(group)
            except _UNREADABLE as error:
                self._find("settlement", name, f"bills cannot be computed again: {type(error).__name__}: {error}")
                continue
            for draft in drafts:
                if not stands(live.get((draft.kind, draft.member)), draft):
                    self._find("settlement", f"{name} {draft.member or 'community'}", f"{draft.kind} differs")


def _grouped(file: LedgerFile) -> Iterator[tuple[int, list[Posting]]]:
    """Yields (entry number, its rows of the postings table); a line out of place makes the rows differ."""
    for seq, rows in groupby(file.postings(), key=lambda row: row[0]):
        lines = [(line, posting) for _, line, posting in rows]
        in_order = [line for line, _ in lines] == list(range(len(lines)))
        yield seq, [posting for _, posting in lines] if in_order else []


def _take(pages: dict[tuple[str, int], Pages], point: str, epoch: int, page: int) -> None:
    pages.setdefault((point, epoch), Pages()).add(page)


def _when(instant: Instant) -> str:
    return iso(instant) if 0 <= instant < 253_402_300_800_000 else str(instant)
