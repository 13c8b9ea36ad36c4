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
from controller.ledger.log_keys import LOG_KEY, LogKey, key_of
from controller.ledger.log_policy import LOG_POLICY, policy_of, read_policy
from controller.ledger.merkle import Tree, leaf_hash
from controller.ledger.note import Checkpoint, NoteError, verify
from controller.ledger.sealing import is_shut
from controller.settlement.evidence import (
    CLOCK_SET,
    EVIDENCE_KINDS,
    METER_REPLACED,
    parse_clock_set,
)
from controller.settlement.intervals import BRACKET_MS
from controller.settlement.published import CHARTER, CHARTER_TABLE, VOTE, Published
from controller.settlement.run_names import name_in
from controller.settlement.runs import BILL, RUN_DAY, SETTLE_DAY, SETTLE_GRID, Rules, salted_in
from controller.settlement.tariff import LocalDay
from controller.shell.log_keys import published_keys
from controller.shell.settlement_runs import DAY_KINDS, Settled, deliveries
from controller.shell.signed_days import GATEWAY_KEY, signed_texts
from controller.store.ledger_file import LedgerFile
from controller.store.ledger_rows import EntryRow
from controller.voting import VOTE_RESULT
from devices.clock import Instant
from devices.model import IntervalRecord

BUNDLE_VERSION = 1
SEALED_VERSION = 2
"""With entries that are a member's own, or with a log key that was handed over."""
SIGNED_VERSION = 3
"""With signed meter-days, or with statements about meters and clocks."""
SALTED_VERSION = 4
"""With salts in what a day's run commits to."""


class NoSuchBill(LookupError):
    """The ledger holds no standing bill of that member and period."""


class NotSignedYet(RuntimeError):
    """The bill stands, but no signed checkpoint covers it yet, or a correction is on its way."""


class ForeignCheckpoint(ValueError):
    """A checkpoint from which this log has not grown."""


@dataclass(frozen=True, slots=True)
class _Point:
    """One usage point's day: the hash of what the log names, [point, records, root], in the order of the day's run."""

    name: str
    leaf: bytes


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
        file.database.execute("BEGIN")  # one snapshot (WAL): what a hub writes meanwhile is not in it
        return _Export(file, member, period).bundle(earlier)
    finally:
        file.close()


