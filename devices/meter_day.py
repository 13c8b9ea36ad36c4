"""One meter's interval records of one day as a signed OCMF record, and back. No I/O.

The registers at both ends are OCMF readings, so that any OCMF software can judge the day's total. The intervals between
them stand in the fields that OCMF leaves to the maker:

    UP usage point · UE meter epoch · XP page of the first interval · XS its start (ms UTC)
    XL [[how many, length in ms], ...] · XI, XE what was imported and exported in each interval (XE left out: nothing)
    XQ, XC one letter for each interval: quality (G S O) and clock state (S R U)

Intervals follow each other without a gap; where they do not, a day has several records. Water (mL, OBIS 8-0:1.0.0) uses
a unit that OCMF does not predefine.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar, cast

from devices.bounded_json import JsonValue
from devices.clock import ClockQuality, Instant
from devices.model import Commodity, IntervalRecord, RecordQuality, UsagePointId
from devices.ocmf import Document, MeterReading, MeterStatus, Record, Refused, TimeStatus, payload, sign
from devices.ocmf_faults import Fault, Finding
from devices.ocmf_keys import SigningKey

_T = TypeVar("_T")

MAKER = "Atoll gateway"
INTERVALS_MAX = 400
_IMPORT = {Commodity.ENERGY: "1-0:1.8.0", Commodity.WATER: "8-0:1.0.0"}
_EXPORT = {Commodity.ENERGY: "1-0:2.8.0", Commodity.WATER: "8-0:2.0.0"}
_UNIT = {Commodity.ENERGY: "Wh", Commodity.WATER: "mL"}
_QUALITY = {
    RecordQuality.MEASURED: MeterStatus.GOOD,
    RecordQuality.ESTIMATED: MeterStatus.SUBSTITUTE,
    RecordQuality.SUSPECT: MeterStatus.OUT_OF_RANGE,
}
_CLOCK = {
    ClockQuality.SYNCHRONISED: TimeStatus.SYNCHRONISED,
    ClockQuality.HOLDOVER: TimeStatus.RELATIVE,
    ClockQuality.UNKNOWN: TimeStatus.UNKNOWN,
}
_QUALITY_OF = {status.value: quality for quality, status in _QUALITY.items()}
_CLOCK_OF = {status.value: quality for quality, status in _CLOCK.items()}
_WORST = (RecordQuality.SUSPECT, RecordQuality.ESTIMATED, RecordQuality.MEASURED)
_COUNT_MAX = 1 << 62


@dataclass(frozen=True, slots=True)
class MeterDay:
    """What one signed record says: who signed it, the record's own page, and the intervals."""

    gateway: str
    page: int
    records: tuple[IntervalRecord, ...]


def follows(before: IntervalRecord, after: IntervalRecord) -> bool:
    """Returns whether two records may stand side by side in one signed record."""
    return (before.usage_point, before.commodity, before.meter_epoch, before.page + 1, before.end) == (
        after.usage_point,
        after.commodity,
        after.meter_epoch,
        after.page,
        after.start,
    ) and (before.import_end, before.export_end) == (after.import_start, after.export_start)


def sign_day(gateway: str, page: int, records: Sequence[IntervalRecord], key: SigningKey) -> bytes:
    """Returns the signed OCMF record of intervals that follow each other; `page` counts this meter's records.

    Raises:
        ValueError: no intervals, too many, or they do not follow each other.
    """
    if not 0 < len(records) <= INTERVALS_MAX:
        raise ValueError(f"{len(records)} intervals, 1 to {INTERVALS_MAX} fit into one record")
    for before, after in itertools.pairwise(records):
        if not follows(before, after):
            raise ValueError(f"{after.usage_point} page {after.page} does not follow page {before.page}")
    first, last = records[0], records[-1]
    lengths = [[len(list(same)), ms] for ms, same in itertools.groupby(r.end - r.start for r in records)]
    exported = [r.export_delta for r in records]
    more: dict[str, JsonValue] = {
        "UP": first.usage_point,
        "UE": first.meter_epoch,
        "XP": first.page,
        "XS": first.start,
        "XL": cast("JsonValue", lengths),
        "XI": cast("JsonValue", [r.import_delta for r in records]),
        **({"XE": cast("JsonValue", exported)} if any(exported) else {}),
        "XQ": "".join(_QUALITY[r.quality].value for r in records),
        "XC": "".join(_CLOCK[r.clock].value for r in records),
    }
    quality = next(quality for quality in _WORST if any(r.quality is quality for r in records))
    readings = (
        *_readings(first.commodity, first.start, first.import_start, first.export_start, first.clock, quality),
        *_readings(last.commodity, last.end, last.import_end, last.export_end, last.clock, quality),
    )
    record = Record(
        "F",
        page,
        readings,
        meter_serial=f"{first.usage_point}:{first.meter_epoch}",
        gateway=MAKER,
        gateway_serial=gateway,
        more=more,
    )
    return sign(payload(record), key)


