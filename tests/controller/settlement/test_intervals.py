"""Records to validated days: gaps, registers, quarantine."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.ledger.canonical import encode
from controller.settlement.intervals import (
    Kept,
    PointDay,
    Quarantine,
    anonymous,
    point_day,
    record_bytes,
    record_leaf,
    refusal,
)
from controller.settlement.tariff import compile_year
from devices.clock import SLOT_MS, ClockQuality, Instant
from devices.model import Commodity, IntervalRecord, RecordQuality, UsagePointId
from tests.ledger_village import charter, local_midnight

TABLE = compile_year(charter(), 2026, "test")
DAY = TABLE.day_of(local_midnight("2026-06-03"))
LONG_AGO = Instant(0)


def record(slot: int, took: int = 10, **changes) -> IntervalRecord:
    """Slot `slot` of DAY with a register that rises by 10 a slot."""
    start = Instant(DAY.start + slot * SLOT_MS)
    made = IntervalRecord(
        UsagePointId("m"), Commodity.ENERGY, 1, slot + 1000, start, Instant(start + SLOT_MS),
        10_000 + 10 * slot, 10_000 + 10 * slot + took, 500, 500,
    )  # fmt: skip
    return replace(made, **changes)


def settle(records, before=None, after=None, since: Instant | None = LONG_AGO) -> PointDay:
    kept = [Kept(r, record_leaf(r)) for r in sorted(records, key=lambda r: (r.start, r.meter_epoch, r.page))]
    return point_day("m", DAY, kept, before, after, since=since)


WHOLE = [record(slot) for slot in range(96)]


def test_a_whole_day():
    day = settle(WHOLE)
    assert day.imports == (10,) * 96
    assert (day.quarantine, day.estimated, day.records) == (None, 0, 96)


@pytest.mark.parametrize("gap", [(0, 1), (10, 11), (40, 60), (95, 96), (0, 96)])
def test_a_gap_between_registers_is_filled_and_marked(gap):
    day = settle([r for s, r in enumerate(WHOLE) if not gap[0] <= s < gap[1]], record(-1), record(96))
    assert day.quarantine is None
    assert day.estimated == gap[1] - gap[0]
    assert day.imports == (10,) * 96


def test_a_gap_is_spread_evenly_and_sums_exactly():
    rows = [
        *WHOLE[:40],
        *(replace(r, import_start=r.import_start + 7, import_end=r.import_end + 7) for r in WHOLE[47:]),
    ]
    day = settle(rows)
    assert sum(day.imports[40:47]) == 77
    assert set(day.imports[40:47]) == {11}


@given(st.integers(0, 500), st.integers(1, 90), st.integers(1, 90))
def test_a_gap_over_two_days_is_filled_alike_by_both(extra, before, after):
    last = record(-before)
    then = record(95 + after, import_start=last.import_end + extra)
    parts = [
        point_day("m", TABLE.day_of(Instant(DAY.start + days * 96 * SLOT_MS)), [], last, then, since=Instant(0))
        for days in (-1, 0, 1)
    ]
    total = sum(sum(part.imports) for part in parts if part.quarantine is None)
    assert total == extra
    assert max(max(p.imports) for p in parts) - extra // (94 + before + after) in (0, 1)


@pytest.mark.parametrize(
    ("before", "after"), [(None, record(96)), (record(-1), None), (record(-1), record(96, meter_epoch=2))]
)
def test_an_open_gap_is_missing_never_zero(before, after):
    rows = WHOLE[5:90]
    assert settle(rows, before, after).quarantine is Quarantine.MISSING


def test_what_was_before_the_first_record_is_not_expected():
    day = settle(WHOLE[40:], since=WHOLE[40].start)
    assert day.quarantine is None
    assert (day.imports[:40], day.estimated) == ((0,) * 40, 0)


def test_a_meter_never_heard_is_missing():
    assert settle([], since=None).quarantine is Quarantine.MISSING


@pytest.mark.parametrize(
    ("slot", "change", "why"),
    [
        (20, {"quality": RecordQuality.SUSPECT}, Quarantine.SUSPECT),
        (20, {"import_end": 0}, Quarantine.REGISTER),
        (20, {"export_end": 0}, Quarantine.REGISTER),
        (20, {"import_start": 9_000, "import_end": 9_010}, Quarantine.REGISTER),  # backwards between records
        (20, {"import_start": 10_205}, Quarantine.REGISTER),  # energy that no record has
        (20, {"start": WHOLE[21].start, "end": WHOLE[21].end, "page": 5}, Quarantine.OVERLAP),
    ],
)
def test_contradictions_quarantine_the_day(slot, change, why):
    rows = [replace(r, **change) if s == slot else r for s, r in enumerate(WHOLE)]
    day = settle(rows)
    assert day.quarantine is why
    assert sum(day.imports) == 0


def test_estimates_of_the_gateway_are_counted():
    rows = [replace(r, quality=RecordQuality.ESTIMATED) if s in (3, 4) else r for s, r in enumerate(WHOLE)]
    assert settle(rows).estimated == 2


def test_a_new_meter_begins_with_its_own_register():
    def swapped(r):
        return replace(r, meter_epoch=2, import_start=r.import_start - 10_000, import_end=r.import_end - 10_000)

    rows = [*WHOLE[:50], *map(swapped, WHOLE[50:])]
    assert settle(rows).quarantine is None


REGISTER = st.integers(0, 2**53 - 1)
RECORDS = st.builds(
    IntervalRecord,
    st.from_regex(r"\A[a-z0-9_.-]{1,20}\Z").map(UsagePointId),
    st.sampled_from(Commodity), st.integers(0, 9), st.integers(1, 2**40), REGISTER.map(Instant), REGISTER.map(Instant),
    REGISTER, REGISTER, REGISTER, REGISTER, st.sampled_from(RecordQuality), st.sampled_from(ClockQuality),
)  # fmt: skip


@given(RECORDS)
def test_the_quick_bytes_are_the_canonical_bytes(r):
    assert record_bytes(r) == encode(
        {
            "v": 1, "usage_point": r.usage_point, "commodity": r.commodity.value, "epoch": r.meter_epoch,
            "page": r.page, "start": r.start, "end": r.end, "import_start": r.import_start,
            "import_end": r.import_end, "export_start": r.export_start, "export_end": r.export_end,
            "quality": r.quality.value, "clock": r.clock.value,
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    "change", [{"end": WHOLE[0].end + 1}, {"start": WHOLE[0].start + 1}, {"import_end": -1}, {"export_end": 2**53}]
)
def test_what_cannot_be_kept(change):
    assert refusal(WHOLE[0]) == ""
    assert refusal(replace(WHOLE[0], **change))


@pytest.mark.parametrize(
    "change", [{"page": 0}, {"meter_epoch": -1}, {"usage_point": 'a"b'}, {"usage_point": "x" * 65}]
)
def test_what_cannot_be_told_apart(change):
    assert anonymous(WHOLE[0]) == ""
    assert anonymous(replace(WHOLE[0], **change))
