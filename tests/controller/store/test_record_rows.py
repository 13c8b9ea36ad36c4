"""Records as plain rows say the same as records as objects."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.ledger.vault import Altered, Vault
from controller.settlement.intervals import Kept, point_day, record_leaf
from controller.store.ledger_rows import kept_of, opened_kept, row_of, sealed_kept
from controller.store.record_rows import plain_day, row_leaves
from devices.clock import SLOT_MS, Instant
from devices.model import Commodity, RecordQuality
from tests.controller.settlement.test_intervals import DAY, record

WHOLE = [record(slot) for slot in range(-1, 96)]
CHANGES = st.sampled_from(
    [
        {"import_end": 9_000},
        {"import_start": 11_000},
        {"export_end": 501},
        {"meter_epoch": 2},
        {"quality": RecordQuality.SUSPECT},
        {"quality": RecordQuality.ESTIMATED},
        {"start": Instant(DAY.start + 3 * SLOT_MS)},
        {"end": Instant(DAY.start + 3 * SLOT_MS)},
        {"page": 7},
    ]
)


def row(one):
    """Returns a record as the file gives it back."""
    stored = row_of(Kept(one, record_leaf(one)), 1)
    start, _, epoch, page, *rest = stored
    return (one.usage_point, start, epoch, page, *rest)


@given(st.lists(st.tuples(st.integers(0, 96), CHANGES), max_size=2), st.lists(st.integers(0, 96), max_size=1))
def test_a_plain_day_is_what_the_careful_way_makes_of_it(changes, gone):
    records = list(WHOLE)
    for at, change in changes:
        records[at] = replace(records[at], **change)
    before = [one for one in records[:1] if 0 not in gone and one.start < DAY.start]
    inside = sorted(
        (one for at, one in enumerate(records) if at not in gone and one.start >= DAY.start),
        key=lambda one: (one.start, one.meter_epoch, one.page),
    )
    found = plain_day(DAY, cast("Any", [row(one) for one in inside]), cast("Any", row(before[0]) if before else None))
    if found is not None:
        kept = [Kept(one, record_leaf(one)) for one in inside]
        since = before[0].start if before else DAY.start
        assert found == point_day("m", DAY, kept, before[0] if before else None, None, since=since)
    if not changes and not gone:
        assert found is not None


def test_rows_hash_as_records_do():
    records = [
        replace(record(1), quality=quality, clock=clock, commodity=commodity)
        for quality in RecordQuality
        for clock in type(record(1).clock)
        for commodity in type(record(1).commodity)
    ]
    rows: list[Any] = [row(one) for one in records]
    assert row_leaves(rows) == [record_leaf(one) for one in records]
    assert [kept_of(one).record for one in rows] == records


def test_a_sealed_record_of_an_older_release_is_opened_and_end_and_commodity_of_newer_ones_are_bound():
    vault = Vault({"point:m": bytes(32), "point:m/home": bytes(31) + b"1"})
    one = record(3)
    stored = sealed_kept(Kept(one, b""), vault, "point:m/home")
    assert opened_kept(stored, vault).record == one
    for change in ({"end": Instant(one.end + 1)}, {"commodity": Commodity.WATER}, {"import_start": 1}):
        with pytest.raises(Altered):
            opened_kept(replace(stored, record=replace(stored.record, **change)), vault)
    text = struct.pack(">QQQQBB", one.import_start, one.import_end, one.export_start, one.export_end, 0, 0)
    old = vault.seal("point:m", f"{one.start}/{one.meter_epoch}/{one.page}", text)
    assert opened_kept(replace(stored, leaf=old), vault).record == one
    place = f"{one.start}/{one.meter_epoch}/{one.page}/{one.end}/0"
    bound = vault.seal("point:m", place, text + b"\2")  # by a program that did not know of several keys yet
    assert opened_kept(replace(stored, leaf=bound), vault).record == one