def _readings(
    commodity: Commodity, at: Instant, imported: int, exported: int, clock: ClockQuality, quality: RecordQuality
) -> tuple[MeterReading, MeterReading]:
    time, unit, status = _CLOCK[clock], _UNIT[commodity], _QUALITY[quality]
    return (
        MeterReading(at, time, Decimal(imported), _IMPORT[commodity], unit, status),
        MeterReading(at, time, Decimal(exported), _EXPORT[commodity], unit, status),
    )


def read_day(document: Document) -> MeterDay | Refused:
    """Returns the intervals of a signed record; its signature is not looked at here.

    Everything is compared: the deltas must add up to the difference of the registers, the lengths to that of the times.
    """
    record, found = document.record, list[Finding]()
    readings, more = record.readings, record.more
    commodity = _commodity(readings)
    if commodity is None or record.context != "F":
        return _no_day("RD", "not two registers at two times")
    point, epoch, page, start = more.get("UP"), more.get("UE"), more.get("XP"), more.get("XS")
    if not isinstance(point, str) or record.meter_serial != f"{point}:{epoch}":
        return _no_day("UP", f"{point!r:.80}, but the meter is {record.meter_serial[:80]!r}")
    lengths = _lengths(more.get("XL"))
    count = len(lengths)
    imported = _counts(more.get("XI"), count)
    exported = _counts(more["XE"], count) if "XE" in more else [0] * count
    qualities = _letters(more.get("XQ"), count, _QUALITY_OF.get)
    clocks = _letters(more.get("XC"), count, _CLOCK_OF.get)
    if not (lengths and imported and exported and qualities and clocks) or not _whole(epoch, page, start):
        return _no_day("XP XS XL XI XE XQ XC", "a column is missing, of another length or holds something else")
    ends = [_register(reading) for reading in readings]
    if ends[2] - ends[0] != sum(imported) or ends[3] - ends[1] != sum(exported):
        found.append(Finding(Fault.DELTAS_DISAGREE, "XI XE", "deltas do not add up to the registers' difference"))
    begin = cast("int", start)
    if readings[0].at != begin or readings[2].at != begin + sum(lengths):
        found.append(Finding(Fault.DELTAS_DISAGREE, "XL", "lengths do not add up to the time between the readings"))
    if found:
        return Refused(tuple(found))
    records: list[IntervalRecord] = []
    at, import_at, export_at = begin, ends[0], ends[1]
    columns = zip(lengths, imported, exported, qualities, clocks, strict=True)
    for number, (length, taken, given, quality, clock) in enumerate(columns):
        records.append(
            IntervalRecord(
                UsagePointId(point),
                commodity,
                cast("int", epoch),
                cast("int", page) + number,
                Instant(at),
                Instant(at + length),
                import_at,
                import_at + taken,
                export_at,
                export_at + given,
                quality,
                clock,
            )
        )
        at, import_at, export_at = at + length, import_at + taken, export_at + given
    return MeterDay(record.gateway_serial, record.page, tuple(records))


def _no_day(where: str, seen: str) -> Refused:
    return Refused((Finding(Fault.NOT_A_METER_DAY, where, seen),))


def _commodity(readings: Sequence[MeterReading]) -> Commodity | None:
    if len(readings) != 4 or readings[0].at != readings[1].at or readings[2].at != readings[3].at:
        return None
    for commodity in Commodity:
        named = [(_IMPORT[commodity], _UNIT[commodity]), (_EXPORT[commodity], _UNIT[commodity])] * 2
        if [(r.obis, r.unit) for r in readings] == named and all(_register(r) >= 0 for r in readings):
            return commodity
    return None


def _register(reading: MeterReading) -> int:
    value = reading.value
    if value is None or value != value.to_integral_value() or not 0 <= value < _COUNT_MAX:
        return -1
    return int(value)


def _lengths(value: JsonValue) -> list[int]:
    lengths: list[int] = []
    for run in value if isinstance(value, list) else []:
        match run:
            case [int() as count, int() as ms] if 0 < count <= INTERVALS_MAX - len(lengths) and 0 < ms < _COUNT_MAX:
                lengths += [ms] * count
            case _:
                return []
    return lengths


def _counts(value: JsonValue, count: int) -> list[int]:
    if not isinstance(value, list) or len(value) != count or not _whole(*value):
        return []
    return cast("list[int]", value)


def _whole(*values: object) -> bool:
    return all(type(value) is int and 0 <= value < _COUNT_MAX for value in values)


def _letters(value: JsonValue, count: int, meaning: Callable[[str], _T | None]) -> list[_T]:
    found = [meaning(letter) for letter in value] if isinstance(value, str) and len(value) == count else []
    return [entry for entry in found if entry is not None] if None not in found else []