def bills_with_runs(path: str | Path, member: str = "") -> list[tuple[str, str, str]]:
    """Returns (member, period, run: SF, R1, ...) of every bill that stands, oldest first.

    Raises:
        NotALedger: there is no ledger, or it cannot be read.
    """
    file = LedgerFile.read(path)
    try:
        undone = _reversed(file)
        rows = [row for row in file.of_kind(BILL) if row.state == EntryState.POSTED and row.id not in undone]
        wanted = [row for row in rows if member in ("", row.member)]
        return [(row.member, row.period, name_in(row.sealed().entry.body)) for row in wanted]
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
        if is_shut(bill.sealed().entry.body):
            raise NoSuchBill(f"the key of {self._member!r} is not in keys.db beside the ledger: erased, or a bare copy")
        days = [self._day(name) for name in _texts(bill.sealed().entry.body.get("days"))]
        self._wait_for_corrections(days)
        genesis = self._file.entry(0)
        assert genesis is not None
        self._take(genesis)
        for kind in (LOG_KEY, LOG_POLICY):
            for row in self._file.of_kind(kind):
                self._take(row)
        inputs: dict[str, Json] = {day.name: self._settled_day(day) for day in days}
        around = [*days, *(day for point in sorted(self._points) for day in self._neighbours(point, days))]
        records = {point: self._records(point, around) for point in sorted(self._points)}
        self._take_statements(days)
        for day in days:
            for row, entry in deliveries(self._file, day):
                if entry.body.get("member") == self._member:
                    self._take(row)
        tree, size, note = self._signed()
        signed: dict[str, Json] = {
            point: rows for point in sorted(self._points) if (rows := self._signed_texts(point, days))
        }
        version = self._version(signed=bool(signed))
        document: dict[str, Json] = {
            "atoll_bundle": version,
            **({"ocmf": signed} if version >= SIGNED_VERSION else {}),
            "member": self._member,
            "period": self._period,
            "checkpoint": note,
            "consistency": _consistency(tree, size, earlier, published_keys(self._file)),
            "entries": [_entry(row, tree, size) for _, row in sorted(self._rows.items())],
            "inputs": inputs,
            "records": records,
        }
        document["sha256"] = sha256(encode(document)).hexdigest()
        return encode(document)

    def _take_statements(self, days: Sequence[LocalDay]) -> None:
        """Takes what is stated about the member's meters and their clocks, and the keys of their gateways."""
        for row in self._file.of_kind(METER_REPLACED):
            body = row.sealed().entry.body
            if body.get("usage_point") in self._points and row.member in ("", self._member):  # not a former tenant's
                self._take(row)
        for row in self._file.of_kind(CLOCK_SET):
            if parse_clock_set(row.sealed().entry.body).usage_points & self._points.keys():
                self._take(row)
        texts = (one for point in self._points for one in signed_texts(self._file, point, days[0].start, days[-1].end))
        wanted = {(one.node, one.key) for one in texts}
        for row in self._file.of_kind(GATEWAY_KEY):
            body = row.sealed().entry.body
            if (body.get("node"), body.get("key")) in wanted:
                wanted.discard((str(body["node"]), str(body["key"])))
                self._take(row)

    def _signed_texts(self, point: str, days: Sequence[LocalDay]) -> list[Json]:
        texts = signed_texts(self._file, point, days[0].start, days[-1].end)
        return [[one.node, one.key, one.text.decode("utf-8", "replace")] for one in texts]

    def _version(self, *, signed: bool) -> int:
        """Returns the lowest version that holds what is in the bundle."""
        rows = self._rows.values()
        if any(row.kind == SETTLE_DAY and salted_in(row.sealed().entry.body) for row in rows):
            return SALTED_VERSION
        if signed or any(row.kind in (*EVIDENCE_KINDS, GATEWAY_KEY) for row in rows):
            return SIGNED_VERSION
        return SEALED_VERSION if any(row.opened or row.kind == LOG_KEY for row in rows) else BUNDLE_VERSION

    def _standing(self, period: str, kind: str, member: str) -> EntryRow | None:
        for row in reversed(self._file.of_period(period, (kind,))):
            if (row.member, row.state) == (member, EntryState.POSTED) and row.id not in self._undone:
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
            if row.id == charter and VOTE in body:
                self._take_vote(str(body[VOTE]))
        rules = self._published.rules[charter]
        own = next((m for m in rules.members if m.id == self._member), None)
        if own is None:
            return {}
        self._own_day(day)
        self._points.update(dict.fromkeys(own.usage_points, "energy"))
        self._points.update(dict.fromkeys(own.water_points, "water"))
        points = self._inputs_of_run(day, rules)
        tree = Tree(point.leaf for point in points)
        wanted = {*own.usage_points, *own.water_points}
        return {point.name: _texts64(tree.inclusion(at)) for at, point in enumerate(points) if point.name in wanted}

    def _take_vote(self, vote: str) -> None:
        """Takes what shows that a charter was voted for; its ballots are in the vote's own file."""
        opened = self._file.by_id(vote)
        results = (row for row in self._file.of_kind(VOTE_RESULT) if row.sealed().entry.body.get("vote") == vote)
        for row in (opened, *results):
            if row is not None:
                self._take(row)

    def _is_year(self, body: Mapping[str, Json], day: LocalDay) -> bool:
        table = body.get("table")
        if not isinstance(table, Mapping):
            return False
        days, end = table.get("days"), table.get("end")
        first = days[0] if isinstance(days, list) and days else None
        return isinstance(first, list) and int(str(first[1])) <= day.start < int(str(end))

    def _inputs_of_run(self, day: LocalDay, rules: Rules) -> list[_Point]:
        """Returns the inputs of a day's run in the order of the rules."""
        found: dict[str, bytes] = {}
        own = {member.id: (*member.usage_points, *member.water_points) for member in rules.members}
        for (kind, member), sealed in self._settled.live(day.name, DAY_KINDS).items():
            body = sealed.entry.body
            inputs = body.get("inputs") if kind in (SETTLE_DAY, SETTLE_GRID) else None
            for item in inputs if isinstance(inputs, list) else ():
                assert isinstance(item, list)
                found[str(item[0])] = leaf_hash(encode(item))
            if is_shut(body):  # a neighbour whose text is gone: its leaves stay
                leaves = [bytes.fromhex(text) for text in _texts(body.get("leaves", []))]
                found |= dict(zip(own[member], leaves, strict=True))
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
        """Returns (tree, size, head): the newest head with all signatures that the log asks for, or the newest."""
        last, needed = self._file.last_checkpoint(), max(self._rows)
        if last is None or last[0] <= needed:
            raise NotSignedYet("the log has not signed this bill yet; try again in a minute")
        policies = [read_policy(row.seq, row.sealed().entry.body) for row in self._file.of_kind(LOG_POLICY)]
        if (policy := policy_of(policies, last[0])) is not None and policy.lacking(last[1]):
            heads = [head for head in self._file.checkpoints() if head[0] > needed]
            last = next((head for head in reversed(heads) if not policy.lacking(head[1])), last)
        return Tree(self._file.leaves(0, last[0])), *last


def _reversed(file: LedgerFile) -> set[str]:
    rows = file.resolutions()
    return {row.sealed().entry.refers for row in rows if row.state == EntryState.REVERSAL}


def _consistency(tree: Tree, size: int, earlier: str, keys: Sequence[LogKey]) -> Json:
    if not earlier:
        return None
    try:
        text, _ = verify(earlier, [key.verifier for key in keys])
        old = Checkpoint.parse(text)
    except NoteError as error:
        raise ForeignCheckpoint(f"the earlier checkpoint is not one of this log: {error}") from error
    if old.size > size or old.size < 1:
        raise ForeignCheckpoint(f"the earlier checkpoint has {old.size} entries, this log's newest {size}")
    try:
        verify(earlier, [key_of(keys, old.size)])
    except NoteError as error:
        raise ForeignCheckpoint(
            f"the earlier checkpoint is not signed by the log's key of its time: {error}"
        ) from error
    return {"size": old.size, "proof": _texts64(tree.consistency(old.size, size))}


def _entry(row: EntryRow, tree: Tree, size: int) -> dict[str, Json]:
    own = {"opened": row.opened.decode(), "salt": base64.b64encode(row.salt).decode()} if row.opened else {}
    return {"seq": row.seq, "document": row.document.decode(), "proof": _texts64(tree.inclusion(row.seq, size)), **own}


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
