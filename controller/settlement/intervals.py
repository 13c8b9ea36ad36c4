"""From interval records to a validated meter-day: what may be billed, what is marked, what is held back.

Registers outrank everything: a day's intervals are differences of registers, a gap is filled only where
registers on both sides bracket it, and registers that contradict each other quarantine that one usage point
for that one day. Nothing missing ever becomes a silent zero.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from controller.ledger.merkle import leaf_hash, root_of
from controller.settlement.tariff import LocalDay
from devices.clock import SLOT_MS, Instant
from devices.model import IntervalRecord, RecordQuality

BRACKET_MS = 31 * 86_400_000
"""How far to look for the register before and after a gap."""

REGISTER_LIMIT = 2**53

TIME_LIMIT = 7_258_118_400_000
"""The year 2200: a record beyond it comes from a broken clock."""

ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class Kept:
    """A record as the store holds it, with its leaf hash."""

    record: IntervalRecord
    leaf: bytes


class Quarantine(StrEnum):
    """Why a usage point is held back for a day."""

    MISSING = "missing"  # slots without record and without registers on both sides
    SUSPECT = "suspect"  # the gateway marked a record: registers backwards or jumped
    REGISTER = "register"  # registers of consecutive records contradict each other
    OVERLAP = "overlap"  # two records for one slot


@dataclass(frozen=True, slots=True)
class PointDay:
    """One usage point's day, one entry per slot [Wh or mL]; all zero when held back."""

    point: str
    imports: tuple[int, ...]
    exports: tuple[int, ...]
    records: int
    estimated: int  # slots filled by the gateway or by `point_day` between registers
    root: bytes  # Merkle root over the day's record leaves, in slot order
    quarantine: Quarantine | None = None


def record_bytes(record: IntervalRecord) -> bytes:
    """Returns the RFC 8785 bytes of a record: what its leaf hash is over."""
    return (
        f'{{"clock":"{record.clock.value}","commodity":"{record.commodity.value}","end":{record.end},'
        f'"epoch":{record.meter_epoch},"export_end":{record.export_end},"export_start":{record.export_start},'
        f'"import_end":{record.import_end},"import_start":{record.import_start},"page":{record.page},'
        f'"quality":"{record.quality.value}","start":{record.start},"usage_point":"{record.usage_point}","v":1}}'
    ).encode()


def record_leaf(record: IntervalRecord) -> bytes:
    """Returns the Merkle leaf hash of a record."""
    return leaf_hash(record_bytes(record))


def anonymous(record: IntervalRecord) -> str:
    """Returns why a record cannot even be told from others (so it is not acknowledged), or ''."""
    if not 1 <= record.page < REGISTER_LIMIT or not 0 <= record.meter_epoch < REGISTER_LIMIT:
        return f"page {record.page} of epoch {record.meter_epoch} cannot be"
    if not ID.fullmatch(record.usage_point):
        return f"usage point {record.usage_point[:70]!r} is not an id"
    return ""


def refusal(record: IntervalRecord) -> str:
    """Returns why a record cannot be kept, or ''. Strange registers are kept, and judged by `point_day`."""
    if record.start % SLOT_MS or record.end != record.start + SLOT_MS or not 0 <= record.start < TIME_LIMIT:
        return f"[{record.start}, {record.end}) is not one 15-minute slot of our time"
    registers = (record.import_start, record.import_end, record.export_start, record.export_end)
    if min(registers) < 0 or max(registers) >= REGISTER_LIMIT:
        return f"registers {registers} are not within 0 and 2^53"
    return ""


def point_day(
    point: str,
    day: LocalDay,
    kept: Sequence[Kept],
    before: IntervalRecord | None,
    after: IntervalRecord | None,
    *,
    since: Instant | None,
) -> PointDay:
    """Returns the validated day of one usage point.

    `kept` are its records of that day in order of (start, epoch, page); `before` and `after` the nearest
    records outside the day; `since` the start of its first record ever: earlier slots are not expected, and
    None means that it has never been heard.
    """
    root = root_of([item.leaf for item in kept])
    problem = _contradiction(kept, before)
    if problem is None and since is not None:
        filled = _fill(day, kept, before, after, since)
        if filled is not None:
            imports, exports, estimated = filled
            return PointDay(point, tuple(imports), tuple(exports), len(kept), estimated, root)
    zeros = (0,) * day.slots
    return PointDay(point, zeros, zeros, len(kept), 0, root, problem or Quarantine.MISSING)


def _contradiction(kept: Sequence[Kept], before: IntervalRecord | None) -> Quarantine | None:
    last = before
    for item in kept:
        record = item.record
        if record.quality is RecordQuality.SUSPECT:
            return Quarantine.SUSPECT
        if record.import_delta < 0 or record.export_delta < 0:
            return Quarantine.REGISTER
        if last is not None:
            if record.start < last.end:
                return Quarantine.OVERLAP
            if last.meter_epoch == record.meter_epoch and last.quality is not RecordQuality.SUSPECT:
                took, gave = record.import_start - last.import_end, record.export_start - last.export_end
                if took < 0 or gave < 0 or (record.start == last.end and (took or gave)):
                    return Quarantine.REGISTER
        last = record
    return None


def _fill(
    day: LocalDay, kept: Sequence[Kept], before: IntervalRecord | None, after: IntervalRecord | None, since: Instant
) -> tuple[list[int], list[int], int] | None:
    """Returns (imports, exports, estimated slots), or None where a gap is not bracketed by registers."""
    imports, exports = [0] * day.slots, [0] * day.slots
    estimated, last = 0, before
    reached = max(day.start, since)
    for item in kept:
        record = item.record
        if record.start > reached:
            if not _spread(day, imports, exports, last, record):
                return None
            estimated += (record.start - reached) // SLOT_MS
        slot = (record.start - day.start) // SLOT_MS
        imports[slot], exports[slot] = record.import_delta, record.export_delta
        estimated += record.quality is RecordQuality.ESTIMATED
        last, reached = record, record.end
    if reached < day.end:
        if not _spread(day, imports, exports, last, after):
            return None
        estimated += (day.end - reached) // SLOT_MS
    return imports, exports, estimated


def _spread(
    day: LocalDay, imports: list[int], exports: list[int], last: IntervalRecord | None, then: IntervalRecord | None
) -> bool:
    """Spreads what the registers moved between two records evenly over the slots between them.

    Slot k of n gets floor((k+1)*d/n) - floor(k*d/n), so that every day of a longer gap can be filled alone
    and the slots still sum to d exactly.
    """
    if last is None or then is None or last.meter_epoch != then.meter_epoch or then.start - last.end > BRACKET_MS:
        return False
    if RecordQuality.SUSPECT in (last.quality, then.quality):
        return False
    took, gave = then.import_start - last.import_end, then.export_start - last.export_end
    if took < 0 or gave < 0:
        return False
    count = (then.start - last.end) // SLOT_MS
    for k in range(max(0, (day.start - last.end) // SLOT_MS), min(count, (day.end - last.end) // SLOT_MS)):
        slot = (last.end - day.start) // SLOT_MS + k
        imports[slot] = (k + 1) * took // count - k * took // count
        exports[slot] = (k + 1) * gave // count - k * gave // count
    return True
