"""`atoll ledger verify`: recomputes everything in a ledger file and names what is wrong, first thing first.

Order: the file itself, the log (hashes, balance, reversals), the tables made from it, the signed tree heads, and
the records, each read once: with their hashes every settled day is computed again from them and the published rules
and compared with what was posted, and at last the bills. A day with late records that waits for its correction run
is skipped.
"""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import groupby
from pathlib import Path

import apsw

from controller.ledger.audit import Finding, LogAudit
from controller.ledger.canonical import Json
from controller.ledger.entries import Entry, EntryState, SealedEntry
from controller.ledger.log_keys import LOG_KEY, LogKey, key_of, next_key
from controller.ledger.log_policy import LOG_POLICY, LogPolicy, policy_of, read_policy
from controller.ledger.note import NoteError
from controller.ledger.sealing import VERSION, is_shut, sealed_in
from controller.settlement.accounts import money
from controller.settlement.charter import Charter
from controller.settlement.days import Pages
from controller.settlement.intervals import Kept, PointDay
from controller.settlement.published import CHARTER, Published
from controller.settlement.runs import RUN_DAY
from controller.settlement.tariff import LocalDay, OutsideTable, period_name
from controller.shell.member_data import ERASED, points_of_member
from controller.shell.settlement_runs import BILL_KINDS, DAY_KINDS, Settled, closed, salts_in, stands
from controller.shell.signed_days import any_signed, damaged_days, signed_texts
from controller.store.ledger_file import LedgerFile, NotALedger
from controller.store.ledger_rows import EntryRow, entry_period, kept_of
from controller.store.record_rows import RecordRow, plain_day, row_leaves
from controller.vote_audit import VoteAudit
from devices.clock import DAY_MS, Instant, iso

END_OF_TIME = Instant(2**62)
_UNREADABLE = (apsw.Error, ValueError, LookupError, TypeError, AttributeError, OverflowError)
"""What reading damaged rows raises: SQLite's errors, bad UTF-8, unknown codes, wrong types, NULL where none may be."""


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
    closed: tuple[str, ...] = ()  # days and bills with a member's data whose key is gone: they cannot be judged
    locked: tuple[str, ...] = ()  # those of them of whose members no receipt says that they were erased

    @property
    def ok(self) -> bool:
        """Returns whether nothing is wrong, and all was judged but what the log says was erased."""
        return not self.findings and not self.locked


def verify(data_dir: str | Path, key: str | Sequence[str] | None = None) -> Verification:
    """Returns what is wrong with the ledger of a data directory (or with a ledger file).

    `key` is the log's public key (C2SP text) as known from elsewhere, or several: those of its life that are known.
    Without it the first key is taken from the ledger's own first entry, which proves less; each later key must have
    been handed over by the one before it.
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
        with _without_collector():
            _Check(file, result, [key] if isinstance(key, str) else list(key or ())).run()
    finally:
        file.close()
    return result


@contextmanager
def _without_collector() -> Generator[None]:
    """Keeps Python from looking for cycles in rows by the hundred thousand, which have none: an eighth of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


