"""What lies in `ledger.db`: the tables, and their rows as values."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import cast

from controller.ledger.canonical import NotCanonical, decode, encode
from controller.ledger.entries import SealedEntry, unseal
from controller.ledger.vault import BROKEN, MARK_BYTES, NONCE_BYTES, TAG_BYTES, Altered, Unreadable, Vault
from controller.settlement.intervals import Kept, record_leaf
from controller.store.record_rows import RECORD_TYPES, RecordRow
from devices.clock import ClockQuality, Instant
from devices.model import Commodity, IntervalRecord, RecordQuality, UsagePointId

SCHEMA_VERSION = 2
LEAF_BYTES = 32

PAYLOADS = (
    "CREATE TABLE IF NOT EXISTS payloads(seq INTEGER PRIMARY KEY, member TEXT NOT NULL, sealed BLOB NOT NULL) STRICT"
)
"""Members' own bodies, in ledgers that seal them; older ledgers have no such table."""

TAKEN_BACK = "CREATE TABLE IF NOT EXISTS taken_back(point TEXT PRIMARY KEY) STRICT, WITHOUT ROWID"
"""Points of devices whose readings were erased, in ledgers in which some were."""

UNSEEN = "CREATE TABLE IF NOT EXISTS unseen(leaf BLOB PRIMARY KEY) STRICT, WITHOUT ROWID"
"""Records that came after their day was settled, until it is settled again, in ledgers with erased members."""

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


class RowDamaged(ValueError):
    """A row holds values of types that were never written to it."""


@dataclass(frozen=True, slots=True)
class EntryRow:
    """One entry of the log as a store holds it, unjudged."""

    seq: int
    id: str
    kind: str
    state: str
    period: str
    member: str
    document: bytes
    leaf: bytes
    opened: bytes = b""  # a member's own body, where the log holds its hash only and the key is there
    salt: bytes = b""

    def sealed(self) -> SealedEntry:
        """Returns the entry; a member's own with its real body, where there is the key.

        Raises:
            ValueError: the document is not canonical (NotCanonical) or of an unknown version.
        """
        entry = unseal(self.document)
        if self.opened:
            body = decode(self.opened)
            if not isinstance(body, Mapping):
                raise NotCanonical(f"entry {self.seq}: what its member's key opens is no body")
            entry = replace(entry, body=body)
        return SealedEntry(entry, self.document, self.leaf)


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
    if not body:
        return "", ""
    period = body.get("day", body.get("period", ""))
    member = body.get("member", "")
    return str(period), str(member)


def kept_of(row: tuple[object, ...]) -> Kept:
    """Returns the kept record in a row of RECORD_COLUMNS.

    Raises:
        RowDamaged: a value has another type than the table declares.
        IndexError: a code that this program does not know.
    """
    if tuple(map(type, row)) != RECORD_TYPES:
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


_OWN = struct.Struct(">QQQQBB")  # registers, quality, clock: what only its household may know
_BOUND = b"\2"
"""Behind it in a sealed text: end and commodity, which lie open, are bound into the seal; older ones lack it."""
_BOUND_BYTES = NONCE_BYTES + _OWN.size + len(_BOUND) + TAG_BYTES
_MARKED_BYTES, _TEXT_AT = MARK_BYTES + _BOUND_BYTES, MARK_BYTES + NONCE_BYTES
"""With the mark of the key before it; older ones lie under the only key of their usage point."""


def sealed_kept(kept: Kept, vault: Vault, owner: str) -> Kept:
    """Returns a household's record as it is stored: registers empty, in place of the leaf what its key opens."""
    r = kept.record
    text = _OWN.pack(
        r.import_start, r.import_end, r.export_start, r.export_end, _QUALITY_CODE[r.quality], _CLOCK_CODE[r.clock]
    )
    empty = replace(
        r, import_start=0, import_end=0, export_start=0, export_end=0, quality=_QUALITIES[0], clock=_CLOCKS[0]
    )
    return Kept(empty, vault.seal_marked(owner, _bound_place(r), text + _BOUND))


def opened_kept(stored: Kept, vault: Vault) -> Kept:
    """Returns the record in a row; a household's own is opened.

    Raises:
        Unreadable: there is no key of its usage point.
        Altered: it is not what was stored.
    """
    r = stored.record
    if len(stored.leaf) == LEAF_BYTES:
        return stored
    start, _, *rest = row_of(stored, 0)
    record = kept_of(opened_row(cast("RecordRow", (r.usage_point, start, *rest)), vault)).record
    return Kept(record, record_leaf(record))


