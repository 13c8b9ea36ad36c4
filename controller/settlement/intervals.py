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
from controller.settlement.evidence import Evidence
from controller.settlement.tariff import LocalDay
from devices.clock import SLOT_MS, ClockQuality, Instant
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
    SIGNATURE = "signature"  # what the gateway signed for this day is not what the records say, or not signed by it


class Method(StrEnum):
    """How an interval came about that was not simply measured."""

    GAP = "gap"  # registers on both sides, spread evenly
    GATEWAY = "gateway"  # spread by the gateway, from its own registers
    CLOCK = "clock"  # the clock was less sure than the charter tolerates: registers averaged
    MARKED = "marked"  # the clock was not synchronised, but sure enough: billed as it stands


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
    methods: tuple[tuple[Method, int], ...] = ()  # slots by how they came about, measured ones left out


@dataclass(frozen=True, slots=True)
class Proofs:
    """What is known about a usage point besides its records: statements, the charter's tolerance, signed days."""

    evidence: Evidence
    tolerance_ms: int | None = None  # None: the charter says nothing about clocks
    signed: bool = True  # no signed day contradicts the records


NO_PROOFS = Proofs(Evidence())


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
    proofs: Proofs = NO_PROOFS,
) -> PointDay:
    """Returns the validated day of one usage point.

    `kept` are its records of that day in order of (start, epoch, page); `before` and `after` the nearest
    records outside the day; `since` the start of its first record ever: earlier slots are not expected, and
    None means that it has never been heard.
    """
    root = root_of([item.leaf for item in kept])
    around = proofs.evidence.joined(
        point, [r for r in (before, *(item.record for item in kept), after) if r is not None]
    )
    before = around.pop(0) if before is not None else None
    after = around.pop() if after is not None else None
    problem = _contradiction(around, before)
    if problem is None and not proofs.signed:
        problem = Quarantine.SIGNATURE
    if problem is None and since is not None:
        filled = _fill(day, around, before, after, since)
        if filled is not None:
            methods = _average(day, around, filled, proofs)
            estimated = sum(count for method, count in methods if method is not Method.MARKED)
            imports, exports = tuple(filled.imports), tuple(filled.exports)
            return PointDay(point, imports, exports, len(kept), estimated, root, None, methods)
    zeros = (0,) * day.slots
    return PointDay(point, zeros, zeros, len(kept), 0, root, problem or Quarantine.MISSING)


@dataclass(slots=True)
class _Filled:
    """A day's intervals in the making."""

    imports: list[int]
    exports: list[int]
    gaps: int = 0  # slots spread between registers


def _contradiction(records: Sequence[IntervalRecord], before: IntervalRecord | None) -> Quarantine | None:
    last = before
    for record in records:
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
    day: LocalDay,
    records: Sequence[IntervalRecord],
    before: IntervalRecord | None,
    after: IntervalRecord | None,
    since: Instant,
) -> _Filled | None:
    """Returns the day's intervals, or None where a gap is not bracketed by registers."""
    filled, last = _Filled([0] * day.slots, [0] * day.slots), before
    reached = max(day.start, since)
    for record in records:
        if record.start > reached:
            if not _spread(day, filled.imports, filled.exports, last, record):
                return None
            filled.gaps += (record.start - reached) // SLOT_MS
        slot = (record.start - day.start) // SLOT_MS
        filled.imports[slot], filled.exports[slot] = record.import_delta, record.export_delta
        last, reached = record, record.end
    if reached < day.end:
        if not _spread(day, filled.imports, filled.exports, last, after):
            return None
        filled.gaps += (day.end - reached) // SLOT_MS
    return filled


def _average(
    day: LocalDay, records: Sequence[IntervalRecord], filled: _Filled, proofs: Proofs
) -> tuple[tuple[Method, int], ...]:
    """Averages slots of doubtful time over each run of them; returns how every slot came about."""
    counts = {Method.GAP: filled.gaps, Method.GATEWAY: 0, Method.CLOCK: 0, Method.MARKED: 0}
    runs: list[range] = []
    for record in records:
        slot = (record.start - day.start) // SLOT_MS
        if proofs.evidence.doubtful(record, proofs.tolerance_ms):
            counts[Method.CLOCK] += 1
            if runs and runs[-1].stop == slot:
                runs[-1] = range(runs[-1].start, slot + 1)
            else:
                runs.append(range(slot, slot + 1))
        elif record.quality is RecordQuality.ESTIMATED:
            counts[Method.GATEWAY] += 1
        elif proofs.tolerance_ms is not None and record.clock is not ClockQuality.SYNCHRONISED:
            counts[Method.MARKED] += 1
    for run in runs:
        for series in (filled.imports, filled.exports):
            moved, count = sum(series[slot] for slot in run), len(run)
            for k, slot in enumerate(run):
                series[slot] = (k + 1) * moved // count - k * moved // count
    return tuple((method, count) for method, count in counts.items() if count)


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
