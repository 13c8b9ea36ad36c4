"""Statements about clocks: which of several holds."""

from __future__ import annotations

import pytest

from controller.settlement.evidence import ClockSet, Evidence
from devices.clock import HOUR_MS, SLOT_MS, ClockQuality, Instant
from devices.model import Commodity, IntervalRecord, RecordQuality, UsagePointId

RECORD = IntervalRecord(
    UsagePointId("m"), Commodity.ENERGY, 1, 1, Instant(20 * SLOT_MS), Instant(21 * SLOT_MS),
    0, 1, 0, 0, RecordQuality.MEASURED, ClockQuality.HOLDOVER,
)  # fmt: skip
GOOD, BAD = (1_000, 1), (HOUR_MS, 20)  # error [ms], drift [ppm]


def stated(*rows: tuple[int, tuple[int, int]], supersedes: bool = True) -> Evidence:
    clocks = [ClockSet(frozenset({"m"}), Instant(at * SLOT_MS), *what, supersedes) for at, what in rows]
    return Evidence(clocks=clocks)


@pytest.mark.parametrize(
    ("rows", "doubtful"),
    [
        (((0, GOOD), (10, BAD)), True),
        (((0, BAD), (10, GOOD)), False),
        (((10, BAD), (0, GOOD)), True),  # written later, of an earlier time
        (((10, BAD), (10, GOOD)), False),  # of the same time the one written last
        (((10, GOOD), (10, BAD)), True),
        (((0, GOOD), (22, BAD)), False),  # not true yet
        ((), True),
    ],
)
def test_of_several_clock_statements_the_later_holds(rows: tuple[tuple[int, tuple[int, int]], ...], doubtful: bool):
    assert stated(*rows).doubtful(RECORD, 60_000) is doubtful


def test_statements_of_older_ledgers_hold_beside_each_other_as_their_days_were_settled() -> None:
    assert not stated((0, GOOD), (10, BAD), supersedes=False).doubtful(RECORD, 60_000)
    both = stated((0, GOOD), supersedes=False)
    both.clocks += stated((10, BAD)).clocks
    assert both.doubtful(RECORD, 60_000), "a newer statement ends them"
