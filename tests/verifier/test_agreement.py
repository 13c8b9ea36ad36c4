"""Two programs, one answer: settlement and the household's verifier make the same intervals of any records."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from controller.settlement.evidence import ClockSet, Evidence, Replacement
from controller.settlement.intervals import BRACKET_MS, Kept, Proofs, point_day, record_leaf
from controller.settlement.tariff import LocalDay
from devices.clock import SLOT_MS, ClockQuality, Instant
from devices.model import Commodity, IntervalRecord, RecordQuality, UsagePointId
from verifier import atoll_verify
from verifier.atoll_verify import Record, Terms

DAY = LocalDay(Instant(100 * SLOT_MS), Instant(112 * SLOT_MS), "2026-06-01")
CLOCKS = tuple(ClockQuality)


def series(rng: random.Random) -> tuple[list[IntervalRecord], Evidence]:
    """Returns records around a day of 12 slots, with gaps, swaps (some explained), steps back and doubtful clocks."""
    at, epoch, page, imported, exported = rng.randrange(80, 104), 1, 0, rng.randrange(500), rng.randrange(500)
    records: list[IntervalRecord] = []
    evidence = Evidence()
    quality = RecordQuality.MEASURED
    while at < 130:
        what = rng.random()
        if what < 0.08:
            at += rng.randrange(1, 9)
        elif what < 0.14:
            closing = imported + rng.randrange(0, 20), exported + rng.randrange(0, 3) - (rng.random() < 0.1)
            opening = rng.randrange(50), rng.randrange(50)
            epoch, page, quality = epoch + 1, 0, RecordQuality.SUSPECT
            imported, exported = opening[0] + rng.randrange(10), opening[1] + rng.randrange(3)
            if rng.random() < 0.8:
                evidence.replaced.setdefault("m", {})[epoch] = Replacement("m", epoch, closing, opening)
        elif what < 0.17:
            imported += rng.randrange(-3, 4)
        page += 1
        took, gave = rng.randrange(0, 400), rng.choice((0, 0, 90))
        mark = quality if rng.random() < 0.95 else rng.choice(tuple(RecordQuality))
        records.append(
            IntervalRecord(
                UsagePointId("m"), Commodity.ENERGY, epoch, page, Instant(at * SLOT_MS), Instant((at + 1) * SLOT_MS),
                max(0, imported), max(0, imported) + took, max(0, exported), max(0, exported) + gave, mark,
                rng.choice(CLOCKS) if rng.random() < 0.3 else ClockQuality.SYNCHRONISED,
            )
        )  # fmt: skip
        quality = RecordQuality.MEASURED if rng.random() < 0.9 else quality
        imported, exported, at = max(0, imported) + took, max(0, exported) + gave, at + 1
        if rng.random() < 0.02:
            records.append(replace(records[-1], page=page + 1_000))
    for _ in range(rng.randrange(3)):
        error, drift, at = rng.randrange(2_000), rng.choice((0, 30, 90)), Instant(rng.randrange(90, 115) * SLOT_MS)
        evidence.clocks.append(ClockSet(frozenset({"m"}), at, error, drift, supersedes=rng.random() < 0.7))
    return records, evidence


def ours(records: list[IntervalRecord], evidence: Evidence, tolerance: int | None, *, signed: bool):
    kept = [Kept(r, record_leaf(r)) for r in records if DAY.start <= r.start < DAY.end]
    before = [r for r in records if DAY.start - BRACKET_MS <= r.start < DAY.start]
    after = [r for r in records if DAY.end <= r.start <= DAY.end + BRACKET_MS]
    point = point_day(
        "m", DAY, kept, before[-1] if before else None, after[0] if after else None,
        since=records[0].start if records else None, proofs=Proofs(evidence, tolerance, signed=signed),
    )  # fmt: skip
    ways = {str(method): count for method, count in point.methods}
    return list(point.imports), list(point.exports), ways, point.quarantine.value if point.quarantine else ""


def theirs(records: list[IntervalRecord], evidence: Evidence, tolerance: int | None, *, signed: bool):
    known = sorted(
        Record(
            r.start, r.meter_epoch, r.page, r.import_start, r.import_end, r.export_start, r.export_end,
            r.quality.value, r.clock.value,
        )
        for r in records
    )  # fmt: skip
    charter = {} if tolerance is None else {"clock_tolerance_ms": tolerance}
    terms = Terms(charter, [], {}, [0] * DAY.slots, DAY.start)
    steps = {e: [list(r.closing), list(r.opening)] for e, r in evidence.replaced.get("m", {}).items()}
    clocks: Any = [(clock.at, clock.error_ms, clock.drift_ppm, clock.supersedes) for clock in evidence.clocks]
    imports, exports, ways, held = atoll_verify.point_day(terms, known, steps, clocks, contradicted=not signed)
    counts = {way: ways.count(way) for way in atoll_verify.WAYS if way in ways}
    return imports, exports, counts, held


@pytest.mark.parametrize("seed", range(8))
def test_both_make_the_same_intervals(seed: int, request) -> None:
    rng = random.Random(seed)
    seen: dict[str, int] = {}
    for _ in range(2_000 if request.config.getoption("--deep") else 120):
        records, evidence = series(rng)
        tolerance, signed = rng.choice((None, 0, 1_000)), rng.random() < 0.9
        left = ours(records, evidence, tolerance, signed=signed)
        assert left == theirs(records, evidence, tolerance, signed=signed), (seed, records, evidence)
        seen[left[3]] = seen.get(left[3], 0) + 1
    assert {"", "suspect", "register"} <= seen.keys()
