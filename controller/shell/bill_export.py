"""One file with which a household recomputes one bill: its records, the rules, public totals, proofs.

The format is documented in docs/bundle.md and judged by `verifier/`, which shares no code with this module.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from controller.ledger.canonical import Json, encode
from controller.ledger.entries import EntryState
from controller.ledger.merkle import Tree, leaf_hash
from controller.ledger.note import Checkpoint, NoteError, Verifier, verify
from controller.settlement.intervals import BRACKET_MS
from controller.settlement.published import CHARTER, CHARTER_TABLE, Published
from controller.settlement.runs import BILL, RUN_DAY, SETTLE_DAY, SETTLE_GRID, Rules
from controller.settlement.tariff import LocalDay
from controller.shell.settlement_runs import DAY_KINDS, Settled
from controller.store.ledger_file import LedgerFile
from controller.store.ledger_rows import EntryRow
from devices.clock import Instant
from devices.model import IntervalRecord

BUNDLE_VERSION = 1
TRIES = 5


class NoSuchBill(LookupError):
    """The ledger holds no standing bill of that member and period."""


class NotSignedYet(RuntimeError):
    """The bill stands, but no signed checkpoint covers it yet, or a correction is on its way."""


class ForeignCheckpoint(ValueError):
    """A checkpoint from which this log has not grown."""


@dataclass(frozen=True, slots=True)
class _Point:
    """One usage point's day as the log names it: [point, records, root], in the order of the day's run."""

    name: str
    document: Json

    def leaf(self) -> bytes:
        return leaf_hash(encode(self.document))


def export_bill(path: str | Path, member: str, period: str, earlier: str = "") -> bytes:
    """Returns the bundle of one bill; `earlier` is a checkpoint kept from before, to be shown consistent with.

    Raises:
        NotALedger: there is no ledger, or it cannot be read.
        NoSuchBill: no bill of that member and period stands.
        NotSignedYet: the log has not signed it yet, or corrects it right now.
        ForeignCheckpoint: `earlier` is of another log, or of a longer one.
    """
    file = LedgerFile.read(path)
    try:
        for _ in range(TRIES):  # a hub may write meanwhile: what was read belongs together if nothing was appended
            size, records = file.size(), file.count_records()
            bundle = _Export(file, member, period).bundle(earlier)
            if (size, records) == (file.size(), file.count_records()):
                return bundle
    finally:
        file.close()
    raise NotSignedYet(f"the ledger grew {TRIES} times while the bundle was made; try again")


def list_bills(path: str | Path, member: str = "") -> list[tuple[str, str]]:
    """Returns (member, period) of every bill that stands, oldest first.

    Raises:
        NotALedger: there is no ledger, or it cannot be read.
    """
    file = LedgerFile.read(path)
    try:
        undone = _reversed(file)
        rows = [row for row in file.of_kind(BILL) if row.state == EntryState.POSTED and row.id not in undone]
        return [(row.member, row.period) for row in rows if member in ("", row.member)]
    finally:
        file.close()


class _Export:
    """One bundle in the making."""

    def __init__(self, file: LedgerFile, member: str, period: str) -> None:
        self._file = file
        self._member = member
        self._period = period
        self._published = Published()
        for kind in (CHARTER, CHARTER_TABLE):
            for row in file.of_kind(kind):
                self._published.absorb(row.sealed().entry)
        self._undone = _reversed(file)
        self._settled = Settled(file, self._published, self._undone)
        self._rows: dict[int, EntryRow] = {}  # what goes into the bundle, by number
        self._points: dict[str, str] = {}  # own usage point -> commodity
        self._proven: dict[str, set[str]] = {}  # day -> usage points whose records an entry taken commits to

    def bundle(self, earlier: str) -> bytes:
        bill = self._standing(self._period, BILL, self._member)
        if bill is None:
            raise NoSuchBill(f"no bill of {self._member!r} for {self._period!r} stands in this ledger")
        days = [self._day(name) for name in _texts(bill.sealed().entry.body.get("days"))]
        self._wait_for_corrections(days)
        genesis = self._file.entry(0)
        assert genesis is not None
        self._take(genesis)
        inputs: dict[str, Json] = {day.name: self._settled_day(day) for day in days}
        around = [*days, *(day for point in sorted(self._points) for day in self._neighbours(point, days))]
        records = {point: self._records(point, around) for point in sorted(self._points)}
        tree, size, note = self._signed()
        document: dict[str, Json] = {
            "atoll_bundle": BUNDLE_VERSION,
            "member": self._member,
            "period": self._period,
            "checkpoint": note,
            "consistency": _consistency(tree, size, earlier, str(genesis.sealed().entry.body.get("key"))),
            "entries": [_entry(row, tree, size) for _, row in sorted(self._rows.items())],
            "inputs": inputs,
            "records": records,
        }
        document["sha256"] = sha256(encode(document)).hexdigest()
        return encode(document)

    def _standing(self, period: str, kind: str, member: str) -> EntryRow | None:
        for row in reversed(self._file.of_period(period)):
            if (row.kind, row.member, row.state) == (kind, member, EntryState.POSTED) and row.id not in self._undone:
                self._take(row)
                return row
        return None

    def _take(self, row: EntryRow) -> None:
        self._rows[row.seq] = row

    def _day(self, name: str) -> LocalDay:
        run = self._standing(name, RUN_DAY, "")
        assert run is not None, f"a bill names {name}, which has no run"
        body = run.sealed().entry.body
        return LocalDay(Instant(int(str(body["start"]))), Instant(int(str(body["end"]))), name)

    def _wait_for_corrections(self, days: Sequence[LocalDay]) -> None:
        late = set(self._file.late())
        waiting = [day.name for day in days if day.start in late]
        if waiting:
            raise NotSignedYet(f"{', '.join(waiting)} waits for its correction run; try again in a minute")

    def _settled_day(self, day: LocalDay) -> dict[str, Json]:
        """Takes the entries of one day; returns own usage point -> proof that it went into the day's run."""
        charter = self._settled.charter_of(day)
        for row in (*self._file.of_kind(CHARTER), *self._file.of_kind(CHARTER_TABLE)):
            body = row.sealed().entry.body
            if row.id == charter or (body.get("charter") == charter and self._is_year(body, day)):
                self._take(row)
        rules = self._published.rules[charter]
        own = next((m for m in rules.members if m.id == self._member), None)
        if own is None:
            return {}
        self._own_day(day)
        self._points.update(dict.fromkeys(own.usage_points, "energy"))
        self._points.update(dict.fromkeys(own.water_points, "water"))
        points = self._inputs_of_run(day, rules)
        tree = Tree(point.leaf() for point in points)
        wanted = {*own.usage_points, *own.water_points}
        return {point.name: _texts64(tree.inclusion(at)) for at, point in enumerate(points) if point.name in wanted}

    def _is_year(self, body: Mapping[str, Json], day: LocalDay) -> bool:
        table = body.get("table")
        if not isinstance(table, Mapping):
            return False
        days, end = table.get("days"), table.get("end")
        first = days[0] if isinstance(days, list) and days else None
        return isinstance(first, list) and int(str(first[1])) <= day.start < int(str(end))

    def _inputs_of_run(self, day: LocalDay, rules: Rules) -> list[_Point]:
        """Returns the inputs of a day's run in the order of the rules."""
        found: dict[str, Json] = {}
        for (kind, _), sealed in self._settled.live(day.name, DAY_KINDS).items():
            inputs = sealed.entry.body.get("inputs") if kind in (SETTLE_DAY, SETTLE_GRID) else None
            for item in inputs if isinstance(inputs, list) else ():
                assert isinstance(item, list)
                found[str(item[0])] = item
        return [_Point(name, found[name]) for name in rules.points()]

    def _records(self, point: str, days: Sequence[LocalDay]) -> dict[str, Json]:
        """Returns a point's records of those days for which an entry in the bundle names them."""
        rows: list[Json] = []
        for day in sorted({day.start: day for day in days}.values(), key=lambda day: day.start):
            if point in self._proven.get(day.name, ()):
                rows += [_row(kept.record) for kept in self._file.records(day.start, day.end, point)]
        return {"commodity": self._points[point], "rows": rows}

    def _neighbours(self, point: str, days: Sequence[LocalDay]) -> list[LocalDay]:
        """Returns the days around the period on whose registers it leans: the last before, the first after."""
        start, end = days[0].start, days[-1].end
        before = self._file.nearest(point, start, BRACKET_MS, later=False)
        if before is None and (first := self._file.first_starts().get(point, start)) < start:
            before = self._file.nearest(point, first, 0, later=True)
        last = self._file.nearest(point, end, end - start, later=False)
        reaches = last is not None and last.end >= end
        after = None if reaches else self._file.nearest(point, end, BRACKET_MS, later=True)
        calendar = list(self._published.calendars.values())[-1]
        found = [calendar.day_of(record.start) for record in (before, after) if record is not None]
        return [day for day in found if self._own_day(day) is not None]

    def _own_day(self, day: LocalDay) -> EntryRow | None:
        row = self._standing(day.name, SETTLE_DAY, self._member)
        if row is not None:
            inputs = row.sealed().entry.body.get("inputs")
            named = [str(item[0]) for item in inputs if isinstance(item, list)] if isinstance(inputs, list) else []
            self._proven[day.name] = set(named)
        return row

    def _signed(self) -> tuple[Tree, int, str]:
        last, needed = self._file.last_checkpoint(), max(self._rows)
        if last is None or last[0] <= needed:
            raise NotSignedYet("the log has not signed this bill yet; try again in a minute")
        return Tree(self._file.leaves(0, last[0])), *last


