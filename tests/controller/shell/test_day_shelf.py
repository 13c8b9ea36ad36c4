"""Signed meter-days in the hub's hands: only the pinned key's, first content wins, acknowledged after the commit."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.shell.day_shelf import DayShelf
from controller.store.ledger_file import LedgerFile
from devices.clock import SLOT_MS, Instant
from devices.meter_day import sign_day
from devices.model import Commodity, IntervalRecord, UsagePointId
from devices.ocmf_keys import SigningKey

KEY, OTHER = SigningKey.from_number(1), SigningKey.from_number(2)
T0 = Instant(1_780_437_600_000)


def record(page: int, taken: int = 100) -> IntervalRecord:
    start = Instant(T0 + page * SLOT_MS)
    before = (page - 1) * 100
    return IntervalRecord(
        UsagePointId("home-01"),
        Commodity.ENERGY,
        1,
        page,
        start,
        Instant(start + SLOT_MS),
        before,
        before + taken,
        0,
        0,
    )


def text(page: int = 1, *, key: SigningKey = KEY, gateway: str = "gw-1", taken: int = 100) -> bytes:
    return sign_day(gateway, page, [record(1), record(2), record(3, taken)], key)


@pytest.fixture
def shelf(tmp_path: Path):
    file = LedgerFile.write(tmp_path / "ledger.db")
    shelf = DayShelf(file)
    assert shelf.pin("gw-1", KEY.public.text(), T0)
    yield shelf
    file.close()


def test_a_good_day_is_kept_and_acknowledged_and_is_there_after_a_restart(shelf: DayShelf, tmp_path: Path):
    assert shelf.accept("gw-1", text()) == ""
    shelf._file.commit()
    assert shelf.acks() == {"gw-1": [("home-01", 1)]}
    assert shelf.acks() == {}
    again = DayShelf(LedgerFile.write(tmp_path / "ledger.db"))
    (row,) = again.days(T0, Instant(T0 + 10 * SLOT_MS), "home-01")
    assert (row.node, row.key, row.text) == ("gw-1", KEY.public.text(), text())
    assert row.day.records == (record(1), record(2), record(3))
    assert list(again.days(T0, Instant(T0 + 10 * SLOT_MS), "home-02")) == []
    assert again.accept("gw-1", text()) == "", "the pin is there, too"
    assert again.counters["days_duplicate"] == 1


def test_a_record_is_signed_only_with_this_very_content(shelf: DayShelf):
    shelf.accept("gw-1", text())
    assert shelf.signed(record(2)) is True
    assert shelf.signed(record(2, taken=99)) is False
    assert shelf.signed(record(4)) is None


@pytest.mark.parametrize(
    ("made", "node", "why"),
    [
        (text(key=OTHER), "gw-1", "wrong-signature"),
        (text(), "gw-2", "no key is pinned"),
        (text(gateway="gw-9"), "gw-1", "signed by gateway 'gw-9'"),
        (b"nonsense", "gw-1", "not-ocmf"),
        (text().replace(b'"XI":[100', b'"XI":[101'), "gw-1", "wrong-signature"),
    ],
)
def test_everything_else_is_refused_and_never_acknowledged(shelf: DayShelf, made, node, why):
    assert why in shelf.accept(node, made)
    assert shelf.acks() == {}
    assert list(shelf.days(Instant(0), Instant(T0 * 2))) == []
    assert shelf.counters["days_refused"] == 1


def test_an_authentic_record_that_is_no_meter_day_is_refused(shelf: DayShelf):
    from decimal import Decimal

    from devices.ocmf import MeterReading, Record, TimeStatus, payload, sign

    reading = MeterReading(T0, TimeStatus.SYNCHRONISED, Decimal(1), "1-0:1.8.0", "Wh")
    plain = sign(payload(Record("F", 1, (reading,), gateway_serial="gw-1")), KEY)
    assert "not-a-meter-day" in shelf.accept("gw-1", plain)


def test_the_first_content_of_a_page_wins_and_the_other_is_counted(shelf: DayShelf):
    shelf.accept("gw-1", text())
    assert shelf.accept("gw-1", text(taken=500)) == ""
    assert shelf.counters["days_conflicting"] == 1
    (row,) = shelf.days(Instant(0), Instant(T0 * 2))
    assert row.text == text()


def test_another_key_is_refused_until_an_operator_drops_the_pin(shelf: DayShelf):
    assert not shelf.pin("gw-1", OTHER.public.text(), T0)
    assert not shelf.pin("gw-3", "no key", T0)
    assert "wrong-signature" in shelf.accept("gw-1", text(key=OTHER))
    assert shelf.counters["keys_refused"] == 2
    assert shelf.revoke("gw-1")
    assert not shelf.revoke("gw-1")
    assert shelf.pin("gw-1", OTHER.public.text().upper(), T0)
    assert shelf.accept("gw-1", text(key=OTHER)) == ""


def test_only_so_many_refused_days_are_kept_and_a_good_one_makes_room(shelf: DayShelf, monkeypatch: pytest.MonkeyPatch):
    def kept() -> list[tuple[object, ...]]:
        return shelf._db.execute("SELECT page FROM refused_days ORDER BY page").fetchall()

    def day(page: int, key: SigningKey = KEY) -> bytes:
        return sign_day("gw-1", page, [record(page)], key)

    monkeypatch.setattr("controller.shell.day_shelf.REFUSED_MAX", 2)
    for page in (1, 1, 2, 3):
        assert shelf.accept("gw-1", day(page, OTHER)) != ""
    assert kept() == [(1,), (2,)], "one that comes again is kept once"
    assert shelf.accept("gw-1", day(1)) == ""
    assert shelf.accept("gw-1", day(3, OTHER)) != ""
    assert kept() == [(2,), (3,)]
    again = DayShelf(shelf._file)
    assert again.accept("gw-1", day(4, OTHER)) != ""
    assert kept() == [(2,), (3,)], "counted after a restart, too"
