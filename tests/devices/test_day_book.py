"""Signed meter-days on their way: closed by midnight or by what cannot follow, kept until the hub has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.clock import DAY_MS, SLOT_MS, Instant
from devices.day_book import RESEND_MS, WINDOW, BadDayAck, DayBook, SignedDay, decode_day_acks, encode_day_acks
from devices.meter_day import INTERVALS_MAX, MeterDay, read_day
from devices.model import Commodity, IntervalRecord, UsagePointId
from devices.ocmf import Document, parse, verify
from devices.ocmf_keys import SigningKey

KEY = SigningKey.from_number(7)
HOME = UsagePointId("home-01")
MIDNIGHT = Instant(1_780_437_600_000)  # 2026-06-03T00:00+02:00
ZONE = "Europe/Berlin"


def records(
    count: int, *, at: int = MIDNIGHT, page: int = 1, epoch: int = 1, point: str = HOME
) -> list[IntervalRecord]:
    return [
        IntervalRecord(
            UsagePointId(point),
            Commodity.ENERGY,
            epoch,
            page + i,
            Instant(at + i * SLOT_MS),
            Instant(at + (i + 1) * SLOT_MS),
            page + i,
            page + i + 1,
            0,
            0,
        )
        for i in range(count)
    ]


def opened(day: SignedDay) -> MeterDay:
    document = parse(day.text)
    assert isinstance(document, Document)
    assert verify(document, KEY.public) is None
    found = read_day(document)
    assert isinstance(found, MeterDay)
    assert (found.page, found.records[-1].page) == (day.page, day.last)
    return found


def test_local_midnight_closes_a_day_with_its_last_record():
    book = DayBook("gw", KEY, ZONE)
    made = records(96)
    assert book.take(made[:95]) == ()
    (day,) = book.take(made[95:])
    assert opened(day) == MeterDay("gw", 1, tuple(made))
    assert book.take(records(95, at=MIDNIGHT + DAY_MS, page=97)) == ()


@pytest.mark.parametrize(("day", "slots"), [(MIDNIGHT, 96), (1_774_738_800_000, 92), (1_792_879_200_000, 100)])
def test_days_of_92_96_and_100_slots(day, slots):
    book = DayBook("gw", KEY, ZONE)
    (first,) = book.take(records(slots, at=day))
    assert len(opened(first).records) == slots


def test_what_cannot_follow_closes_the_run():
    book = DayBook("gw", KEY, ZONE)
    book.take(records(4))
    (gap,) = book.take(records(1, at=MIDNIGHT + 10 * SLOT_MS, page=5))
    (other_meter,) = book.take(records(1, at=MIDNIGHT + 11 * SLOT_MS, page=1, epoch=2))
    assert [opened(day).records[0].page for day in (gap, other_meter)] == [1, 5]
    assert [day.page for day in (gap, other_meter)] == [1, 2], "a usage point's signed records are counted through"


def test_a_run_is_bounded_even_where_slots_are_short():
    book = DayBook("gw", KEY, ZONE)
    made = [
        IntervalRecord(
            HOME, Commodity.ENERGY, 1, i + 1, Instant(MIDNIGHT + i), Instant(MIDNIGHT + i + 1), i, i + 1, 0, 0
        )
        for i in range(INTERVALS_MAX + 1)
    ]
    (day,) = book.take(made)
    assert len(opened(day).records) == INTERVALS_MAX


def test_a_record_over_midnight_ends_its_day():
    book = DayBook("gw", KEY, ZONE)
    long = IntervalRecord(HOME, Commodity.ENERGY, 1, 1, MIDNIGHT, Instant(MIDNIGHT + 2 * DAY_MS), 0, 9, 0, 0)
    (day,) = book.take([long])
    assert opened(day).records == (long,)


def test_without_a_key_nothing_is_signed_or_kept():
    book = DayBook("gw")
    assert book.take(records(200)) == ()
    assert (len(book), book.due(0), book.next_deadline()) == (0, [], None)


def test_only_stored_days_are_sent_and_sent_again_until_acknowledged():
    book = DayBook("gw", KEY, ZONE)
    days = book.take(records(96 * 2))
    assert book.due(0) == [], "not on disk yet"
    book.stored(days)
    assert book.next_deadline() == 0
    assert book.due(5) == [day.text for day in days]
    assert book.due(5 + RESEND_MS - 1) == []
    assert book.next_deadline() == 5 + RESEND_MS
    assert book.acknowledge([(HOME, 1), (HOME, 9)]) == ((HOME, 1),)
    assert book.due(5 + RESEND_MS) == [days[1].text]
    book.forget_flights()
    assert book.due(6 + RESEND_MS) == [days[1].text], "a new session"
    assert book.acknowledge([(HOME, 2)]) == ((HOME, 2),)
    assert (len(book), book.next_deadline()) == (0, None)


def test_so_many_are_on_the_way_at_once():
    book = DayBook("gw", KEY, ZONE)
    many = [SignedDay(HOME, page, 1, page, b"x") for page in range(1, WINDOW + 11)]
    book.resume([], [], many)
    assert len(book.due(0)) == WINDOW
    assert book.next_deadline() == RESEND_MS
    book.acknowledge([(HOME, page) for page in range(1, 6)])
    assert book.next_deadline() == 0
    assert len(book.due(1)) == 5


@given(st.integers(0, 96 * 3))
def test_a_restart_anywhere_signs_the_same_days(cut):
    made = records(96 * 3)
    whole = DayBook("gw", KEY, ZONE).take(made)
    before = DayBook("gw", KEY, ZONE)
    first = before.take(made[:cut])
    after = DayBook("gw", KEY, ZONE)
    done = first[-1].last if first else 0
    after.resume([r for r in made[:cut] if r.page > done], [(HOME, len(first))] if first else [], first)
    assert (*first, *after.take(made[cut:])) == whole
    assert len(after) == len(first), "what was signed and not acknowledged is still there"


def test_acknowledgements_come_back():
    assert decode_day_acks(encode_day_acks([(HOME, 3), ("b", 4)])) == [(HOME, 3), ("b", 4)]


@pytest.mark.parametrize("payload", [b"", b"[2,[]]", b"[1,5]", b'[1,[["a"]]]', b'[1,[["a","b"]]]', b"[1," + b"[]" * 9])
def test_acknowledgements_that_are_none_are_refused(payload):
    with pytest.raises(BadDayAck):
        decode_day_acks(payload)
