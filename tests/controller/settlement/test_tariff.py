"""Civil time compiled to UTC: days of 92, 98 and 100 slots, prices at the right side of every change."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from controller.settlement.charter import (
    CharterBroken,
    TariffBand,
    charter_document,
    member_document,
    parse_charter,
    parse_member,
)
from controller.settlement.tariff import (
    Calendar,
    OutsideTable,
    TableBroken,
    TariffTable,
    compile_year,
    first_day_name,
    period_name,
)
from devices.clock import SLOT_MS, Instant
from tests.ledger_village import charter, local_midnight, members

BERLIN = compile_year(charter(), 2026, "test")


@pytest.mark.parametrize(
    ("zone", "year", "day", "slots"),
    [
        ("Europe/Berlin", 2026, "2026-03-29", 92),
        ("Europe/Berlin", 2026, "2026-10-25", 100),
        ("Europe/Berlin", 2026, "2026-06-01", 96),
        ("Australia/Lord_Howe", 2026, "2026-04-05", 98),
        ("Australia/Lord_Howe", 2026, "2026-10-04", 94),
        ("Asia/Kathmandu", 2026, "2026-01-01", 96),
        ("America/Sao_Paulo", 2018, "2018-11-04", 92),  # midnight itself does not exist
    ],
)
def test_local_days_have_the_slots_that_the_clock_gives_them(zone, year, day, slots):
    table = compile_year(charter(timezone=zone), year, "test")
    found = table.day_of(table.days[table.names.index(day)])
    assert (found.name, found.slots) == (day, slots)
    assert datetime.fromtimestamp(found.start / 1000, ZoneInfo(zone)).date().isoformat() == day


def test_a_day_that_never_was_is_not_there():
    table = compile_year(charter(timezone="Pacific/Apia"), 2011, "test")
    assert "2011-12-30" not in table.names
    before = table.days[table.names.index("2011-12-29")]
    assert table.day_of(before).end == table.days[table.names.index("2011-12-31")]


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25", "2026-07-01"])
def test_every_slot_has_the_band_of_its_civil_time(day):
    found = BERLIN.day_of(local_midnight(day))
    for start in range(found.start, found.end, SLOT_MS):
        local = datetime.fromtimestamp(start / 1000, ZoneInfo("Europe/Berlin"))
        band = charter().bands[BERLIN.band_at(Instant(start))]
        assert band.start_minute <= local.hour * 60 + local.minute < band.end_minute


def test_the_year_is_whole_and_years_join():
    assert sum(BERLIN.day_of(day).slots for day in BERLIN.days) == 365 * 96
    following = compile_year(charter(), 2027, "test")
    assert BERLIN.end == following.start
    calendar = Calendar((following, BERLIN))
    last = calendar.day_of(Instant(BERLIN.end - 1))
    assert calendar.next_day(last).name == "2027-01-01"
    assert len(calendar.bands(last)) == 96
    with pytest.raises(OutsideTable):
        calendar.day_of(Instant(BERLIN.start - 1))


def test_weekday_bands():
    week = (TariffBand("work", 0, 1440, (0, 1, 2, 3, 4), 300_000), TariffBand("rest", 0, 1440, (5, 6), 200_000))
    table = compile_year(charter(bands=week), 2026, "test")
    assert table.band_at(local_midnight("2026-06-05")) == 0  # a Friday
    assert table.band_at(local_midnight("2026-06-06")) == 1


def test_a_charter_with_a_gap_does_not_compile():
    with pytest.raises(ValueError, match="05:00"):
        compile_year(charter(bands=(TariffBand("x", 0, 300, tuple(range(7)), 1),)), 2026, "test")


def test_tables_charters_and_members_come_back_from_their_documents():
    assert TariffTable.parse(BERLIN.document()) == BERLIN
    assert parse_charter(charter_document(charter())) == charter()
    for member in members():
        assert parse_member(member_document(member)) == replace(member, name=member.id)
        assert member.name not in str(member_document(member))


@pytest.mark.parametrize(
    "change", [{"end": 5}, {"days": []}, {"changes": [[1, 2], [1, 2]]}, {"year": "2026"}, {"days": [[1, 2]]}]
)
def test_broken_tables(change):
    with pytest.raises(TableBroken):
        TariffTable.parse({**BERLIN.document(), **change})


@pytest.mark.parametrize("change", [{"bands": None}, {"version": True}, {"currency": 5}, {"bands": [{"days": [7]}]}])
def test_broken_charters(change):
    with pytest.raises(CharterBroken):
        parse_charter({**charter_document(charter()), **change})


@pytest.mark.parametrize(
    ("period", "name", "first"),
    [("day", "2026-06-03", "2026-06-03"), ("week", "2026-W23", "2026-06-01"), ("month", "2026-06", "2026-06-01")],
)
def test_bill_periods(period, name, first):
    day = BERLIN.day_of(local_midnight("2026-06-03"))
    assert period_name(charter(bill_period=period), day) == name
    assert first_day_name(charter(bill_period=period), day) == first