def _reversed(file: LedgerFile) -> set[str]:
    rows = file.resolutions()
    return {row.sealed().entry.refers for row in rows if row.state == EntryState.REVERSAL}


def _consistency(tree: Tree, size: int, earlier: str, key: str) -> Json:
    if not earlier:
        return None
    try:
        text, _ = verify(earlier, [Verifier.parse(key)])
        old = Checkpoint.parse(text)
    except NoteError as error:
        raise ForeignCheckpoint(f"the earlier checkpoint is not one of this log: {error}") from error
    if old.size > size or old.size < 1:
        raise ForeignCheckpoint(f"the earlier checkpoint has {old.size} entries, this log's newest {size}")
    return {"size": old.size, "proof": _texts64(tree.consistency(old.size, size))}


def _entry(row: EntryRow, tree: Tree, size: int) -> dict[str, Json]:
    return {"seq": row.seq, "document": row.document.decode(), "proof": _texts64(tree.inclusion(row.seq, size))}


def _row(record: IntervalRecord) -> list[Json]:
    return [
        record.start, record.meter_epoch, record.page, record.import_start, record.import_end,
        record.export_start, record.export_end, record.quality.value, record.clock.value,
    ]  # fmt: skip


def _texts(value: Json) -> list[str]:
    assert isinstance(value, list)
    return [str(item) for item in value]


def _texts64(hashes: Iterable[bytes]) -> list[Json]:
    return [base64.b64encode(node).decode() for node in hashes]
