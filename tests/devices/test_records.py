"""Registers to records: conserved energy whatever happens to the meter, the clock or the gateway."""

from __future__ import annotations

import dataclasses
import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from devices.clock import MINUTE_MS, SLOT_MS, ClockQuality, Instant
from devices.model import Commodity, IntervalRecord, RecordQuality, UsagePointId
from devices.records import CONFIRMATIONS, GAP_SLOTS_MAX, Meter

T0 = Instant(1_780_000_200_000 // SLOT_MS * SLOT_MS)
SYNC = ClockQuality.SYNCHRONISED
NEVER = (0, 0)


def meter(**changes: object) -> Meter:
    return dataclasses.replace(Meter(UsagePointId("home-01"), Commodity.ENERGY, late_ms=60_000), **changes)


def run(m: Meter, readings: list[tuple[int, int]], modulus: tuple[int, int] = NEVER) -> list[IntervalRecord]:
    """Feeds (minute, import register) pairs."""
    return [r for minute, wh in readings for r in m.take(wh, 0, Instant(T0 + minute * MINUTE_MS), modulus, SYNC)]


def assert_contiguous(records: list[IntervalRecord]) -> None:
    for before, after in itertools.pairwise(records):
        assert after.page == before.page + 1
        assert (after.start, after.import_start, after.export_start) == (
            before.end,
            before.import_end,
            before.export_end,
        )


def test_first_good_reading_after_the_boundary_closes_the_slot() -> None:
    m = meter()
    records = run(m, [(0, 1000), (7, 1100), (15, 1250), (16, 1260), (30, 1400)])
    assert [(r.page, r.start - T0, r.import_start, r.import_end) for r in records] == [
        (1, 0, 1000, 1250),
        (2, SLOT_MS, 1250, 1400),
    ]
    assert {r.quality for r in records} == {RecordQuality.MEASURED}


def test_a_gap_is_split_evenly_and_marked() -> None:
    records = run(meter(), [(0, 0), (14, 100), (65, 1001)])
    assert [r.import_delta for r in records] == [250, 250, 250, 251]
    assert {r.quality for r in records} == {RecordQuality.ESTIMATED}
    assert_contiguous(records)


def test_a_late_boundary_reading_is_estimated() -> None:
    (record,) = run(meter(), [(0, 0), (18, 100)])
    assert record.quality is RecordQuality.ESTIMATED


def test_rollover_goes_on_counting() -> None:
    m = meter()
    top = 1 << 32
    records = run(m, [(0, top - 100), (10, top - 50), (12, 30), (15, 60), (30, 100)], (top, 0))
    assert [r.import_delta for r in records] == [160, 40]
    assert_contiguous(records)
    assert m.epochs_opened == 0


def test_rollover_survives_a_restart() -> None:
    m = meter()
    top = 1 << 32
    run(m, [(0, top - 100), (15, 50)], (top, 0))
    again = meter(mark=m.mark)
    (record,) = run(again, [(30, 90)], (top, 0))
    assert record.import_delta == 40


def test_one_wild_reading_changes_nothing() -> None:
    for wild in (0, 5, 10**9, 4_294_967_295):
        m = meter()
        records = run(m, [(0, 5000), (5, wild), (6, 5040), (15, 5100)])
        assert [r.import_delta for r in records] == [100], wild
        assert m.epochs_opened == 0


def test_a_replaced_meter_opens_an_epoch_whose_first_record_is_suspect() -> None:
    m = meter()
    records = run(m, [(0, 5000), (3, 5050), (6, 3), (7, 4), (8, 5), (15, 20), (30, 50)])
    assert [(r.meter_epoch, r.page, r.import_delta, r.quality) for r in records] == [
        (1, 1, 50, RecordQuality.MEASURED),
        (2, 1, 17, RecordQuality.SUSPECT),
        (2, 2, 30, RecordQuality.MEASURED),
    ]
    assert m.epochs_opened == 1


def test_wild_readings_that_disagree_are_never_believed() -> None:
    m = meter()
    records = run(m, [(0, 5000), *[(i, 10**8 * (i % 2 + 1) - i * 10**6) for i in range(1, 12)], (15, 5100)])
    assert [r.import_delta for r in records] == [100]
    assert m.epochs_opened == 0


def test_a_clock_set_back_closes_no_slot_twice() -> None:
    m = meter()
    records = run(m, [(0, 0), (15, 100), (30, 200), (10, 210), (15, 220), (30, 230), (45, 300)])
    assert [r.import_delta for r in records] == [100, 100, 100]
    assert_contiguous(records)


def test_a_clock_that_was_wrong_by_months_makes_one_suspect_record() -> None:
    m = meter()
    slots = GAP_SLOTS_MAX + 100
    records = run(m, [(0, 0), (15 * slots, 700)])
    assert [(r.import_delta, r.quality) for r in records] == [(700, RecordQuality.SUSPECT)]
    assert m.mark is not None
    assert m.mark.page == 1


steps = st.lists(
    st.tuples(
        st.integers(0, 40 * MINUTE_MS),  # time to the next event
        st.integers(0, 3000),  # Wh taken meanwhile
        st.sampled_from(["read", "read", "read", "lost", "twice", "restart", "wild", "back"]),
    ),
    max_size=60,
)


@settings(max_examples=200)
@given(steps, st.integers(0, 2**32 - 1), st.booleans())
def test_records_conserve_energy(history: list[tuple[int, int, str]], first: int, small: bool) -> None:
    """The sum of deltas is the last register minus the first, whatever is lost, repeated, wild or restarted."""
    top = 1 << 32
    true, now = (top - 5000 if small else first), T0
    m = meter(rate_max=10_000_000)
    records = m.take(true % top, 0, now, (top, 0), SYNC)
    start = true
    for i, (wait, used, what) in enumerate(history):
        now, true = Instant(now + wait), true + used
        if what == "lost":
            continue
        if what == "restart":
            m = meter(mark=m.mark, rate_max=10_000_000)
        elif what == "back":
            now = Instant(now - 20 * MINUTE_MS)
        elif what == "wild":
            # Each lower than the one before: they never agree with each other.
            records += m.take((true + 2**31 - i * 10**7) % top, 0, now, (top, 0), SYNC)
            continue
        for _ in range(2 if what == "twice" else 1):
            records += m.take(true % top, 0, now, (top, 0), SYNC)
    now = Instant(max(now, T0) + 200 * SLOT_MS)
    records += m.take(true % top, 0, now, (top, 0), SYNC)
    assert m.epochs_opened == 0
    assert_contiguous(records)
    assert sum(r.import_delta for r in records) == true - start
    assert records[0].import_start == start
    assert all(r.import_delta >= 0 and r.end - r.start == SLOT_MS for r in records)


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 30)), max_size=80))
def test_energy_is_never_negative_for_any_registers_at_all(noise: list[tuple[int, int]]) -> None:
    m = meter()
    minute, records = 0, list[IntervalRecord]()
    for register, wait in noise:
        minute += wait
        records += run(m, [(minute, register)], (1 << 32, 0))
    pages: dict[int, int] = {}
    for r in records:
        assert r.import_delta >= 0
        assert r.page == pages.get(r.meter_epoch, 0) + 1
        pages[r.meter_epoch] = r.page
    assert m.epochs_opened <= len(noise) // CONFIRMATIONS
