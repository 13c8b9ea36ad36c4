"""Live values without a host: thinned, bounded, told afterwards as history and only once."""

from __future__ import annotations

from devices.backfill import EVERY_MS, BackFill
from devices.clock import Instant
from devices.model import DeviceId, Quality, Readings

HOME, SHED = DeviceId("home"), DeviceId("shed")


def reading(at: int, value: float | None = 1.5, device: DeviceId = HOME) -> Readings:
    qualities = (Quality.GOOD if value is not None else Quality.BAD, Quality.GOOD)
    return Readings(device, Instant(at), ("W", "import_wh"), (value, 7), qualities)


def test_one_reading_in_a_minute_comes_back_as_history():
    kept = BackFill()
    for second in range(0, 180, 10):
        kept.keep(reading(second * 1000, float(second)))
    told = kept.take(10, {HOME})
    assert [(r.at, r.values, r.historical) for r in told] == [
        (0, (0.0, 7), True),
        (60_000, (60.0, 7), True),
        (120_000, (120.0, 7), True),
    ]
    assert type(told[0].values[1]) is int, "a register is a whole number"
    assert (len(kept), kept.take(10, {HOME})) == (0, [])


def test_the_oldest_go_first_and_are_counted():
    kept = BackFill(rows_max=10)
    for minute in range(25):
        kept.keep(reading(minute * EVERY_MS))
    assert (len(kept), kept.dropped) == (10, 15)
    assert [r.at // EVERY_MS for r in kept.take(99, {HOME})] == list(range(15, 25))


def test_what_the_host_does_not_know_waits_and_a_share_is_told_at_a_time():
    kept = BackFill()
    for minute in range(4):
        kept.keep(reading(minute * EVERY_MS))
        kept.keep(reading(minute * EVERY_MS, device=SHED))
    assert kept.take(9, set()) == []
    assert [r.device for r in kept.take(3, {SHED, HOME})] == [HOME] * 3
    assert [(r.device, r.at) for r in kept.take(3, {SHED})] == [(SHED, 0), (SHED, 60_000), (SHED, 120_000)]
    assert len(kept) == 2


def test_missing_values_stay_missing_a_clock_set_back_and_new_points_lose_nothing_silently():
    kept = BackFill()
    kept.keep(reading(600_000, None))
    kept.keep(reading(1_000))  # the clock went back: kept, under its own time
    told = kept.take(5, {HOME})
    assert [(r.values, r.qualities[0]) for r in told] == [((None, 7), Quality.BAD), ((1.5, 7), Quality.GOOD)]
    kept.keep(reading(700_000))
    kept.keep(Readings(HOME, Instant(800_000), ("V",), (230.0,), (Quality.GOOD,)))
    assert kept.dropped == 1
    assert [r.points for r in kept.take(5, {HOME})] == [("V",)]
