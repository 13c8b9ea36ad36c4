"""What people have stated about meters, in the log: replacements with both registers, and clocks that were set by hand.

A replacement joins two meters to one series: the new meter's registers are moved so that its opening register is the
old one's closing register, and what both counted before their next record falls into the gap between those records.
A clock that is not synchronised has an error bound only by such a statement; within the charter's tolerance an interval
is billed as it stands and marked, beyond it the registers at both ends of the doubtful time are averaged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from controller.ledger.canonical import Json
from controller.ledger.entries import Entry
from devices.clock import ClockQuality, Instant
from devices.model import IntervalRecord, RecordQuality

METER_REPLACED = "meter.replaced"
CLOCK_SET = "clock.set"
EVIDENCE_KINDS = (METER_REPLACED, CLOCK_SET)
PPM = 1_000_000


class EvidenceBroken(ValueError):
    """A log body that does not hold what its kind promises."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """A new meter at a usage point. Registers are (import, export) [Wh or mL] as both displays showed them."""

    usage_point: str
    epoch: int  # of the new meter; the old one's is one less
    closing: tuple[int, int]
    opening: tuple[int, int]

    def body(self, at: Instant, reason: str, by: str) -> dict[str, Json]:
        """Returns the body of its log entry."""
        return {
            "usage_point": self.usage_point,
            "epoch": self.epoch,
            "closing": list(self.closing),
            "opening": list(self.opening),
            "at": at,
            "reason": reason,
            "by": by,
        }


@dataclass(frozen=True, slots=True)
class ClockSet:
    """A clock that was compared with a better one: off by at most `error_ms` then, and drifting from there."""

    usage_points: frozenset[str]
    at: Instant
    error_ms: int
    drift_ppm: int
    supersedes: bool = True  # from `at` on it holds alone; statements from before this was known hold beside each other

    def bound_ms(self, at: Instant) -> int:
        """Returns how far the clock may be off at a later instant [ms]."""
        return self.error_ms + -(-self.drift_ppm * (at - self.at) // PPM)

    def body(self, source: str, reason: str, by: str) -> dict[str, Json]:
        """Returns the body of its log entry."""
        return {
            "usage_points": sorted(self.usage_points),
            "at": self.at,
            "error_ms": self.error_ms,
            "drift_ppm": self.drift_ppm,
            "supersedes": self.supersedes,
            "source": source,
            "reason": reason,
            "by": by,
        }


@dataclass(slots=True)
class Evidence:
    """Every statement in force; of two about the same meter the later one holds."""

    replaced: dict[str, dict[int, Replacement]] = field(default_factory=dict[str, dict[int, Replacement]])
    clocks: list[ClockSet] = field(default_factory=list[ClockSet])

    def absorb(self, entry: Entry) -> None:
        """Takes a `meter.replaced` or `clock.set` entry; ignores others.

        Raises:
            EvidenceBroken: it does not hold what its kind promises.
        """
        if entry.kind == METER_REPLACED:
            found = parse_replacement(entry.body)
            self.replaced.setdefault(found.usage_point, {})[found.epoch] = found
        elif entry.kind == CLOCK_SET:
            self.clocks.append(parse_clock_set(entry.body))

    def joined(self, point: str, records: Sequence[IntervalRecord]) -> list[IntervalRecord]:
        """Returns a usage point's records, in order, with the meters that replaced each other as one."""
        steps = self.replaced.get(point)
        if not steps:
            return list(records)
        found: list[IntervalRecord] = []
        last: IntervalRecord | None = None
        for record in records:
            root, took, gave = record.meter_epoch, 0, 0
            while (step := steps.get(root)) is not None:
                took += step.closing[0] - step.opening[0]
                gave += step.closing[1] - step.opening[1]
                root -= 1
            if root == record.meter_epoch:
                found.append(record)
            else:
                found.append(_moved(record, root, took, gave, last, found[-1] if found else None))
            last = record
        return found

    def doubtful(self, record: IntervalRecord, tolerance_ms: int | None) -> bool:
        """Returns whether the time of a record is less sure than the charter tolerates; never without a tolerance."""
        if tolerance_ms is None or record.clock is ClockQuality.SYNCHRONISED:
            return False
        bounds: list[int] = []  # those of one instant stay as they were written
        for clock in sorted(self.clocks, key=lambda clock: clock.at):
            if clock.at <= record.end and record.usage_point in clock.usage_points:
                bounds = [*([] if clock.supersedes else bounds), clock.bound_ms(record.end)]
        return min(bounds, default=tolerance_ms + 1) > tolerance_ms


def _moved(
    record: IntervalRecord, root: int, took: int, gave: int, last: IntervalRecord | None, before: IntervalRecord | None
) -> IntervalRecord:
    """Returns a record of a new meter on the old one's registers; its first one reaches back to the old one's last."""
    follows = last is not None and last.end == record.start
    quality, begin = record.quality, (record.import_start + took, record.export_start + gave)
    first = record.page == 1 or (
        follows
        and last is not None
        and last.meter_epoch == record.meter_epoch
        and last.quality is RecordQuality.SUSPECT
    )
    if quality is RecordQuality.SUSPECT and first:
        quality = RecordQuality.ESTIMATED
    believed = before is not None and before.meter_epoch == root and before.quality is not RecordQuality.SUSPECT
    if record.page == 1 and follows and before is not None and believed:
        reached = before.import_end, before.export_end
        if begin[0] >= reached[0] and begin[1] >= reached[1]:
            begin = reached
    return replace(
        record,
        meter_epoch=root,
        quality=quality,
        import_start=begin[0],
        export_start=begin[1],
        import_end=record.import_end + took,
        export_end=record.export_end + gave,
    )


def parse_replacement(body: Mapping[str, Json]) -> Replacement:
    """Returns the replacement in a log body.

    Raises:
        EvidenceBroken: it is not there.
    """
    point = body.get("usage_point")
    if not isinstance(point, str):
        raise EvidenceBroken(f"usage_point is {point!r}, not a text")
    epoch, closing, opening = _whole(body, "epoch"), _registers(body, "closing"), _registers(body, "opening")
    return Replacement(point, epoch, closing, opening)


def parse_clock_set(body: Mapping[str, Json]) -> ClockSet:
    """Returns the statement about a clock in a log body.

    Raises:
        EvidenceBroken: it is not there.
    """
    points = body.get("usage_points")
    if not isinstance(points, list) or not all(isinstance(point, str) for point in points):
        raise EvidenceBroken(f"usage_points are {points!r}, not a list of texts")
    return ClockSet(
        frozenset(str(point) for point in points),
        Instant(_whole(body, "at")),
        _whole(body, "error_ms"),
        _whole(body, "drift_ppm"),
        body.get("supersedes") is True,
    )


def _whole(body: Mapping[str, Json], key: str) -> int:
    value = body.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise EvidenceBroken(f"{key} is {value!r}, not a whole number")
    return value


def _registers(body: Mapping[str, Json], key: str) -> tuple[int, int]:
    match body.get(key):
        case [int() as imported, int() as exported] if min(imported, exported) >= 0:
            return imported, exported
        case other:
            raise EvidenceBroken(f"{key} is {other!r}, not an import and an export register")
