"""What an island's futures are drawn from: days like now, with the sun that today's plants would have had."""

from __future__ import annotations

from math import isnan, pi, sin

import pytest

from controller.emergency_outlook import futures, past_days
from controller.history import DAY_SLOTS, History
from devices.clock import DAY_MS, HOUR_MS, SLOT_MS, Instant
from devices.model import Commodity
from optimizer.sky import as_now
from tests.controller.test_plan_forecast import METERS, PLANTS, SITE, START, TAPS, record

SKY = (1.0, 0.3, 0.9, 0.8, 1.0, 0.4, 0.9, 0.3)
LOST = PLANTS[: len(PLANTS) // 2]
NOW = Instant(START + len(SKY) * DAY_MS)


def lived(*, lost_from: int = 99) -> History:
    """Returns eight days of the village, the last one dark; half of the plants bring nothing from a day on."""
    found = History(SITE)
    for day, bright in enumerate(SKY):
        for slot in range(DAY_SLOTS):
            at = Instant(START + day * DAY_MS + slot * SLOT_MS)
            made = round(900 * bright * max(0.0, sin(pi * (slot - 24) / 48)))
            records = [record(point, at, 300, 0) for point in METERS]
            records += [record(tap, at, 4_000, 0, Commodity.WATER) for tap in TAPS]
            records += [record(point, at, 0, made * (point not in LOST or day < lost_from)) for point in PLANTS]
            found.add(records, Instant(at + SLOT_MS))
    return found


@pytest.fixture(scope="module")
def whole() -> History:
    return lived()


def test_futures_begin_with_days_that_followed_days_like_the_last(whole: History) -> None:
    days, order = past_days(SITE, whole, NOW)
    assert set(order[:2]) == {2, 6}, "the last day was dark, as were those before these two"
    third = order[2]
    begins = {sum(future.pv_kw[:24]) for future in futures(SITE, whole, NOW, None, hours=48, count=6)}
    assert sorted(begins) == pytest.approx(sorted({sum(days[day].pv_kw) for day in (2, 6, third)}))


def test_the_sun_of_past_days_is_what_the_plants_of_today_would_have_had(whole: History) -> None:
    before, _ = past_days(SITE, whole, NOW)
    after, _ = past_days(SITE, lived(lost_from=len(SKY) - 1), NOW)
    share = 1.0 - len(LOST) / len(PLANTS)
    for one, other in zip(before, after, strict=True):
        assert sum(other.pv_kw) == pytest.approx(share * sum(one.pv_kw), rel=0.02)
        assert len(other.load_kw) == 24


def test_a_plant_that_tells_of_half_a_day_is_not_compared(whole: History) -> None:
    assert all(map(isnan, whole.plants.day(Instant(NOW + 12 * HOUR_MS))))
    assert min(whole.plants.day(NOW)) > 0.0
    assert as_now([whole.plants.day(Instant(NOW + 12 * HOUR_MS)), whole.plants.day(NOW)]) == (1.0, 1.0)
