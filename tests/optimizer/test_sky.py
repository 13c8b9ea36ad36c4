"""Plants under one sky: what is in order, told by comparing them."""

from __future__ import annotations

from math import nan

import pytest

from optimizer.sky import as_now, in_order

SKY = (0.9, 0.2, 1.0, 0.5, 0.8, 1.0, 0.3)
SIZES = (10.0, 20.0, 30.0, 40.0)


def days(sky: tuple[float, ...] = SKY) -> list[list[float]]:
    return [[bright * size for size in SIZES] for bright in sky]


def test_clouds_take_nothing_from_what_is_in_order() -> None:
    assert in_order(days()) == (1.0,) * len(SKY)
    assert as_now(days((0.1, 0.1, *SKY))) == (1.0,) * (len(SKY) + 2)


def test_a_lost_plant_and_half_a_plant_are_seen_on_the_day_and_weighed_by_size() -> None:
    seen = days()
    seen[0][3] = 0.0
    seen[0][2] /= 2
    shares = in_order(seen)
    assert shares[0] == pytest.approx(0.45)
    assert shares[1:] == (1.0,) * 6
    assert as_now(seen) == pytest.approx((1.0, *(0.45,) * 6))


def test_what_was_mended_since_counts_for_the_days_before_as_well() -> None:
    seen = days()
    for day in seen[3:]:
        day[3] = 0.0
    assert as_now(seen) == pytest.approx((1.0, 1.0, 1.0, *(100 / 60,) * 4))


def test_one_mad_meter_does_not_make_all_others_look_lost_and_one_that_is_silent_is_not_asked() -> None:
    seen = days()
    seen[0][0] *= 40
    seen[0][1] = nan
    assert in_order(seen)[0] == 1.0


@pytest.mark.parametrize("seen", [[], [[5.0], [1.0]], [[0.0, 0.0], [0.0, 0.0]], [[nan, nan], [nan, nan]]])
def test_where_nothing_can_be_compared_everything_is_in_order(seen: list[list[float]]) -> None:
    assert as_now(seen) == (1.0,) * len(seen)