class _Check:
    """One verification under way."""

    def __init__(self, file: LedgerFile, result: Verification, known: Sequence[str]) -> None:
        self._file = file
        self._out = result
        self._known = known
        self._keys: list[LogKey] = []  # of the log, as its entries hand it over
        self._policies: list[LogPolicy] = []  # who must have signed its heads
        self._published = Published()
        self._votes = VoteAudit(self._published)
        self._assets: Mapping[str, Json] = {}  # of the log, by its first entry
        self._runs: dict[str, LocalDay] = {}  # settled days
        self._there: dict[int, str] = {}  # entry -> the member whose sealed body lies there
        self._gone: dict[str, int] = {}  # member -> first entry whose body is not there
        self._erased: set[str] = set()  # usage points that were an erased member's once
        self._receipts: set[str] = set()  # members of whom the log says that they were erased
        self._audit = LogAudit(())
        self._pages: dict[tuple[str, int], Pages] = {}
        self._last: dict[str, RecordRow] = {}  # usage point -> the last of its records that was read
        self._judged: set[str] = set()  # days
        self._signed = True  # whether there may be signed days
        self._settled = Settled(file, self._published, set[str]())

    def run(self) -> None:
        """Runs every part; one that cannot be read does not hide the others."""
        self._section("file", self._sqlite)
        self._section("payloads", self._payloads)
        self._section("entries", self._log)
        self._section("balances", self._tables)
        self._section("checkpoints", self._checkpoints)
        self._section("provisional", self._side_tables)
        self._section("records", self._records)
        self._section("signed days", self._signed_days)
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

    def _payloads(self) -> None:
        self._there = dict(self._file.payloads())

    def _log(self) -> None:
        self._audit = LogAudit(size for size, _ in self._file.checkpoints())
        self._audit.findings = self._out.findings
        found_by = _grouped(self._file)
        waiting = next(found_by, None)
        for row in self._file.entries():
            entry = self._audit.entry(row.seq, row.document, row.leaf)
            accounts: list[str] = []
            while waiting is not None and waiting[0] <= row.seq:
                if waiting[0] < row.seq:
                    self._find("account_entries", f"entry {waiting[0]}", "there is no such entry")
                else:
                    accounts = waiting[1]
                waiting = next(found_by, None)
            if entry is None:
                continue
            if accounts != (right := sorted({posting.account for posting in entry.postings})):
                self._find("account_entries", f"entry {row.seq}", f"the table says {accounts}, the entry {right}")
            self._payload(row, entry)
            columns = (entry.id, entry.kind, entry.state.value, *entry_period(SealedEntry(entry, b"", b"")))
            seen = (row.id, row.kind, row.state, row.period, row.member)
            if columns != seen:
                self._find("entries", f"entry {row.seq}", f"the columns say {seen}, the document {columns}")
            self._remember(row.seq, entry)
        while waiting is not None:
            self._find("account_entries", f"entry {waiting[0]}", "there is no such entry")
            waiting = next(found_by, None)
        self._settled = Settled(self._file, self._published, self._audit.state.reversed)
        for member, seq in self._gone.items():
            self._find(
                "payloads", f"entry {seq}", f"the body of {member} is gone, and no receipt says that it was erased"
            )
        for seq, member in self._there.items():
            self._find("payloads", f"entry {seq}", f"no entry has a body of {member} here")
        self._out.entries, self._out.root = self._audit.size, self._audit.root().hex()

    def _payload(self, row: EntryRow, entry: Entry) -> None:
        """Compares a member's own body with its hash in the log; one that is gone needs a receipt."""
        sealed = sealed_in(entry.body)
        if sealed is None:
            return
        version, digest = sealed
        if version != VERSION:
            self._find("payloads", f"entry {row.seq}", f"cannot judge: sealed in version {version!r}")
        elif row.opened and digest != sha256(row.salt + row.opened).hexdigest():
            self._find("payloads", f"entry {row.seq}", "the body does not match its hash in the log")
        whose, member = self._there.pop(row.seq, None), row.member or _member_in(entry)
        if whose is None:
            self._gone.setdefault(member, row.seq)
        elif whose != member:
            self._find("payloads", f"entry {row.seq}", f"the body is said to be of {whose}, not of {member}")

    def _remember(self, seq: int, entry: Entry) -> None:
        if entry.state is not EntryState.POSTED:
            return
        if entry.kind == ERASED:
            self._gone.pop(str(entry.body.get("member")), None)
            self._receipts.add(str(entry.body.get("member")))
            self._erased |= points_of_member(self._published, str(entry.body.get("member")))
        try:
            if entry.kind == LOG_KEY or seq == 0:
                self._keys.append(next_key(self._keys, seq, entry.body))
            if entry.kind == LOG_POLICY:
                self._policies.append(read_policy(seq, entry.body))
            if problem := self._votes.entry(entry):
                self._find("entries", f"entry {seq}", f"{entry.kind}: {problem}")
            self._published.absorb(entry)
            if seq == 0 and isinstance(assets := entry.body.get("assets"), Mapping):
                self._assets = assets
            if entry.kind == CHARTER:
                self._same_money(seq, self._published.rules[entry.id].charter)
            if entry.kind == RUN_DAY:
                body = entry.body
                day = LocalDay(Instant(int(str(body["start"]))), Instant(int(str(body["end"]))), str(body["day"]))
                self._runs[day.name] = day
        except (ValueError, LookupError) as error:
            self._find("entries", f"entry {seq}", f"{entry.kind}: {error}")

    def _same_money(self, seq: int, charter: Charter) -> None:
        """Compares a charter's currency and digits with the assets of the log: one account holds one unit."""
        unit = f"1e-{charter.minor_digits}"
        if (seen := self._assets.get(money(charter))) != unit:
            message = (
                f"this charter counts {money(charter)} in {unit}, the log's first entry in {seen or 'no such money'}"
            )
            self._find("entries", f"entry {seq}", message)

    def _tables(self) -> None:
        self._audit.accounts({name: (a.floor, a.ceiling) for name, a in self._file.accounts().items()})
        self._audit.balances({key: (held.posted, held.pending) for key, held in self._file.balances().items()})

    def _checkpoints(self) -> None:
        published = [key.verifier.text() for key in self._keys]
        for key in self._known:
            if key not in published:
                text = published[0] if len(published) == 1 else " then ".join(published) or "none"
                self._find("entries", "entry 0", f"the log's key is {text!r}, expected {key!r}")
        heads = self._file.checkpoints() if self._keys else []
        for size, note in heads:
            self._audit.checkpoint(size, note, key_of(self._keys, size))
            self._cosignatures(size, note, newest=size == heads[-1][0])
            self._out.checkpoints += 1

    def _cosignatures(self, size: int, note: str, *, newest: bool) -> None:
        """Judges what the log's own second key and its witnesses have signed, by the policy of that time."""
        policy = policy_of(self._policies, size)
        try:
            lacking = "" if policy is None else policy.lacking(note)
        except NoteError as error:
            self._find("checkpoints", f"size {size}", str(error))
            return
        if newest and policy is not None and not policy.signed_twice(note):  # of older ones not all are kept
            self._find("checkpoints", f"size {size}", lacking)

    def _records(self) -> None:
        since = self._file.first_starts()
        self._signed = any_signed(self._file)
        for start, end, day in self._spans():
            groups: defaultdict[str, list[RecordRow]] = defaultdict(list)
            try:
                rows = self._hashed(self._file.record_rows(start, end))
            except _UNREADABLE as error:
                self._find("records", _when(start), f"cannot be read: {type(error).__name__}: {error}")
                continue
            self._out.records += len(rows)
            for row in rows:
                groups[row[0]].append(row)
            if day is not None:
                self._judge_day(day, since, groups)
            for point, found in groups.items():
                self._last[point] = found[-1]
                for epoch in {row[2] for row in found}:  # nearly always one
                    self._pages.setdefault((point, epoch), Pages()).extend([row[3] for row in found if row[2] == epoch])
        self._tables_of_records()

    def _hashed(self, rows: list[RecordRow]) -> list[RecordRow]:
        """Compares the rows with their hashes; those of sealed rows, which the seal holds together, are filled in."""
        found: list[RecordRow] = []
        for row, leaf in zip(rows, row_leaves(rows), strict=True):
            found.append(row if row[-1] else (*row[:-1], leaf))
            if row[-1] not in (leaf, b""):
                where = f"{row[0]} epoch {row[2]} page {row[3]}"
                self._find("records", where, f"the record of {_when(Instant(row[1]))} does not match its hash")
        return found

    def _spans(self) -> Iterator[tuple[Instant, Instant, LocalDay | None]]:
        """Yields the time line in pieces, in order: settled days, and what was recorded between them."""
        reached = Instant(-END_OF_TIME)
        days = sorted(self._runs.values(), key=lambda day: day.start)
        for day in (*days, LocalDay(END_OF_TIME, END_OF_TIME, "")):
            while (first := self._file.next_start(reached, day.start)) is not None:
                reached = Instant(min(first + DAY_MS, day.start))
                yield first, reached, None
            if reached <= day.start < day.end:
                yield day.start, day.end, day
                reached = day.end

    def _tables_of_records(self) -> None:
        pages = self._pages
        if self._out.records + self._file.unreadable != self._file.count_records():
            self._find("points", "all", "some records belong to no usage point")
        for row, digest in self._file.refused():
            if row.digest() != digest:
                self._find("refused", f"{row.point} page {row.page}", "the row does not match its hash")
            _take(pages, row.point, row.epoch, row.page)
        stored = {(row.point, row.epoch): (row.page, set(row.above)) for row in self._file.meters()}
        for key in sorted(stored.keys() | pages.keys()):
            seen, right = stored.get(key), pages.get(key)
            if key[0] in self._file.unreadable_points or key[0] in self._erased:
                continue  # pages of it are sealed, and the key is not here, or they are gone
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

    def _signed_days(self) -> None:
        for where, what in damaged_days(self._file):
            self._find("signed days", where, what)

    def _settlement(self) -> None:
        days = sorted(self._runs.values(), key=lambda day: day.start)
        for day in days:
            if day.name not in self._judged:  # its records could not be read, or it is no day among the others
                self._judge_day(day, self._file.first_starts(), None)
        self._bills(self._settled, days)

    def _judge_day(
        self, day: LocalDay, since: Mapping[str, Instant], groups: Mapping[str, list[RecordRow]] | None
    ) -> None:
        """Computes a day again from its records (`groups`, or those in the file) unless it is to be skipped."""
        self._judged.add(day.name)
        if day.name in self._out.waiting:
            return
        try:
            live = self._settled.live(day.name, DAY_KINDS)
            if closed(live):
                self._closed(day.name, live)
                return
            self._day(day, live, since, groups)
        except (*_UNREADABLE, OutsideTable) as error:
            self._find("settlement", day.name, f"cannot be computed again: {type(error).__name__}: {error}")
        self._out.days += 1

    def _closed(self, name: str, live: Mapping[tuple[str, str], SealedEntry], days: Sequence[str] = ()) -> None:
        """Notes a day, or a bill over `days`, that cannot be judged, and whether the log says why."""
        shut = {member for (_, member), sealed in live.items() if is_shut(sealed.entry.body)}
        if name not in self._out.closed:
            self._out.closed = (*self._out.closed, name)
        locked = not shut <= self._receipts or any(day in self._out.locked for day in days)
        if locked and name not in self._out.locked:
            self._out.locked = (*self._out.locked, name)

    def _day(
        self,
        day: LocalDay,
        live: Mapping[tuple[str, str], SealedEntry],
        since: Mapping[str, Instant],
        groups: Mapping[str, list[RecordRow]] | None,
    ) -> None:
        plain: dict[str, PointDay] = {}
        charter = str(live[RUN_DAY, ""].entry.body["charter"])
        records: dict[str, list[Kept]] = self._settled.records_of(day) if groups is None else {}
        for point, rows in (groups or {}).items():
            found = None if self._special(day, charter, point, rows) else plain_day(day, rows, self._last.get(point))
            if found is None:
                records[point] = [kept_of(row) for row in rows]
            else:
                plain[point] = found
        result = self._settled.compute(day, charter, records, since, plain, salts_in(live))
        named = {(draft.kind, draft.member) for draft in result.drafts}
        for draft in result.drafts:
            if not stands(live.get((draft.kind, draft.member)), draft):
                who = draft.member or "community"
                self._find("settlement", f"{day.name} {who}", f"{draft.kind} differs from the records' own result")
        for kind, member in live.keys() - named:
            self._find("settlement", f"{day.name} {member}", f"{kind} stands for nobody")
        self._settled.remember(day, live)

    def _special(self, day: LocalDay, charter: str, point: str, rows: Sequence[RecordRow]) -> bool:
        """Returns whether more than the registers decides about a usage point's day: signatures, or clocks."""
        rules = self._published.rules.get(charter)
        clocks = rules is not None and rules.charter.clock_tolerance_ms is not None and any(row[7] for row in rows)
        return clocks or (self._signed and next(signed_texts(self._file, point, day.start, day.end), None) is not None)

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
            if closed(live) or any(day.name in self._out.closed for day in group):
                self._closed(name, live, [day.name for day in group])
                continue
            try:
                _, drafts = settled.bill_drafts(group)
            except _UNREADABLE as error:
                self._find("settlement", name, f"bills cannot be computed again: {type(error).__name__}: {error}")
                continue
            for draft in drafts:
                if not stands(live.get((draft.kind, draft.member)), draft):
                    self._find("settlement", f"{name} {draft.member or 'community'}", f"{draft.kind} differs")


def _grouped(file: LedgerFile) -> Iterator[tuple[int, list[str]]]:
    """Yields (entry number, the accounts by which it is found, sorted)."""
    for seq, rows in groupby(file.account_entries(), key=lambda row: row[0]):
        yield seq, sorted(account for _, account in rows)


def _member_in(entry: Entry) -> str:
    """Returns the member whose account an entry moves: a reversal names nobody else."""
    names = (posting.account.split(":") for posting in entry.postings)
    return next((name[1] for name in names if name[0] == "member" and len(name) > 2), "")


def _take(pages: dict[tuple[str, int], Pages], point: str, epoch: int, page: int) -> None:
    pages.setdefault((point, epoch), Pages()).add(page)


def _when(instant: Instant) -> str:
    return iso(instant) if 0 <= instant < 253_402_300_800_000 else str(instant)
