"""What lies in `ledger.db`: the tables, and their rows as values."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import cast

from controller.ledger.canonical import encode
from controller.ledger.entries import SealedEntry, unseal
from controller.settlement.intervals import Kept
from devices.clock import ClockQuality, Instant
from devices.model import Commodity, IntervalRecord, RecordQuality, UsagePointId

SCHEMA_VERSION = 1

_COMMODITIES = tuple(Commodity)
_QUALITIES = tuple(RecordQuality)
_CLOCKS = tuple(ClockQuality)
_COMMODITY_CODE = {commodity: code for code, commodity in enumerate(_COMMODITIES)}
_QUALITY_CODE = {quality: code for code, quality in enumerate(_QUALITIES)}
_CLOCK_CODE = {clock: code for code, clock in enumerate(_CLOCKS)}

SCHEMA = """
CREATE TABLE points(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE records(
    start_ms INTEGER NOT NULL, point INTEGER NOT NULL, epoch INTEGER NOT NULL, page INTEGER NOT NULL,
    end_ms INTEGER NOT NULL, commodity INTEGER NOT NULL, quality INTEGER NOT NULL, clock INTEGER NOT NULL,
    import_start INTEGER NOT NULL, import_end INTEGER NOT NULL,
    export_start INTEGER NOT NULL, export_end INTEGER NOT NULL,
    leaf BLOB NOT NULL, PRIMARY KEY(start_ms, point, epoch, page)) STRICT, WITHOUT ROWID;
CREATE TABLE meters(
    point INTEGER NOT NULL, epoch INTEGER NOT NULL, page INTEGER NOT NULL, above TEXT NOT NULL,
    PRIMARY KEY(point, epoch)) STRICT, WITHOUT ROWID;
CREATE TABLE refused(
    point TEXT NOT NULL, epoch INTEGER NOT NULL, page INTEGER NOT NULL, reason TEXT NOT NULL,
    digest BLOB NOT NULL, PRIMARY KEY(point, epoch, page)) STRICT, WITHOUT ROWID;
CREATE TABLE entries(
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, state TEXT NOT NULL, period TEXT NOT NULL,
    member TEXT NOT NULL, document BLOB NOT NULL, leaf BLOB NOT NULL) STRICT;
CREATE INDEX entries_period ON entries(period, kind, member) WHERE period <> '';
CREATE INDEX entries_state ON entries(state) WHERE state <> 'posted';
CREATE INDEX entries_kind ON entries(kind);
CREATE TABLE postings(
    seq INTEGER NOT NULL, line INTEGER NOT NULL, account TEXT NOT NULL, asset TEXT NOT NULL,
    amount INTEGER NOT NULL, PRIMARY KEY(seq, line)) STRICT, WITHOUT ROWID;
CREATE INDEX postings_account ON postings(account, seq);
CREATE TABLE accounts(
    name TEXT PRIMARY KEY, lowest INTEGER, highest INTEGER) STRICT, WITHOUT ROWID;
CREATE TABLE balances(
    account TEXT NOT NULL, asset TEXT NOT NULL, posted INTEGER NOT NULL, pending INTEGER NOT NULL,
    PRIMARY KEY(account, asset)) STRICT, WITHOUT ROWID;
CREATE TABLE checkpoints(size INTEGER PRIMARY KEY, note TEXT NOT NULL) STRICT;
CREATE TABLE provisional(
    slot_ms INTEGER PRIMARY KEY, taken INTEGER NOT NULL, given INTEGER NOT NULL, grid_import INTEGER NOT NULL,
    grid_export INTEGER NOT NULL, missing TEXT NOT NULL, digest BLOB NOT NULL) STRICT;
CREATE TABLE late(start_ms INTEGER PRIMARY KEY) STRICT;
"""

RECORD_COLUMNS = (
    "points.name, start_ms, epoch, page, end_ms, commodity, quality, clock,"
    " import_start, import_end, export_start, export_end, leaf"
)
RECORD_FROM = "FROM records JOIN points ON points.id = records.point"


ENTRY_COLUMNS = "seq, id, kind, state, period, member, document, leaf"
_ENTRY_TYPES = (int, str, str, str, str, str, bytes, bytes)
_RECORD_TYPES = (str, *(int,) * 11, bytes)


class RowDamaged(ValueError):
    """A row holds values of types that were never written to it."""


@dataclass(frozen=True, slots=True)
class EntryRow:
    """One row of the log as it lies in the file, unjudged."""

    seq: int
    id: str
    kind: str
    state: str
    period: str
    member: str
    document: bytes
    leaf: bytes

    def sealed(self) -> SealedEntry:
        """Returns the entry.

        Raises:
            ValueError: the document is not canonical (NotCanonical) or of an unknown version.
        """
        return SealedEntry(unseal(self.document), self.document, self.leaf)


@dataclass(frozen=True, slots=True)
class MeterRow:
    """How far a meter's pages have come: all up to `page`, and those in `above` beyond a gap."""

    point: str
    epoch: int
    page: int
    above: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A page that could not be kept; it is acknowledged, so that the pages behind it are not blocked."""

    point: str
    epoch: int
    page: int
    reason: str

    def digest(self) -> bytes:
        """Returns the SHA-256 of the row's canonical bytes."""
        return sha256(encode([self.point, self.epoch, self.page, self.reason])).digest()


def entry_period(sealed: SealedEntry) -> tuple[str, str]:
    """Returns (period, member) that the body of an entry names: the columns by which runs find their entries."""
    body = sealed.entry.body
    period = body.get("day", body.get("period", ""))
    member = body.get("member", "")
    return str(period), str(member)


def entry_row(row: tuple[object, ...]) -> EntryRow:
    """Returns a row of ENTRY_COLUMNS.

    Raises:
        RowDamaged: a value has another type than the table declares.
    """
    if tuple(map(type, row)) != _ENTRY_TYPES:
        raise RowDamaged(f"entries row {row[0]!r} holds {[type(value).__name__ for value in row]}")
    return EntryRow(*cast("tuple[int, str, str, str, str, str, bytes, bytes]", row))


def kept_of(row: tuple[object, ...]) -> Kept:
    """Returns the kept record in a row of RECORD_COLUMNS.

    Raises:
        RowDamaged: a value has another type than the table declares.
        IndexError: a code that this program does not know.
    """
    if tuple(map(type, row)) != _RECORD_TYPES:
        raise RowDamaged(f"records row {row[:4]!r} holds {[type(value).__name__ for value in row]}")
    (
        name, start, epoch, page, end, commodity, quality, clock,
        import_start, import_end, export_start, export_end, leaf,
    ) = cast("tuple[str, int, int, int, int, int, int, int, int, int, int, int, bytes]", row)  # fmt: skip
    return Kept(
        IntervalRecord(
            UsagePointId(name), _COMMODITIES[commodity], epoch, page, Instant(start), Instant(end),
            import_start, import_end, export_start, export_end, _QUALITIES[quality], _CLOCKS[clock],
        ),
        leaf,
    )  # fmt: skip


def row_of(kept: Kept, point: int) -> tuple[int | bytes, ...]:
    """Returns a record as a row of the table `records`, with the number of its usage point."""
    r = kept.record
    return (
        r.start, point, r.meter_epoch, r.page, r.end,
        _COMMODITY_CODE[r.commodity], _QUALITY_CODE[r.quality], _CLOCK_CODE[r.clock],
        r.import_start, r.import_end, r.export_start, r.export_end, kept.leaf,
    )  # fmt: skip