def opened_row(row: RecordRow, vault: Vault) -> RecordRow:
    """Returns a row as it is; a household's own opened, without a leaf hash (`row_leaves` of many makes it).

    Raises:
        Unreadable: there is no key of its usage point.
        Altered: it is not what was stored.
    """
    name, start, epoch, page, end, commodity, quality, clock, i0, i1, e0, e1, sealed = row
    if len(sealed) == LEAF_BYTES:
        return row
    place = f"{start}/{epoch}/{page}"
    if quality or clock or i0 or i1 or e0 or e1:
        raise Altered(f"something stands in the open beside the sealed record at {place} of {name}")
    if len(sealed) in (_BOUND_BYTES, _MARKED_BYTES):
        place = f"{place}/{end}/{commodity}"
    opened = vault.open_marked if len(sealed) == _MARKED_BYTES else vault.open
    i0, i1, e0, e1, quality, clock = _OWN.unpack_from(opened(point_owner(name), place, sealed))
    return (name, start, epoch, page, end, commodity, quality, clock, i0, i1, e0, e1, b"")


def opened_rows(rows: Iterable[RecordRow], vault: Vault, missing: Callable[[str], None]) -> list[RecordRow]:
    """Returns the rows as `opened_row` does, in half of its time; `missing` hears whose key is not there.

    Raises:
        Altered: one is not what was stored.
    """
    found, openers = list[RecordRow](), dict[tuple[str, bytes], Callable[[bytes, bytes, bytes], bytes]]()
    for row in rows:
        name, start, epoch, page, end, commodity, quality, clock, i0, i1, e0, e1, sealed = row
        try:
            if len(sealed) != _MARKED_BYTES or quality or clock or i0 or i1 or e0 or e1:
                found.append(opened_row(row, vault))
                continue
            key = name, sealed[:MARK_BYTES]
            opener = openers.get(key) or openers.setdefault(key, vault.opener(point_owner(name), sealed[:MARK_BYTES]))
        except Unreadable:
            missing(name)
            continue
        try:
            place = b"%d/%d/%d/%d/%d" % (start, epoch, page, end, commodity)
            text = opener(sealed[MARK_BYTES:_TEXT_AT], sealed[_TEXT_AT:], place)
        except BROKEN as error:
            raise Altered(f"the sealed record at {start}/{epoch}/{page} of {name} was altered") from error
        i0, i1, e0, e1, quality, clock = _OWN.unpack_from(text)
        found.append((name, start, epoch, page, end, commodity, quality, clock, i0, i1, e0, e1, b""))
    return found


def key_of_record(stored: Kept, vault: Vault) -> str:
    """Returns the owner whose key has sealed a stored record, '' for none.

    Raises:
        Unreadable: that key is not here.
    """
    first, sealed = point_owner(stored.record.usage_point), stored.leaf
    if len(sealed) == LEAF_BYTES:
        return ""
    return vault.owner_of(first, sealed) if len(sealed) == _MARKED_BYTES else first


def point_owner(point: str, member: str = "") -> str:
    """Returns the owner in whose name a usage point's records are sealed while it is a member's.

    Without a member: what the names of all its owners begin with, and the only one in ledgers from before.
    """
    return f"point:{point}/{member}" if member else f"point:{point}"


def member_owner(member: str) -> str:
    """Returns the owner in whose name a member's entries are sealed."""
    return f"{member_owners(member)}/own"


def member_owners(member: str) -> str:
    """Returns what the names of a member's owners begin with, and the only one in ledgers from before."""
    return f"member:{member}"


def _bound_place(r: IntervalRecord) -> str:
    return f"{r.start}/{r.meter_epoch}/{r.page}/{r.end}/{_COMMODITY_CODE[r.commodity]}"


def row_of(kept: Kept, point: int) -> tuple[int | bytes, ...]:
    """Returns a record as a row of the table `records`, with the number of its usage point."""
    r = kept.record
    return (
        r.start, point, r.meter_epoch, r.page, r.end,
        _COMMODITY_CODE[r.commodity], _QUALITY_CODE[r.quality], _CLOCK_CODE[r.clock],
        r.import_start, r.import_end, r.export_start, r.export_end, kept.leaf,
    )  # fmt: skip
